//! Formats, targets and buffers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use foregate_core::LogFile;
use foregate_net::runtime;

use crate::testing::{Site, error};

const REQUEST: &str = "GET /a?b HTTP/1.1\nHost: h\nUser-Agent: \"q\\\" \u{7f}\u{1}é\nCookie: a=1";

/// A folder for one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("foregate-log-{}-{n}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn site(&self, conf: &str) -> Site {
        let site = Site::new(&conf.replace("DIR", self.0.to_str().unwrap()));
        for path in &site.log_files {
            LogFile::of(path).open().unwrap();
        }
        site
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(site: &Site, request: &str) {
    let mut ex = site.exchange(request);
    ex.sent.status = 200;
    if let Some(on) = &site.settings().log {
        super::write(on, &mut ex);
    }
}

/// What a format says about [`REQUEST`].
fn line(format: &str) -> String {
    let folder = Folder::new();
    let site = folder.site(&format!("log_format f {format}; access_log DIR/log f;"));
    write(&site, REQUEST);
    folder.read("log")
}

#[test]
fn formats() {
    for (format, expected) in [
        ("'$request_method $uri' ' $status'", "GET /a 200\n"),
        ("'$http_user_agent|$http_no|$is_args'", "\\x22q\\x5C\\x22 \\x7F\\x01\\xC3\\xA9|-|?\n"),
        ("escape=default '$http_no'", "-\n"),
        ("escape=json '{\"ua\":\"$http_user_agent\",\"no\":\"$http_no\"}'", "{\"ua\":\"\\\"q\\\\\\\" \u{7f}\\u0001é\",\"no\":\"\"}\n"),
        ("escape=none '$http_user_agent$http_no'", "\"q\\\" \u{7f}\u{1}é\n"),
        ("'${cookie_a}x'", "1x\n"),
    ] {
        assert_eq!(line(format), expected, "{format}");
    }
}

#[test]
fn the_built_in_format_is_apaches() {
    let folder = Folder::new();
    let site = folder.site("access_log DIR/log;");
    write(&site, "GET / HTTP/1.1\nHost: h\nReferer: r\nUser-Agent: u\nAuthorization: Basic dXNlcjpwYXNz");
    let line = folder.read("log");
    assert!(line.starts_with("127.0.0.1 - user ["), "{line}");
    assert!(line.ends_with("] \"GET / HTTP/1.1\" 200 0 \"r\" \"u\"\n"), "{line}");
}

#[test]
fn mistakes_are_told_as_nginx_tells_them() {
    for (conf, expected) in [
        ("access_log x nope;", "unknown log format \"nope\""),
        ("access_log x Combined;", ""),
        ("log_format a '$uri'; access_log x A; access_log y a buffer=4k flush=1s gzip=9 if=$arg_x;", ""),
        ("log_format a x; log_format a y;", "duplicate \"log_format\" name \"a\""),
        ("log_format combined x;", "duplicate \"log_format\" name \"combined\""),
        ("log_format a escape=xml x;", "unknown log format escaping \"xml\""),
        ("log_format a $nope;", "unknown \"nope\" variable"),
        ("access_log off x;", "invalid parameter \"x\""),
        ("access_log x combined nope;", "invalid parameter \"nope\""),
        ("access_log x combined buffer=0;", "invalid buffer size \"0\""),
        ("access_log x combined buffer=1k flush=x;", "invalid flush time \"x\""),
        ("access_log x combined gzip=10;", "invalid compression level \"10\""),
        ("access_log x combined flush=1s;", "no buffer is defined for access_log \"x\""),
        ("access_log $host combined buffer=1k;", "buffered logs cannot have variables in name"),
        ("access_log syslog:server=127.0.0.1 combined buffer=1k;", "logs to syslog cannot be buffered"),
        (
            "access_log x combined buffer=1k; access_log x combined buffer=2k;",
            "access_log \"x\" already defined with conflicting parameters",
        ),
        ("open_log_file_cache max=10 inactive=5 min_uses=2 valid=1m; log_subrequest on;", ""),
        ("open_log_file_cache off;", ""),
        ("open_log_file_cache max=x;", "invalid \"open_log_file_cache\" parameter \"max=x\""),
        ("open_log_file_cache valid=1;", "\"open_log_file_cache\" must have \"max\" parameter"),
    ] {
        assert_eq!(error(conf), expected, "{conf}");
    }
}

#[test]
fn logs_of_a_block_take_the_place_of_the_outer_ones() {
    let paths = |conf: &str| {
        let site = Site::new(conf);
        let mut paths: Vec<_> = site.log_files.iter().map(|it| it.display().to_string()).collect();
        paths.sort();
        paths.dedup();
        (paths, site.settings().log.as_ref().map_or(0, |on| on.logs.len()))
    };
    let own = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert_eq!(paths("access_log /a; access_log /b; server {}"), (own(&["/a", "/b"]), 2));
    assert_eq!(paths("access_log /a; server { access_log /b; }"), (own(&["/a", "/b"]), 1));
    assert_eq!(paths("access_log /a; server { access_log off; location / {} }"), (own(&["/a"]), 0));
    assert_eq!(paths("access_log off; server { access_log /b; }"), (own(&["/b"]), 1));
    assert_eq!(paths("server {}"), (own(&["/etc/nginx/logs/access.log"]), 1));
    assert_eq!(paths(""), (own(&[]), 0));
}

