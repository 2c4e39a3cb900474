//! What the common guides to a reverse proxy promise, with configurations of the kind they show.

use foregate_testkit::{Backend, Certificate, Client, Reply, Seen, Setup, both, check_on};

/// Tells its name, the target it saw and the fields that proxies add.
fn app(name: &'static str) -> Backend {
    Backend::new(move |seen: &Seen| {
        if let Some(protocol) = seen.header("Upgrade") {
            return Reply::upgrade(protocol);
        }
        let of = |field: &str| seen.header(field).unwrap_or("-").to_owned();
        let fields = ["Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto"].map(of).join(" ");
        Reply::ok(format!("{name} {} {fields}", seen.target))
    })
}

#[test]
fn one_application_hears_who_asks() {
    let front = app("front");
    let setup = Setup::http(
        "server {
            listen 127.0.0.1:{port:0};
            server_name site.test;
            location / {
                proxy_pass http://{front};
                proxy_set_header Host $host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
            }
        }
        server {
            listen 127.0.0.1:{port:1};
            location / { proxy_pass http://{front}; proxy_set_header Host $host; }
        }",
    )
    .backend("front", &front);
    both(|subject| {
        let cases = [
            ("GET /a?b=c\nHost: site.test", "200 | = front /a?b=c site.test 127.0.0.1 127.0.0.1 http"),
            (
                "GET /\nHost: site.test\nX-Forwarded-For: 192.0.2.7\nX-Real-IP: 192.0.2.8",
                "200 | = front / site.test 127.0.0.1 192.0.2.7, 127.0.0.1 http",
            ),
            (
                "GET /\nHost: site.test\nX-Forwarded-Proto: https",
                "200 | = front / site.test 127.0.0.1 127.0.0.1 http",
            ),
            ("{port:1} GET /x\nHost: site.test", "200 | = front /x site.test - - -"),
            ("{port:1} GET /x\nHost: site.test:81", "200 | = front /x site.test - - -"),
        ];
        check_on(&setup.start(subject), &cases);
    });
}

#[test]
fn paths_go_to_an_api_to_files_to_websockets_and_to_a_frontend() {
    let (front, api) = (app("front"), app("api"));
    let setup = Setup::http(
        "server {
            listen 127.0.0.1:{port:0};
            location /api/ { proxy_pass http://{api}/; }
            location /assets/ {
                root {dir}/site;
                expires 1y;
                add_header Cache-Control \"public, immutable\";
            }
            location /ws/ {
                proxy_pass http://{front};
                proxy_http_version 1.1;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection \"upgrade\";
            }
            location / { proxy_pass http://{front}; }
        }",
    )
    .backend("front", &front)
    .backend("api", &api)
    .file("site/assets/app.js", "let it = 'be';\n");
    both(|subject| {
        let server = setup.start(subject);
        let cases = [
            ("GET /api/users?id=1", "200 | = api /users?id=1 {api} - - -"),
            ("GET /api/", "200 | = api / {api} - - -"),
            ("GET /api/a%20b/../c", "200 | = api /c {api} - - -"),
            ("GET /page", "200 | = front /page {front} - - -"),
            (
                "GET /assets/app.js",
                "200 | = let it = 'be'; | Cache-Control: max-age=31536000 | Cache-Control: public, immutable | Expires: \
                 | ETag: | Last-Modified: | Accept-Ranges: bytes | Content-Length: 15",
            ),
            ("GET /assets/app.js\nRange: bytes=4-5", "206 | = it | Content-Range: bytes 4-5/15 | Expires:"),
            ("GET /assets/none.js", "404 | !Expires | !Cache-Control"),
        ];
        check_on(&server, &cases);
        let seen = server.get("/assets/app.js");
        for (field, from) in [("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")] {
            let value = seen.header(from).expect("because the table has seen it");
            let again =
                server.ask(&format!("GET /assets/app.js\n{field}: {value}")).expect("because it is answered");
            assert_eq!((again.status, again.body.len()), (304, 0), "{field}");
            assert!(again.header("Expires").is_some() && again.header("ETag").is_some());
        }
        let mut client = server.connect();
        client.send("GET /ws/chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let upgraded = client.response().expect("because it is answered");
        assert_eq!((upgraded.status, upgraded.header("Upgrade")), (101, Some("websocket")));
        for text in ["one", "two"] {
            client.send(text);
            assert_eq!(client.some(), text.as_bytes());
        }
    });
}

#[test]
fn three_applications_share_the_work_and_one_may_die() {
    both(|subject| {
        let (one, two, three) = (Backend::named("1"), Backend::named("2"), Backend::named("3"));
        let setup = Setup::http(
            "upstream apps { server {one}; server {two}; server {three}; }
             server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://apps; } }",
        )
        .backend("one", &one)
        .backend("two", &two)
        .backend("three", &three);
        let server = setup.start(subject);
        let ask = || server.get("/").text();
        let count = |answers: &[String], name: &str| answers.iter().filter(|text| *text == name).count();
        let answers: Vec<String> = (0..30).map(|_| ask()).collect();
        assert_eq!(["1", "2", "3"].map(|name| count(&answers, name)), [10, 10, 10]);
        drop(two);
        let answers: Vec<String> = (0..30).map(|_| ask()).collect();
        assert_eq!(count(&answers, "2"), 0);
        let [of_one, of_three] = ["1", "3"].map(|name| count(&answers, name));
        assert_eq!(of_one + of_three, 30, "every request is answered");
        assert!(of_one.abs_diff(of_three) <= 2, "{of_one} and {of_three}");
    });
}

#[test]
fn plain_http_is_sent_to_https_and_the_application_hears_of_it() {
    let front = app("front");
    let certificate = Certificate::self_signed(&["site.test"]);
    let setup = Setup::http(
        "server { listen 127.0.0.1:{port:1}; server_name site.test; return 301 https://$host$request_uri; }
         server {
            listen 127.0.0.1:{port:0} ssl;
            server_name site.test;
            ssl_certificate {dir}/full.pem;
            ssl_certificate_key {dir}/key.pem;
            location / {
                proxy_pass http://{front};
                proxy_set_header Host $host;
                proxy_set_header X-Real-IP $remote_addr;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
            }
         }",
    )
    .backend("front", &front)
    .file("full.pem", &certificate.cert_pem)
    .file("key.pem", &certificate.key_pem);
    both(|subject| {
        let server = setup.start(subject);
        let cases = [("{port:1} GET /a?b\nHost: site.test", "301 | Location: https://site.test/a?b")];
        check_on(&server, &cases);
        let tls = Client::connect_tls(server.address(0), "site.test", &["http/1.1"]);
        let mut client = tls.expect("because the handshake succeeds").client;
        client.send("GET /in HTTP/1.1\r\nHost: site.test\r\n\r\n");
        let seen = client.response().expect("because it is answered");
        assert_eq!(seen.text(), "front /in site.test 127.0.0.1 127.0.0.1 https");
    });
}
