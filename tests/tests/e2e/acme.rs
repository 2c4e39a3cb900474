//! Certificates that come by themselves, from Pebble: strict, with every other nonce refused, and visitors meanwhile.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use foregate_net::tls::x509::Certificate as Parsed;
use foregate_testkit::{Client, NameServer, Pebble, Server, Setup, Signal, foregate_only};

/// An issuer's block for this Pebble.
fn issuer(name: &str, pebble: &Pebble, more: &str) -> String {
    format!(
        "acme_issuer {name} {{ uri {}; ssl_trusted_certificate {}; accept_terms_of_service; {more} }}",
        pebble.uri(),
        pebble.ca()
    )
}

/// A site on Pebble's ports.
fn site(names: &str, pebble: &Pebble, head: &str, more: &str) -> Setup {
    Setup::http(&format!(
        "{head}
        server {{ listen 127.0.0.1:{{http}}; server_name {names}; https_redirect on; }}
        server {{
            listen 127.0.0.1:{{tls}} ssl;
            server_name {names};
            {more}
            location / {{ return 200 served; }}
        }}"
    ))
    .set("http", pebble.http.number())
    .set("tls", pebble.tls.number())
    .set("ca", pebble.ca())
}

fn tls(pebble: &Pebble) -> SocketAddr {
    ([127, 0, 0, 1], pebble.tls.number()).into()
}

/// Who issued the certificate that this name is shown, with its serial; the site answers.
fn shown(pebble: &Pebble, name: &str) -> (String, String) {
    let mut seen =
        Client::connect_tls(tls(pebble), name, &[]).expect("because visitors are served throughout");
    let leaf = Parsed::parse(&seen.certificates[0]).expect("because rustls took it");
    let facts = (leaf.issuer.common_names().join(" "), leaf.serial());
    seen.client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"));
    assert_eq!(seen.client.response().expect("because it answers").text(), "served");
    facts
}

fn is_issued(pebble: &Pebble, name: &str) -> bool {
    shown(pebble, name).0.starts_with("Pebble Intermediate CA")
}

/// Longer than other tests wait: the issuer is slow when everything runs side by side.
fn eventually(server: &Server, condition: impl Fn() -> bool) {
    for _ in 0..1200 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it did not happen:\n{}", server.read("error.log"));
}

#[test]
fn a_server_without_a_certificate_gets_one_by_http_01() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        let head = issuer("test", &pebble, "contact admin@example.test;");
        let server = site("www.example.test", &pebble, &head, "").start(subject);
        server.wait_for_error(
            "no certificate for \"www.example.test\" yet: a self-signed one is shown meanwhile",
        );
        eventually(&server, || is_issued(&pebble, "www.example.test"));
        let first = shown(&pebble, "www.example.test");
        server.wait_for_error(
            "the certificate for \"www.example.test\" was issued by CN=Pebble Intermediate CA",
        );

        // A reload asks for nothing, nor does a restart: everything is in the folder.
        server.signal(Signal::HUP);
        server.wait_for_error("serves the new configuration");
        assert_eq!(shown(&pebble, "www.example.test"), first);
        let file = std::fs::read_dir(server.path("acme_test")).expect("because it was made");
        let names: Vec<String> =
            file.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        assert!(
            names.iter().any(|it| it.starts_with("www.example.test-") && it.ends_with(".pem")),
            "{names:?}"
        );
        assert!(names.contains(&"account.key".to_owned()), "{names:?}");
    });
}

#[test]
fn tls_alpn_01_needs_no_plain_listener() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        let server = Setup::http(&format!(
            "{}
            server {{
                listen 127.0.0.1:{{tls}} ssl;
                server_name a.example.test b.example.test;
                ssl_certificate auto;
                location / {{ return 200 served; }}
            }}",
            issuer("test", &pebble, "account_key ecdsa:384;")
        ))
        .set("tls", pebble.tls.number())
        .start(subject);
        eventually(&server, || is_issued(&pebble, "b.example.test"));
        assert!(is_issued(&pebble, "a.example.test"));
    });
}

