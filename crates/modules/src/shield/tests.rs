//! Requests against rules.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::Strings;
use foregate_core::Stop;
use foregate_core::network::parse_addr;

use crate::testing::{Site, error, try_with};

/// The status that a request from an address is refused with, 0 if it is not, and what was logged.
fn check(conf: &str, request: &str, from: &str) -> (u16, String) {
    let mut files = Strings::default();
    files.insert("/etc/nginx/bad.txt", "203.0.113.0/24 # spam\n2001:db8::/32\n");
    let site = try_with(conf, files).unwrap_or_else(|why| panic!("{why} in {conf}"));
    let mut ex = site.exchange(request);
    ex.remote = parse_addr(from).unwrap();
    let Some(on) = &site.settings().shield else { return (0, "-".into()) };
    let status = match super::check(on, &mut ex) {
        Continue(()) => 0,
        Break(Stop::Reply(reply)) => reply.status,
        Break(_) => 1,
    };
    let log = site.house.logged().pop().unwrap_or_default();
    let log = log.split(", client").next().unwrap_or_default().replace("*1 ", "");
    (status, log)
}

#[test]
fn each_kind_of_rule_refuses() {
    let get = "GET /a HTTP/1.1\nUser-Agent: Mozilla/5.0";
    let bot = "GET /a HTTP/1.1\nUser-Agent: sqlMap/1.0";
    let ours = "192.0.2.1";
    for (conf, request, from, want) in [
        ("shield_deny_methods TRACE DEBUG;", "TRACE / HTTP/1.1\nHost: h", ours, "method \"TRACE\""),
        ("shield_deny_methods TRACE DEBUG;", get, ours, ""),
        ("shield_deny_paths /.git /wp-login.php;", "GET /.git/config HTTP/1.1\nHost: h", ours, "path \"/.git/config\""),
        ("shield_deny_paths ~*\\.(env|bak)$;", "GET /x/.ENV HTTP/1.1\nHost: h", ours, "path \"/x/.ENV\""),
        ("shield_deny_paths ~\\.env$ /b;", get, ours, ""),
        ("shield_deny_agents sqlmap ~^curl/;", bot, ours, "agent \"sqlMap/1.0\""),
        ("shield_deny_agents '';", "GET / HTTP/1.1\nHost: h", ours, "agent \"\""),
        ("shield_deny_agents '' sqlmap;", get, ours, ""),
        ("shield_deny_countries $arg_c RU KP;", "GET /?c=kp HTTP/1.1\nHost: h", ours, "country \"kp\""),
        ("shield_deny_countries $arg_c RU KP;", "GET /?c=de HTTP/1.1\nHost: h", ours, ""),
        ("shield_blocklist file:bad.txt;", get, "203.0.113.9", "blocklist \"file:bad.txt\""),
        ("shield_blocklist file:bad.txt;", get, "2001:db8::1", "blocklist \"file:bad.txt\""),
        ("shield_blocklist file:bad.txt;", get, ours, ""),
    ] {
        let (status, log) = check(conf, request, from);
        match want {
            "" => assert_eq!((status, log.as_str()), (0, ""), "{conf}"),
            want => assert_eq!((status, log), (403, format!("error: access forbidden by shield: {want}")), "{conf}"),
        }
    }
}

#[test]
fn rules_are_inherited_and_may_be_taken_back() {
    let trace = "TRACE / HTTP/1.1\nHost: h";
    let conf = |inner: &str| format!("shield_deny_methods TRACE; server {{ {inner} }}");
    assert_eq!(check(&conf(""), trace, "192.0.2.1").0, 403);
    assert_eq!(check(&conf("shield_deny_methods off;"), trace, "192.0.2.1"), (0, "-".into()));
    assert_eq!(check(&conf("shield_status 444; shield_log_level info;"), trace, "192.0.2.1").0, 1);
    let dry = check(&conf("shield_dry_run on; shield_log_level info;"), trace, "192.0.2.1");
    assert_eq!(dry, (0, "info: access forbidden by shield, dry run: method \"TRACE\"".into()));
    let site = Site::new("shield_deny_methods TRACE; server { location / { } }");
    assert!(!super::has_own(site.settings().shield.as_ref().unwrap()));
    let site = Site::new("shield_deny_methods TRACE; server { location / { shield_deny_paths /x; } }");
    assert!(super::has_own(site.settings().shield.as_ref().unwrap()));
}

#[test]
fn who_errs_again_and_again_is_shut_out() {
    let site = Site::with(
        "shield_ban zone=bans:1m after=2 within=10s for=60s;",
        &["$shield_reason"],
        Strings::default(),
    );
    let on = site.settings().shield.as_ref().unwrap();
    let ask = |status: u16| {
        let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
        if let Break(Stop::Reply(reply)) = super::check(on, &mut ex) {
            ex.sent.status = reply.status;
        } else {
            ex.sent.status = status;
        }
        super::account(on, &ex);
        (ex.sent.status, site.value(&mut ex, 0))
    };
    for (status, want, reason) in
        [(404, 404, ""), (200, 200, ""), (401, 401, ""), (499, 499, ""), (400, 400, ""), (200, 403, "ban")]
    {
        assert_eq!(ask(status), (want, reason.to_owned()));
    }
    let log = site.house.logged();
    assert!(log[0].contains("client is shut out by shield for 60 s: 2 errors within 10 s"), "{log:?}");
    assert!(super::unwanted(on, &parse_addr("127.0.0.1").unwrap()).is_some());
    let stranger = parse_addr("192.0.2.1").unwrap();
    assert!(super::failed_handshake(on, &stranger).is_none() && super::unwanted(on, &stranger).is_none());
    assert!(super::failed_handshake(on, &stranger).is_some() && super::unwanted(on, &stranger).is_some());
}

#[test]
fn mistakes() {
    for (conf, want) in [
        ("shield_deny_paths '~';", "empty regex in \"~\""),
        ("shield_deny_methods A; shield_deny_methods B;", "\"shield_deny_methods\" directive is duplicate"),
        (
            "shield_deny_countries RU;",
            "\"shield_deny_countries\" needs a variable and the codes that it may not have",
        ),
        ("shield_blocklist ftp://a/b;", "invalid blocklist \"ftp://a/b\""),
        ("shield_blocklist http://a/b refresh=0;", "invalid parameter \"refresh=0\""),
        ("shield_ban after=3;", "\"shield_ban\" must have \"zone\" parameter"),
        ("shield_ban zone=a:1m;", "\"shield_ban\" must have \"after\" parameter"),
        ("shield_ban zone=a:1m after=0;", "invalid parameter \"after=0\""),
        ("shield_ban zone=a:1m after=1 status=200;", "invalid parameter \"status=200\""),
        ("shield_status 200;", "value must be between 400 and 599"),
    ] {
        assert_eq!(error(conf), want, "{conf}");
    }
}