#[test]
fn conditions_choose_requests() {
    let folder = Folder::new();
    let site = folder.site("log_format f $uri; access_log DIR/log f if=$arg_log;");
    for request in ["GET /no", "GET /zero?log=0", "GET /empty?log=", "GET /yes?log=1"] {
        write(&site, request);
    }
    assert_eq!(folder.read("log"), "/yes\n");
}

#[test]
fn subrequests_are_logged_on_demand() {
    let folder = Folder::new();
    for (conf, expected) in [("log_subrequest on;", "/\n"), ("", "")] {
        let site = folder.site(&format!("log_format f $uri; access_log DIR/log f; {conf}"));
        std::fs::write(folder.0.join("log"), "").unwrap();
        let mut ex = site.exchange("GET /");
        ex.subrequest_depth = 1;
        super::write(site.settings().log.as_ref().unwrap(), &mut ex);
        assert_eq!(folder.read("log"), expected);
    }
}

#[test]
fn lines_wait_for_a_lull_and_go_with_one_write() {
    let folder = Folder::new();
    let site = folder.site("log_format f $uri; access_log DIR/log f;");
    runtime::run(async {
        write(&site, "GET /1");
        write(&site, "GET /2");
        assert_eq!(folder.read("log"), "");
        for _ in 0..3 {
            runtime::lull().await;
        }
        assert_eq!(folder.read("log"), "/1\n/2\n");
        write(&site, "GET /3");
    })
    .unwrap();
    assert_eq!(folder.read("log"), "/1\n/2\n/3\n");
}

#[test]
fn buffers_wait_until_full_or_for_their_time() {
    let folder = Folder::new();
    let site = folder.site("log_format f $uri; access_log DIR/log f buffer=8 flush=20ms;");
    runtime::run(async {
        write(&site, "GET /1");
        write(&site, "GET /2");
        assert_eq!(folder.read("log"), "");
        write(&site, "GET /345");
        assert_eq!(folder.read("log"), "/1\n/2\n");
        write(&site, "GET /12345678");
        assert_eq!(folder.read("log"), "/1\n/2\n/345\n/12345678\n");
        write(&site, "GET /9");
        for _ in 0..1000 {
            foregate_net::clock::sleep(std::time::Duration::from_millis(10)).await;
            if folder.read("log") == "/1\n/2\n/345\n/12345678\n/9\n" {
                return;
            }
        }
        panic!("the log holds {:?}", folder.read("log"));
    })
    .unwrap();
}

#[test]
fn buffers_may_be_compressed() {
    use std::io::Read;
    let folder = Folder::new();
    let site = folder.site("log_format f $uri; access_log DIR/log f gzip;");
    write(&site, "GET /1");
    super::flush();
    write(&site, "GET /2");
    super::flush();
    let file = std::fs::File::open(folder.0.join("log")).unwrap();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert_eq!(text, "/1\n/2\n");
}

#[test]
fn a_path_may_depend_on_the_request() {
    let folder = Folder::new();
    for cache in ["", "open_log_file_cache max=1;", "open_log_file_cache max=9 min_uses=2;"] {
        let site = folder.site(&format!("log_format f $uri; root DIR; access_log DIR/$arg_to.log f; {cache}"));
        write(&site, "GET /1?to=a");
        write(&site, "GET /2?to=b");
        write(&site, "GET /3?to=a");
        assert_eq!((folder.read("a.log"), folder.read("b.log")), ("/1\n/3\n".to_owned(), "/2\n".to_owned()));
        for name in ["a.log", "b.log"] {
            std::fs::remove_file(folder.0.join(name)).unwrap();
        }
        super::files::forget();
    }
    let site = folder.site("log_format f $uri; root DIR; access_log DIR/no/$arg_to.log f;");
    write(&site, "GET /1?to=a");
    assert!(site.house.logged()[0].contains("failed (2: No such file or directory)"));
    let site = folder.site("log_format f $uri; root DIR/no; access_log DIR/$arg_to.log f;");
    write(&site, "GET /1?to=a");
    assert_eq!(folder.read("a.log"), "");
    assert!(site.house.logged()[0].contains("/no\" existence failed (2: No such file or directory)"));
}

#[test]
fn lines_go_to_syslog() {
    let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let port = server.local_addr().unwrap().port();
    let site = Site::new(&format!(
        "log_format f $uri; access_log syslog:server=127.0.0.1:{port},facility=local0,severity=warn,tag=t,nohostname f;"
    ));
    write(&site, "GET /1");
    let mut bytes = [0; 256];
    let n = server.recv(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..n]);
    assert!(text.starts_with("<132>") && text.ends_with(" t: /1"), "{text}");
}