#[test]
fn wildcards_come_by_dns_01() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        let (names, key, secret) = (pebble.names.address(), NameServer::KEY, NameServer::SECRET);
        let dns = format!("dns rfc2136 server={names} key={key} secret={secret}; dns_delay 0;");
        let head = issuer("test", &pebble, &dns);
        let server = site(".example.test", &pebble, &head, "ssl_certificate auto;").start(subject);
        eventually(&server, || is_issued(&pebble, "any.example.test"));
        assert_eq!(pebble.names.counts(), (4, 0, 0), "both records were made and removed");
    });
}

#[test]
fn nginx_acme_s_own_directives_do_the_same() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        let head =
            issuer("example", &pebble, "account_key rsa:2048; state_path {dir}/state; challenge http;");
        let more = "acme_certificate example www.example.test key=rsa:2048;
            ssl_certificate $acme_certificate;
            ssl_certificate_key $acme_certificate_key;
            ssl_certificate_cache max=2;";
        let head = format!("acme_shared_zone zone=ngx_acme_shared:1M; resolver 127.0.0.1:53; {head}");
        let server = site("www.example.test", &pebble, &head, more).start(subject);
        eventually(&server, || is_issued(&pebble, "www.example.test"));
    });
}

#[test]
fn it_is_renewed_before_it_ends_and_nobody_notices() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::with(Duration::from_secs(30)) else { return };
        let head = issuer("test", &pebble, "");
        let server = site("www.example.test", &pebble, &head, "").start(subject);
        eventually(&server, || is_issued(&pebble, "www.example.test"));
        let first = shown(&pebble, "www.example.test");
        eventually(&server, || {
            let now = shown(&pebble, "www.example.test");
            assert!(now.0.starts_with("Pebble"), "never a self-signed one again");
            now != first
        });
    });
}

#[test]
fn an_issuer_that_is_away_is_asked_again_and_the_account_is_kept() {
    foregate_only(|subject| {
        let Some(mut pebble) = Pebble::stopped(Duration::from_secs(90 * 86_400)) else { return };
        let head = issuer("test", &pebble, "");
        let mut server = site("www.example.test", &pebble, &head, "").start(subject);
        server
            .wait_for_error("the certificate for \"www.example.test\" cannot be had: GET https://localhost:");
        assert!(!is_issued(&pebble, "www.example.test"), "the site is there nevertheless");
        pebble.run();
        eventually(&server, || is_issued(&pebble, "www.example.test"));
        assert_eq!(server.read("error.log").matches("registered with issuer test").count(), 1);

        // Another name, after another start: the account is the same.
        server.signal(Signal::QUIT);
        assert!(server.wait_for_exit());
        let folder = server.path("acme_test");
        let again =
            site("two.example.test", &pebble, &issuer("test", &pebble, &format!("state_path {folder};")), "");
        let second = again.start(subject);
        eventually(&second, || is_issued(&pebble, "two.example.test"));
        assert!(!second.read("error.log").contains("registered with issuer test"));
    });
}

#[test]
fn a_challenge_that_fails_is_told_and_the_issuer_is_left_alone() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        // Nobody listens where the issuer comes.
        let head = issuer("test", &pebble, "challenge http-01;");
        let server = Setup::http(&format!(
            "{head}
            server {{ listen 127.0.0.1:{{port:0}}; }}
            server {{
                listen 127.0.0.1:{{tls}} ssl;
                server_name www.example.test;
                location / {{ return 200 served; }}
            }}"
        ))
        .set("tls", pebble.tls.number())
        .start(subject);
        server.wait_for_error("the challenge for www.example.test failed: ");
        server.wait_for_error("; trying again in ");
        assert!(!is_issued(&pebble, "www.example.test"));
        let error = server.read("error.log");
        let pause = error.split("; trying again in ").nth(1).and_then(|it| it.split(' ').next());
        assert!(pause.and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it >= 60), "{error}");
    });
}

#[test]
fn a_server_that_cannot_get_one_is_told_what_to_write() {
    foregate_only(|subject| {
        for (head, inside, what) in [
            ("", "", "write acme_issuer letsencrypt accept_terms_of_service; in the http block"),
            ("acme_issuer letsencrypt;", "ssl_certificate auto;", "the terms of service of issuer"),
            ("", "ssl_certificate auto;", "\"ssl_certificate auto\" needs an issuer"),
            (
                "acme_issuer internal;",
                "ssl_certificate auto; ssl_certificate_key a.key;",
                "is for a server without other",
            ),
        ] {
            let server = format!(
                "server {{ listen 127.0.0.1:{{port:0}} ssl; server_name www.example.test; {inside} }}"
            );
            let (is_right, why) = Setup::http(&format!("{head} {server}")).test(subject);
            assert!(!is_right && why.contains(what), "{head} {inside}: {why}");
        }
    });
}

