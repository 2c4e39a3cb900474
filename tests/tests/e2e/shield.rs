//! `shield_…`: what is refused before anything else looks at it, lists that are read and fetched again, bans.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foregate_testkit::{Backend, Certificate, Client, Reply, Setup, foregate_only};

#[test]
fn rules_come_before_rewrites_and_a_location_may_add_its_own() {
    foregate_only(|subject| {
        let server = Setup::http(
            "shield_deny_methods PUT; shield_deny_paths /.git;
             server {
                listen 127.0.0.1:{port:0};
                rewrite ^/.git /elsewhere;
                return 200 in;
             }
             server {
                listen 127.0.0.1:{port:1};
                location / { empty_gif; }
                location /own { shield_deny_agents curl; shield_status 444; empty_gif; }
                location /api { api; }
             }",
        )
        .start(subject);
        let status = |request: &str| server.ask(request).map(|it| it.status);
        assert_eq!(status("GET /.git/config"), Some(403));
        assert_eq!(status("PUT /"), Some(403));
        assert_eq!(status("GET /"), Some(200));
        assert_eq!(status("{port:1} GET /own\nUser-Agent: curl/8"), None);
        assert_eq!(status("{port:1} GET /own\nUser-Agent: Firefox"), Some(200));
        assert_eq!(status("{port:1} GET /else\nUser-Agent: curl/8"), Some(200));
        server.wait_for_error("access forbidden by shield: agent \"curl/8\"");
        let told = server.ask("{port:1} GET /api/9/http/shield").map(|it| it.text());
        assert_eq!(told.as_deref(), Some("{\"rejected\":3}"));
    });
}

#[test]
fn lists_change_while_the_server_runs() {
    foregate_only(|subject| {
        let lists_us = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&lists_us);
        let web = Backend::new(move |_| match flag.load(Ordering::Relaxed) {
            true => Reply::ok("; a list\n127.0.0.0/8 ; SBL1\n"),
            false => Reply::ok("203.0.113.0/24\n"),
        });
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0};
                shield_blocklist http://{web}/drop.txt refresh=1s;
                location / { empty_gif; }
             }
             server {
                listen 127.0.0.1:{port:1};
                shield_blocklist file:bad.txt;
                location / { empty_gif; }
             }",
        )
        .backend("web", &web)
        .file("bad.txt", "203.0.113.0/24\n")
        .start(subject);
        let status = |request: &str| server.ask(request).map_or(0, |it| it.status);
        assert_eq!((status("GET /x"), status("{port:1} GET /x")), (200, 200));
        lists_us.store(true, Ordering::Relaxed);
        server.write("bad.txt", "127.0.0.1\n");
        server.eventually(|_| status("GET /x") == 403 && status("{port:1} GET /x") == 403);
        server.wait_for_error("access forbidden by shield: blocklist \"file:bad.txt\"");
        // A list that turns to nonsense stays what it was.
        drop(web);
        server.wait_for_error("stays as it is");
        assert_eq!(status("GET /x"), 403);
    });
}

#[test]
fn clients_that_err_and_handshakes_that_fail_lead_to_a_ban() {
    foregate_only(|subject| {
        let own = Certificate::self_signed(&["localhost"]);
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0};
                shield_ban zone=pages:1m after=3 within=60s for=4s;
                location / { root {dir}/html; index index.html; }
             }
             server {
                listen 127.0.0.1:{port:1} ssl;
                ssl_certificate cert.pem; ssl_certificate_key cert.key;
                shield_ban zone=hands:1m after=3 for=60s;
                location / { empty_gif; }
             }",
        )
        .file("html/index.html", "in")
        .file("cert.pem", own.cert_pem)
        .file("cert.key", own.key_pem)
        .start(subject);
        assert_eq!(server.get("/").status, 200);
        (0..3).for_each(|_| assert_eq!(server.get("/none").status, 404));
        // The last fault is counted behind its answer.
        server.eventually(|it| it.get("/").status == 403);
        server.wait_for_error("client is shut out by shield for 4 s: 3 errors within 60 s");
        server.eventually(|it| it.get("/").status == 200);
        for _ in 0..3 {
            let mut client = Client::connect(server.address(1));
            client.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
            client.rest();
        }
        server.wait_for_error("client is shut out by shield for 60 s");
        let mut client = Client::connect(server.address(1));
        assert!(client.rest().is_empty());
        server.wait_for_error("connection forbidden by shield");
    });
}

#[test]
fn only_a_trusted_proxy_can_get_others_banned() {
    foregate_only(|subject| {
        let own = Certificate::self_signed(&["localhost"]);
        let server = |port: usize, more: &str| {
            format!(
                "server {{
                    listen 127.0.0.1:{{port:{port}}} ssl proxy_protocol;
                    ssl_certificate cert.pem; ssl_certificate_key cert.key;
                    shield_ban zone=of{port}:1m after=2 for=600s; {more}
                 }}"
            )
        };
        let trusting = server(1, "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;");
        let server = Setup::http(&(server(0, "") + &trusting))
            .file("cert.pem", own.cert_pem)
            .file("cert.key", own.key_pem)
            .start(subject);
        // A handshake that fails, as if it came from there.
        let fail = |port: usize, from: &str| {
            let mut client = Client::connect(server.address(port));
            client.send(format!("PROXY TCP4 {from} 192.0.2.1 1 2\r\n"));
            client.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
            client.rest();
        };
        (0..2).for_each(|_| fail(1, "192.0.2.7"));
        server.wait_for_error(
            "client is shut out by shield for 600 s: 2 errors within 60 s, client: 192.0.2.7",
        );
        fail(1, "192.0.2.8");
        fail(1, "192.0.2.7");
        server.wait_for_error("connection forbidden by shield, client: 192.0.2.7");
        // Whoever says so without being trusted speaks for himself alone.
        (0..2).for_each(|_| fail(0, "192.0.2.9"));
        server.wait_for_error(
            "client is shut out by shield for 600 s: 2 errors within 60 s, client: 127.0.0.1",
        );
        fail(0, "192.0.2.10");
        server.wait_for_error("connection forbidden by shield, client: 127.0.0.1");
        assert!(!server.read("error.log").contains("client: 192.0.2.9"));
    });
}
