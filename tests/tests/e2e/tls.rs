//! `listen ... ssl`: certificates by name, plain requests to a TLS port, variables.

use foregate_testkit::{Certificate, Client, Setup, both, foregate_only, get};

#[test]
fn the_certificate_is_the_named_server_s() {
    let (a, b) = (Certificate::self_signed(&["a.example"]), Certificate::self_signed(&["b.example"]));
    let setup = Setup::http(
        "ssl_protocols TLSv1.2 TLSv1.3;
        server {
            listen 127.0.0.1:{port:0} ssl;
            server_name a.example;
            ssl_certificate {dir}/a.pem;
            ssl_certificate_key {dir}/a.key;
            location / { return 200 a:$scheme:$https:$ssl_protocol:$ssl_server_name; }
        }
        server {
            listen 127.0.0.1:{port:0} ssl;
            server_name b.example *.b.example;
            ssl_certificate {dir}/b.pem;
            ssl_certificate_key {dir}/b.key;
            location / { return 200 b:$host; }
            location /r { return 301 /x; }
        }",
    )
    .file("a.pem", &a.cert_pem)
    .file("a.key", &a.key_pem)
    .file("b.pem", &b.cert_pem)
    .file("b.key", &b.key_pem);
    both(|subject| {
        let server = setup.start(subject);
        for (name, certificate) in
            [("a.example", &a), ("b.example", &b), ("x.b.example", &b), ("other.example", &a)]
        {
            let seen =
                Client::connect_tls(server.address(0), name, &[]).expect("because the handshake succeeds");
            assert!(seen.certificates[0] == certificate.der, "the wrong certificate for {name}");
        }
        let mut tls =
            Client::connect_tls(server.address(0), "a.example", &["http/1.1"]).expect("because it succeeds");
        assert_eq!((tls.alpn.as_deref(), tls.version.as_str()), (Some("http/1.1"), "TLSv1_3"));
        tls.client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let seen = tls.client.response().expect("because it is answered");
        assert_eq!(seen.text(), "a:https:on:TLSv1.3:a.example");
        // The Host header chooses the server of a request, not the name of the handshake.
        tls.client.send("GET /r HTTP/1.1\r\nHost: b.example\r\n\r\n");
        let seen = tls.client.response().expect("because it is answered");
        assert_eq!(seen.header("Location"), Some(server.fill("https://b.example:{port:0}/x").as_str()));
    });
}

#[test]
fn plain_http_on_a_tls_port_is_400() {
    let own = Certificate::self_signed(&["localhost"]);
    let setup = Setup::http(
        "server { listen 127.0.0.1:{port:0} ssl; ssl_certificate {dir}/c; ssl_certificate_key {dir}/k;
                  location / { return 200 x; } }",
    )
    .file("c", &own.cert_pem)
    .file("k", &own.key_pem);
    both(|subject| {
        let server = setup.start(subject);
        let seen = get(server.port(0), "/");
        assert_eq!(seen.status, 400);
        assert!(seen.text().contains("The plain HTTP request was sent to HTTPS port"), "{}", seen.text());
    });
}

#[test]
fn a_client_is_known_by_how_it_says_hello() {
    foregate_only(|subject| {
        let certificate = Certificate::self_signed(&["a.example"]);
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0} ssl;
                ssl_certificate {dir}/c;
                ssl_certificate_key {dir}/k;
                return 200 $http_ssl_ja4;
            }",
        )
        .file("c", &certificate.cert_pem)
        .file("k", &certificate.key_pem)
        .start(subject);
        let say = |alpn: &[&str]| {
            let mut seen =
                Client::connect_tls(server.address(0), "a.example", alpn).expect("because it is served");
            seen.client.get("/").text()
        };
        let [plain, http] = [say(&[]), say(&["http/1.1"])];
        assert!(plain.starts_with("t13d") && plain.len() == 36 && plain[8..].starts_with("00_"), "{plain}");
        assert!(http[8..].starts_with("h1_"), "{http}");
        assert_eq!(plain[10..], http[10..], "the hashes leave ALPN out");
    });
}
