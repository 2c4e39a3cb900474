//! Requests against limits.

use std::ops::ControlFlow::{Break, Continue};

use foregate_core::Stop;

use crate::testing::{Site, error};

const ZONE: &str = "limit_req_zone $arg_k zone=one:1m rate=1r/m;";

/// What becomes of requests with these keys: 0 for passed, or the status; and what was logged.
fn check(conf: &str, keys: &[&str]) -> (Vec<(u16, String)>, Vec<String>) {
    let conf = conf.to_owned();
    let keys: Vec<String> = keys.iter().map(|it| (*it).to_owned()).collect();
    foregate_net::runtime::run(async move {
        let site = Site::with(&conf, &["$limit_req_status"], Default::default());
        let mut seen = Vec::new();
        for key in keys {
            let mut ex = site.exchange(&format!("GET /?{key} HTTP/1.1\nHost: h"));
            let on = site.settings().limit_req.as_ref().unwrap();
            let status = match super::check(on, &mut ex).await {
                Continue(()) => 0,
                Break(Stop::Reply(reply)) => reply.status,
                Break(_) => 1,
            };
            seen.push((status, site.value(&mut ex, 0)));
        }
        let log = |line: String| line.split(", client").next().unwrap_or_default().replace("*1 ", "");
        (seen, site.house.logged().into_iter().map(log).collect())
    })
    .unwrap()
}

fn said(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[test]
fn too_many_are_refused() {
    let (seen, log) = check(&format!("{ZONE} limit_req zone=one;"), &["k=a", "k=a", "k=b", "x"]);
    assert_eq!(seen, [said(0, "PASSED"), said(503, "REJECTED"), said(0, "PASSED"), said(0, "")]);
    assert_eq!(log, ["error: limiting requests, excess: 1.000 by zone \"one\""]);
}

#[test]
fn a_burst_passes_at_once_or_late() {
    let conf = "limit_req_zone $arg_k zone=one:1m rate=20r/s; limit_req zone=one burst=2;";
    let start = std::time::Instant::now();
    let (seen, log) = check(conf, &["k=a", "k=a"]);
    assert_eq!(seen, [said(0, "PASSED"), said(0, "DELAYED")]);
    assert!(start.elapsed().as_millis() >= 45);
    assert!(log[0].starts_with("warn: delaying request, excess: ") && log[0].ends_with(", by zone \"one\""));
    let conf = format!("{ZONE} limit_req zone=one burst=2 nodelay; limit_req_status 429;");
    let (seen, _) = check(&conf, &["k=a", "k=a", "k=a", "k=a"]);
    assert_eq!(seen.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 0, 0, 429]);
}

#[test]
fn a_dry_run_only_says_so() {
    let conf = format!("{ZONE} limit_req zone=one burst=1; limit_req_dry_run on; limit_req_log_level info;");
    let (seen, log) = check(&conf, &["k=a", "k=a", "k=a"]);
    assert_eq!(seen, [said(0, "PASSED"), said(0, "DELAYED_DRY_RUN"), said(0, "REJECTED_DRY_RUN")]);
    assert_eq!(
        log,
        [
            "info: delaying request, dry run, excess: 1.000, by zone \"one\"",
            "info: limiting requests, dry run, excess: 2.000 by zone \"one\""
        ]
    );
}

#[test]
fn a_refusal_of_one_bucket_counts_in_none() {
    let conf = "limit_req_zone $arg_k zone=one:1m rate=1r/m; limit_req_zone $arg_q zone=two:1m rate=1r/m;
        limit_req zone=one burst=1 nodelay; limit_req zone=two;";
    let (seen, log) = check(conf, &["k=a&q=a", "k=a&q=a", "k=a&q=a", "k=a&q=b", "k=a&q=c", "k=b"]);
    assert_eq!(seen.iter().map(|it| it.0).collect::<Vec<_>>(), [0, 503, 503, 0, 503, 0]);
    assert!(log[1].ends_with("by zone \"two\"") && log[2].ends_with("by zone \"one\""));
}

/// What clients are told of their standing, request by request.
fn told(conf: &str, n: usize) -> Vec<Vec<String>> {
    let conf = conf.to_owned();
    foregate_net::runtime::run(async move {
        let site = Site::new(&conf);
        let mut seen = Vec::new();
        for _ in 0..n {
            let mut ex = site.exchange("GET /?k=a&q=b HTTP/1.1\nHost: h");
            let on = site.settings().limit_req.as_ref().unwrap();
            _ = super::check(on, &mut ex).await;
            let mut reply = foregate_core::Reply::status(200);
            super::filter(&ex, &mut reply);
            let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
            let fields = reply.fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value)));
            seen.push(fields.collect());
        }
        seen
    })
    .unwrap()
}

