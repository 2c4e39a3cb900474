//! `foregate check` and `foregate explain` as programs: what they print and how they end.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use foregate_testkit::{Subject, foregate_only};

/// A configuration in a file of its own, removed at the end.
struct Conf(PathBuf);

impl Conf {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("foregate-diagnostics-{}-{n}.conf", std::process::id()));
        std::fs::write(&path, text).expect("because the folder for temporary files is writable");
        Self(path)
    }

    /// Whether the program ended well, what it wrote to stdout, and to stderr.
    fn run(&self, subject: Subject, args: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(subject.binary());
        let output = command.args(args).arg("-c").arg(&self.0).output().expect("because the binary runs");
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*self.0.to_string_lossy(), "{conf}");
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // What is left behind is the system's to clean.
        _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_configuration_of_another_machine_is_checked_offline() {
    let conf = Conf::new(
        "events {}
         http {
            resolver dns.invalid;
            upstream app { server app.invalid:3000; }
            set_real_ip_from front.invalid;
            server {
                listen site.invalid:443 ssl;
                ssl_certificate /none/full.pem;
                ssl_certificate_key /none/key.pem;
                ssl_client_certificate /none/ca.pem;
                ssl_verify_client on;
                location / { proxy_pass http://app; }
            }
         }",
    );
    foregate_only(|subject| {
        let (good, out, told) = conf.run(subject, &["check", "--offline"]);
        assert!(good && out.is_empty() && told.contains("{conf} is right."), "{told}");
        let (good, _, told) = conf.run(subject, &["check"]);
        assert!(!good && told.contains("host not found"), "{told}");
    });
}

#[test]
fn traps_are_shown_with_their_repair_and_do_not_fail_the_check() {
    let conf = Conf::new("events {}\nhttp {\n  server {\n    location /i { alias /srv/i/; }\n  }\n}\n");
    foregate_only(|subject| {
        let (good, _, told) = conf.run(subject, &["check", "--lint", "--offline"]);
        assert!(good, "{told}");
        for part in [
            "warning[alias-traversal]: ",
            "in {conf}:4",
            "^^^^^^^^^^^^^",
            "help: end both with a slash",
            "1 trap",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let (good, out, _) = conf.run(subject, &["check", "--lint", "--json"]);
        let parts = [
            "{\"valid\":true,\"errors\":[],\"warnings\":[],\"findings\":[{\"file\":\"{conf}\",\"line\":4,\"column\":19,",
            "\"severity\":\"warning\",\"code\":\"alias-traversal\",\"message\":\"",
        ];
        assert!(good && parts.iter().all(|it| out.contains(it)), "{out}");
    });
}

#[test]
fn what_is_refused_fails_the_check_and_is_listed_with_all_else() {
    let conf = Conf::new(
        "events {}\nhttp {\n  server {\n    listen 8000;\n    ssl_dhparam x;\n    image_filter_buffer 1m;\n  }\n}\nmail {}\n",
    );
    foregate_only(|subject| {
        let (good, out, told) = conf.run(subject, &["check", "--compat", "--offline"]);
        assert!(!good && told.contains("cannot be used"), "{told}");
        for part in [
            "  listen\n",
            "image_filter_buffer in {conf}:6: images are not converted\n    help: pass",
            "ignored: 1\n  ssl_dhparam in {conf}:5: keys are exchanged over elliptic curves only\n",
            "refused: 2\n",
            "mail in {conf}:9: mail is not proxied\n",
        ] {
            assert!(out.contains(part), "{part} in {out}");
        }
        let (_, out, _) = conf.run(subject, &["check", "--compat", "--json", "--offline"]);
        assert!(out.contains("\"counts\":{\"supported\":4,\"ignored\":1,\"refused\":2}"), "{out}");
    });
}

#[test]
fn explain_tells_its_mistakes_and_reads_its_options() {
    let conf = Conf::new(
        "events {}\nhttp {\n  server {\n    listen 8000;\n    location / { return 200 \"$request_method $http_x $remote_addr\"; }\n  }\n}\n",
    );
    foregate_only(|subject| {
        let args = ["explain", "localhost:8000/a", "-X", "PUT", "-H", "X: y", "--from", "192.0.2.7"];
        let (good, out, told) = conf.run(subject, &args);
        assert!(good && told.is_empty(), "{told}");
        for part in [
            "PUT http://localhost:8000/a from 192.0.2.7",
            "listener   0.0.0.0:8000  [{conf}:4]",
            "location   location /: it is the longest prefix  [{conf}:5]",
            "answer: 200",
        ] {
            assert!(out.contains(part), "{part} in {out}");
        }
        let (good, _, told) = conf.run(subject, &["explain", "http://localhost:81/"]);
        assert!(
            !good && told.contains("nobody listens on port 81 of localhost; the listeners are: 0.0.0.0:8000")
        );
        let (good, _, told) = conf.run(subject, &["explain", "https://localhost:8000/"]);
        assert!(!good && told.contains("plain HTTP"), "{told}");
    });
}

#[test]
fn explain_says_what_an_application_would_be_told() {
    let conf = Conf::new(
        "events {}\nhttp {\n  server {\n    listen 8000;\n    location ~ \\.php {\n\
         fastcgi_param SCRIPT $uri;\nfastcgi_pass 127.0.0.1:9000; }\n  }\n}\n",
    );
    foregate_only(|subject| {
        let args = ["explain", "localhost:8000/a.php"];
        let (good, out, told) = conf.run(subject, &args);
        assert!(good && told.is_empty(), "{told}");
        for part in [
            "upstream   fastcgi://127.0.0.1:9000, by location ~ \\.php",
            "  SCRIPT: /a.php\n",
            "fastcgi_pass",
        ] {
            assert!(out.contains(part), "{part} in {out}");
        }
        let (_, out, _) = conf.run(subject, &[&args[..], &["--json"]].concat());
        assert!(out.contains("\"request\":\"\",\"headers\":[\"SCRIPT: /a.php\""), "{out}");
    });
}

#[test]
fn explain_says_what_a_cache_would_do() {
    let conf = Conf::new(
        "events {}\nhttp {\n  proxy_cache_path /tmp/foregate-none keys_zone=one:1m;\n  map $request_method $purges { PURGE 1; }\n  server {\n    listen 8000;\n\
         location / {\n proxy_pass http://127.0.0.1:9000; proxy_cache_valid 200 10m; proxy_cache_key $uri;\n\
         proxy_cache one;\nproxy_cache_bypass $arg_fresh; proxy_no_cache $arg_secret; proxy_cache_purge $purges; }\n\
         location /rfc/ { proxy_pass http://127.0.0.1:9000; proxy_cache one; proxy_cache_rfc on; }\n\
         location /none/ { proxy_pass http://127.0.0.1:9000; }\n  }\n}\n",
    );
    foregate_only(|subject| {
        let told = |args: &[&str]| conf.run(subject, &[&["explain"], args].concat()).1;
        let tags = ", with the tags of its Cache-Tag and Surrogate-Key";
        let good = "200 is kept for 600 s (proxy_cache_valid) unless it says otherwise";
        for (args, line) in [
            (&["localhost:8000/a"][..], format!("key \"/a\": asked first; {good}{tags}  [{{conf}}:9]")),
            (
                &["localhost:8000/a?fresh=1"],
                format!("key \"/a\": not asked: proxy_cache_bypass; {good}{tags}"),
            ),
            (&["localhost:8000/a?secret=1"], "asked first; not kept: proxy_no_cache".to_owned()),
            (
                &["localhost:8000/a", "--upstream-status", "404"],
                "; 404 is kept if it says for how long".to_owned(),
            ),
            (&["localhost:8000/a", "-X", "PUT"], "not asked: this method is not cached".to_owned()),
            (&["localhost:8000/a*", "-X", "PURGE"], "all that begins with \"/a\" is purged;".to_owned()),
            (
                &["localhost:8000/a", "-X", "PURGE", "-H", "Cache-Tag: t", "-H", "Soft-Purge: 1"],
                "all with the tag \"t\" is put out of date;".to_owned(),
            ),
            (
                &["localhost:8000/rfc/a"],
                format!("http://127.0.0.1:9000/rfc/a\": asked first; 200 is kept by RFC 9111{tags}"),
            ),
            (
                &["localhost:8000/rfc/a", "-X", "DELETE"],
                "not asked; what it has of this URL goes if".to_owned(),
            ),
        ] {
            let out = told(args);
            let has = |it: &str| it.trim_start().starts_with("cache      zone one, ") && it.contains(&line);
            assert!(out.lines().any(has), "{args:?}: {line} in {out}");
            assert_eq!(out.contains("to the upstream"), !args.contains(&"PURGE"), "{out}");
        }
        assert!(!told(&["localhost:8000/none/"]).contains("cache      "));
        let json = told(&["localhost:8000/a", "--json"]);
        assert!(json.contains("\"cache\":{\"zone\":\"one\",\"key\":\"/a\",\"asked\":true,"), "{json}");
        assert!(told(&["localhost:8000/none/", "--json"]).contains("\"cache\":null"));
    });
}
