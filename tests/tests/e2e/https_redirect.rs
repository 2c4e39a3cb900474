//! `https_redirect` and `hsts`.

use foregate_testkit::{Certificate, Client, Setup, foregate_only};

#[test]
fn plain_requests_are_sent_to_https_and_hosts_are_checked() {
    let own = Certificate::self_signed(&["www.example.test"]);
    let setup = Setup::http(
        "hsts 365d includeSubDomains;
        server {
            listen 127.0.0.1:{port:0};
            listen 127.0.0.1:{port:1} ssl;
            server_name www.example.test *.example.test;
            https_redirect on;
            ssl_certificate {dir}/own.pem;
            ssl_certificate_key {dir}/own.key;
            location / { return 404 no; }
            location /.well-known/acme-challenge/ { return 200 challenge; }
        }",
    )
    .file("own.pem", &own.cert_pem)
    .file("own.key", &own.key_pem);
    foregate_only(|subject| {
        let server = setup.start(subject);
        for (host, path, want) in [
            ("www.example.test", "/a?b=c", Some("https://www.example.test/a?b=c")),
            ("any.example.test:8080", "/a%20b", Some("https://any.example.test/a%20b")),
            ("evil.test", "/a", Some("https://www.example.test/a")),
            ("www.example.test", "/.well-known/acme-challenge/x", None),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let seen = server.connect().exchange(request.as_bytes(), false).expect("because it answers");
            assert_eq!(seen.header("Location"), want, "{host}{path}");
            assert_eq!(seen.status, if want.is_some() { 301 } else { 200 });
            assert_eq!(seen.header("Strict-Transport-Security"), None, "over plain HTTP it means nothing");
        }
        let mut tls =
            Client::connect_tls(server.address(1), "www.example.test", &[]).expect("because it is served");
        tls.client.send("GET / HTTP/1.1\r\nHost: www.example.test\r\n\r\n");
        let seen = tls.client.response().expect("because it answers");
        assert_eq!(
            (seen.status, seen.header("Strict-Transport-Security")),
            (404, Some("max-age=31536000; includeSubDomains"))
        );
    });
}