#[test]
fn clients_are_told_how_they_stand() {
    let seen = told(
        "limit_req_zone $arg_k zone=one:1m rate=6r/m; limit_req zone=one burst=1 nodelay; limit_req_headers on;",
        3,
    );
    let policy = "RateLimit-Policy: \"one\";q=2;w=20";
    assert_eq!(seen[0], [policy, "RateLimit: \"one\";r=1;t=1"]);
    assert_eq!(seen[1], [policy, "RateLimit: \"one\";r=0;t=10"]);
    assert_eq!(seen[2], ["Retry-After: 10", policy, "RateLimit: \"one\";r=0;t=20"]);
    assert!(told(&format!("{ZONE} limit_req zone=one;"), 1)[0].is_empty());
    let two = format!(
        "{ZONE} limit_req_zone $arg_q zone=tw\\\"o:1m rate=100r/s; limit_req zone=tw\\\"o burst=9;
         limit_req zone=one burst=30; limit_req_headers on;"
    );
    assert_eq!(told(&two, 1)[0][1], "RateLimit: \"tw\\\"o\";r=9;t=1");
}

#[test]
fn a_fleet_s_shares_outlive_a_reload_and_are_never_nothing() {
    let redis = || crate::redis::Server::parse("127.0.0.1").unwrap();
    let fleet = super::fleet::Fleet::new(redis(), None);
    assert_eq!(fleet.n_apart(), 1);
    fleet.go_apart(100);
    assert_eq!(super::fleet::Fleet::new(redis(), Some(&fleet)).n_apart(), 100);
    let site = Site::new("limit_req_zone $uri zone=one:1m rate=1r/m redis=127.0.0.1; limit_req zone=one burst=300;");
    let limit = &site.settings().limit_req.as_ref().unwrap().limits[0];
    assert_eq!(limit.zone.share(limit.burst), (16, 300_000));
    limit.zone.fleet.as_ref().unwrap().go_apart(100);
    assert_eq!(limit.zone.share(limit.burst), (1, 3_000));
}

#[test]
fn errors_are_nginx_s() {
    for (conf, want) in [
        ("limit_req zone=one;", "zero size shared memory zone \"one\""),
        ("limit_req burst=1;", "\"limit_req\" must have \"zone\" parameter"),
        ("limit_req zone=one burst=0;", "invalid burst value \"burst=0\""),
        ("limit_req zone=one delay=x;", "invalid delay value \"delay=x\""),
        ("limit_req zone=one soon;", "invalid parameter \"soon\""),
        ("limit_req zone=one; limit_req zone=one;", "\"limit_req\" directive is duplicate"),
        ("limit_req_status 200;", "value must be between 400 and 599"),
        ("limit_req_zone $uri zone=one rate=1r/s;", "invalid zone size \"zone=one\""),
        ("limit_req_zone $uri zone=one:1k rate=1r/s;", "zone \"zone=one:1k\" is too small"),
        ("limit_req_zone $uri zone=one:1m rate=0r/s;", "invalid rate \"rate=0r/s\""),
        ("limit_req_zone $uri zone=one:1m sync;", "invalid parameter \"sync\""),
        ("limit_req_zone $uri zone=one:1m rate=1r/s redis=;", "no host in \"redis=\""),
        ("limit_req_zone $uri zone=one:1m rate=1r/s redis=127.0.0.1:a;", "invalid port in \"redis=\""),
        ("limit_req_zone $uri zone=:1m rate=1r/s;", "\"limit_req_zone\" must have \"zone\" parameter"),
        (
            "limit_req_zone $uri zone=one:1m rate=1r/s; limit_req_zone $args zone=one:1m rate=1r/s;",
            "limit_req_zone \"one\" is already bound to key \"$uri\"",
        ),
        (
            "limit_req_zone $uri zone=one:1m rate=1r/s; limit_req_zone $uri zone=one:2m rate=1r/s;",
            "the size 2097152 of shared memory zone \"one\" conflicts with already declared size 1048576",
        ),
        (
            "limit_conn_zone $uri zone=one:1m; limit_req zone=one;",
            "the shared memory zone \"one\" is already declared for a different use",
        ),
    ] {
        assert_eq!(error(conf), want, "{conf}");
    }
}