#[test]
fn two_instances_on_one_folder_ask_once() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        let head = issuer("test", &pebble, "");
        let one = site("www.example.test", &pebble, &head, "").start(subject);
        let folder = one.path("acme_test");
        let other = Setup::http(&format!(
            "{}
            server {{ listen 127.0.0.1:{{port:1}}; }}
            server {{
                listen 127.0.0.1:{{port:0}} ssl;
                server_name www.example.test;
                location / {{ return 200 served; }}
            }}",
            issuer("test", &pebble, &format!("state_path {folder};"))
        ))
        .start(subject);
        let issued = || {
            let seen =
                Client::connect_tls(other.address(0), "www.example.test", &[]).expect("because it is served");
            let leaf = Parsed::parse(&seen.certificates[0]).expect("because rustls took it");
            (leaf.issuer.common_names().join(" "), leaf.serial())
        };
        eventually(&other, || issued().0.starts_with("Pebble"));
        eventually(&one, || is_issued(&pebble, "www.example.test"));
        assert_eq!(shown(&pebble, "www.example.test"), issued());
        assert_eq!(pebble.log().matches("Issued certificate serial").count(), 1, "{}", pebble.log());
    });
}

#[test]
fn another_issuer_stands_in() {
    foregate_only(|subject| {
        let Some(away) = Pebble::stopped(Duration::from_secs(60)) else { return };
        let Some(pebble) = Pebble::start() else { return };
        let pebble = pebble.needing_account();
        let account = format!("external_account_key kid-1 data:{};", Pebble::ACCOUNT_KEY);
        let head = format!(
            "{}\n{}",
            issuer("first", &away, "fallback second;"),
            issuer("second", &pebble, &account)
        );
        let server = site("www.example.test", &pebble, &head, "").start(subject);
        eventually(&server, || is_issued(&pebble, "www.example.test"));
        server.wait_for_error("issuer first gives no certificate for \"www.example.test\": ");
    });
}

#[test]
fn the_internal_authority_asks_nobody() {
    foregate_only(|subject| {
        let server = Setup::http(
            "acme_issuer internal;
            server {
                listen 127.0.0.1:{port:0} ssl;
                http2 on;
                server_name localhost app.lan *.app.lan;
                location / { return 200 served; }
            }",
        )
        .start(subject);
        eventually(&server, || {
            let seen = Client::connect_tls(server.address(0), "app.lan", &[]).expect("because it is served");
            let leaf = Parsed::parse(&seen.certificates[0]).expect("because rustls took it");
            leaf.issuer.common_names()[0].starts_with("Foregate internal authority")
        });
        let h2 = Client::connect_tls(server.address(0), "localhost", &["h2", "http/1.1"]);
        assert_eq!(h2.expect("because it is served").alpn.as_deref(), Some("h2"));
        let root = server.read("acme_internal/root.pem");
        assert!(root.contains("BEGIN CERTIFICATE"));
        let (conf, prefix) = (server.path("nginx.conf"), server.path(""));
        let told = Command::new(subject.binary()).args(["trust", "-c", &conf, "-p", &prefix]).output();
        let told = told.expect("because it runs");
        assert_eq!(String::from_utf8_lossy(&told.stdout), root, "{}", String::from_utf8_lossy(&told.stderr));
        // A certificate that the root vouches for: what it says is checked by somebody else's code.
        server.write("root.pem", &root);
        let port = server.port(0);
        let seen = Command::new("curl")
            .args(["-s", "--cacert", &server.path("root.pem"), "--noproxy", "*"])
            .args([
                "--resolve",
                &format!("x.app.lan:{port}:127.0.0.1"),
                &format!("https://x.app.lan:{port}/"),
            ])
            .output()
            .expect("because it is installed");
        assert_eq!(String::from_utf8_lossy(&seen.stdout), "served");
    });
}
