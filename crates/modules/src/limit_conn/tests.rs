//! Requests in flight against limits.

use std::ops::ControlFlow::{Break, Continue};

use foregate_core::{Exchange, Stop};

use crate::testing::{Site, error};

/// One more request; 0: it goes on, else the status.
fn ask(site: &Site, args: &str) -> (u16, Exchange) {
    let mut ex = site.exchange(&format!("GET /?{args} HTTP/1.1\nHost: h"));
    let on = site.settings().limit_conn.as_ref().unwrap();
    let status = match super::check(on, &mut ex) {
        Continue(()) => 0,
        Break(Stop::Reply(reply)) => reply.status,
        Break(_) => 1,
    };
    (status, ex)
}

#[test]
fn places_are_taken_and_given_back() {
    let conf = "limit_conn_zone $arg_k zone=one:1m; limit_conn one 2;";
    let site = Site::with(conf, &["$limit_conn_status"], Default::default());
    let (first, mut ex) = ask(&site, "k=a");
    assert_eq!((first, site.value(&mut ex, 0)), (0, "PASSED".to_owned()));
    let (_, _second) = ask(&site, "k=a");
    let (third, mut refused) = ask(&site, "k=a");
    assert_eq!((third, site.value(&mut refused, 0)), (503, "REJECTED".to_owned()));
    assert!(site.house.logged()[0].starts_with("error: *1 limiting connections by zone \"one\", client: "));
    assert_eq!(ask(&site, "k=b").0, 0);
    let (other, mut no_key) = ask(&site, "x");
    assert_eq!((other, site.value(&mut no_key, 0)), (0, String::new()));
    drop(ex);
    assert_eq!(ask(&site, "k=a").0, 0);
}

#[test]
fn a_refusal_gives_back_what_was_taken_before_it() {
    let conf = "limit_conn_zone $arg_k zone=one:1m; limit_conn_zone $arg_q zone=two:1m;
        limit_conn one 2; limit_conn two 1; limit_conn_status 429;";
    let site = Site::new(conf);
    let (_, _first) = ask(&site, "k=a&q=a");
    assert_eq!(ask(&site, "k=a&q=a").0, 429);
    assert_eq!(ask(&site, "k=a&q=a").0, 429);
    assert_eq!(ask(&site, "k=a").0, 0);
}

#[test]
fn a_dry_run_only_says_so() {
    let conf = "limit_conn_zone $arg_k zone=one:1m; limit_conn one 1; limit_conn_dry_run on;
        limit_conn_log_level notice;";
    let site = Site::with(conf, &["$limit_conn_status"], Default::default());
    let (_, _first) = ask(&site, "k=a");
    let (second, mut ex) = ask(&site, "k=a");
    assert_eq!((second, site.value(&mut ex, 0)), (0, "REJECTED_DRY_RUN".to_owned()));
    assert!(site.house.logged()[0].starts_with("notice: *1 limiting connections, dry run, by zone \"one\""));
}

#[test]
fn a_zone_full_of_keys_refuses_others() {
    let site = Site::new("limit_conn_zone $arg_k zone=one:32k; limit_conn one 1;");
    let mut held = Vec::new();
    let status = (0..1000).map(|n| ask(&site, &format!("k={n}")));
    let full = status.map(|(status, ex)| {
        held.push(ex);
        status
    });
    assert_eq!(full.filter(|it| *it == 503).count(), 1000 - 512);
    assert!(site.house.logged().is_empty());
}

#[test]
fn errors_are_nginx_s() {
    for (conf, want) in [
        ("limit_conn one 1;", "zero size shared memory zone \"one\""),
        ("limit_conn one 0;", "invalid number of connections \"0\""),
        ("limit_conn one 65536;", "connection limit must be less 65536"),
        ("limit_conn one 1; limit_conn one 2;", "\"limit_conn\" directive is duplicate"),
        ("limit_conn_zone $uri one:1m;", "invalid parameter \"one:1m\""),
        ("limit_conn_zone $uri zone=:1m;", "\"limit_conn_zone\" must have \"zone\" parameter"),
        ("limit_conn_status 600;", "value must be between 400 and 599"),
        ("limit_conn_log_level debug;", "invalid value \"debug\""),
        (
            "limit_conn_zone $uri zone=one:1m; limit_conn_zone $args zone=one:1m;",
            "limit_conn_zone \"one\" is already bound to key \"$uri\"",
        ),
        (
            "limit_conn_zone $uri zone=one:1m; limit_req_zone $uri zone=one:1m rate=1r/s;",
            "the shared memory zone \"one\" is already declared for a different use",
        ),
    ] {
        assert_eq!(error(conf), want, "{conf}");
    }
}
