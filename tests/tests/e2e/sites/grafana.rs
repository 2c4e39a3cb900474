//! Grafana below a path of a host that has something else at its root, with its live channel.

use foregate_testkit::{Backend, Reply, Seen, Setup, both, check_on};

const SITE: &str = "
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    upstream grafana { server {app}; }
    server {
        listen 127.0.0.1:{port:0};
        root {dir}/www;
        index index.html index.htm;

        location /grafana/ {
            proxy_set_header Host $host;
            proxy_pass http://grafana;
        }
        location /stripped/ {
            rewrite ^/stripped/(.*) /$1 break;
            proxy_set_header Host $host;
            proxy_pass http://grafana;
            proxy_redirect / /stripped/;
            proxy_cookie_path / /stripped/;
        }
        location /grafana/api/live/ {
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $host;
            proxy_pass http://grafana;
        }
    }";

fn grafana(seen: &Seen) -> Reply {
    match (seen.header("Upgrade"), seen.target.as_str()) {
        (Some(protocol), _) => Reply::upgrade(protocol),
        (None, "/") => {
            Reply::status(302, "Location: /login\r\nSet-Cookie: session=1; Path=/; HttpOnly\r\n", "")
        }
        (None, target) => Reply::ok(format!("grafana {target} {}", seen.header("Host").unwrap_or("-"))),
    }
}

#[test]
fn a_path_of_its_own_with_and_without_the_prefix() {
    both(|subject| {
        let app = Backend::new(grafana);
        let server = Setup::http(SITE).backend("app", &app).file("www/index.html", "home").start(subject);
        let cases = [
            ("GET /", "200 | = home"),
            ("GET /grafana/d/abc?orgId=1\nHost: ops.test", "200 | = grafana /grafana/d/abc?orgId=1 ops.test"),
            ("GET /grafana\nHost: ops.test", "301 | Location~ /grafana/"),
            (
                "GET /stripped/public/build/app.js\nHost: ops.test",
                "200 | = grafana /public/build/app.js ops.test",
            ),
            ("GET /stripped/a%20b?c=%20\nHost: ops.test", "200 | = grafana /a%20b?c=%20 ops.test"),
            (
                "GET /stripped/\nHost: ops.test",
                "302 | Location: http://ops.test:{port:0}/stripped/login | Set-Cookie: session=1; Path=/stripped/; HttpOnly",
            ),
        ];
        check_on(&server, &cases);
        let mut client = server.connect();
        client.send("GET /grafana/api/live/ws HTTP/1.1\r\nHost: ops.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert_eq!(client.response().map(|seen| seen.status), Some(101));
        client.send("panel");
        assert_eq!(client.some(), b"panel");
    });
}
