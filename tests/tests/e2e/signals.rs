//! Signals: reload, reopen, graceful and fast end.

use foregate_testkit::{Backend, Gate, Reply, Setup, Signal, both};

fn returning(text: &str) -> Setup {
    Setup::http(&format!("server {{ listen 127.0.0.1:{{port:0}}; location / {{ return 200 {text}; }} }}"))
}

#[test]
fn hup_takes_a_new_configuration() {
    both(|subject| {
        let server = returning("old").start(subject);
        assert_eq!(server.get("/").text(), "old");
        server.write_conf(&returning("new"));
        server.reload(|server| server.get("/").text() == "new");
        // New ports are opened, old ones closed.
        server.write_conf(&Setup::http(
            "server { listen 127.0.0.1:{port:1}; location / { return 200 moved; } }",
        ));
        server.port(1);
        server.reload(|server| std::net::TcpStream::connect(server.address(1)).is_ok());
        server.eventually(|server| std::net::TcpStream::connect(server.address(0)).is_err());
    });
}

#[test]
fn hup_keeps_the_old_configuration_when_the_new_one_is_wrong() {
    both(|subject| {
        let server = returning("old").allow_log("nonsense").start(subject);
        server.write_conf(&Setup::http("nonsense;"));
        server.reload(|server| server.read("error.log").contains("[emerg]"));
        assert_eq!(server.get("/").text(), "old");
        assert!(server.read("error.log").contains("unknown directive \"nonsense\" in"));
        server.write_conf(&returning("new"));
        server.reload(|server| server.get("/").text() == "new");
    });
}

#[test]
fn tunnels_outlive_a_reload() {
    both(|subject| {
        let app = Backend::new(|_| Reply::upgrade("x"));
        let setup = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location /v { return 200 old; } location / { proxy_http_version 1.1;
               proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://{app}; } }",
        )
        .backend("app", &app);
        let server = setup.start(subject);
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        assert_eq!(client.response().map(|seen| seen.status), Some(101));
        server.write_conf(&returning("new"));
        server.reload(|server| server.get("/v").text() == "new");
        client.send("still there?");
        assert_eq!(client.some(), b"still there?");
    });
}

#[test]
fn usr1_reopens_the_logs() {
    both(|subject| {
        let server = returning("x").start(subject);
        server.get("/one");
        server.log_lines("access.log", 1);
        std::fs::rename(server.path("access.log"), server.path("access.log.1"))
            .expect("because it was written");
        server.signal(Signal::USR1);
        server.eventually(|server| {
            server.get("/two");
            server.read("access.log").contains("/two")
        });
        assert!(server.read("access.log.1").contains("/one"));
    });
}

#[test]
fn quit_lets_requests_end_and_term_does_not() {
    both(|subject| {
        let gate = Gate::new();
        let ended = gate.clone();
        let app = Backend::new(move |seen| {
            let late = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";
            if seen.target == "/long" {
                Reply::new().until(&gate).send(late)
            } else {
                Reply::new().wait(300).send(late)
            }
        });
        let setup =
            Setup::http("server { listen 127.0.0.1:{port:0}; location / { proxy_pass http://{app}; } }")
                .backend("app", &app);
        let mut server = setup.start(subject);
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        app.wait_for(1);
        server.signal(Signal::QUIT);
        let seen = client.response().expect("because QUIT waits for it");
        assert_eq!((seen.text().as_str(), seen.header("Connection")), ("late", Some("close")));
        assert!(server.wait_for_exit());
        assert_eq!(server.read("nginx.pid"), "", "the pid file is removed");

        let mut server = setup.start(subject);
        let mut client = server.connect();
        client.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n");
        app.wait_for(2);
        server.signal(Signal::TERM);
        assert!(client.response().is_none());
        ended.open();
        assert!(server.wait_for_exit());
    });
}
