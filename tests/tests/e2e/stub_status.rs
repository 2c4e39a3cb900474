//! `stub_status`: the counters that exporters read.

use foregate_testkit::{Setup, both};

#[test]
fn the_text_is_nginx_s_to_the_byte() {
    both(|subject| {
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; location = /status { stub_status; } location / { return 204; }
                      location /vars { return 200 $connections_active:$connections_waiting; } }",
        )
        .start(subject);
        let mut idle = server.connect();
        assert_eq!(idle.get("/").status, 204);
        let mut client = server.connect();
        let seen = client.get("/status");
        assert_eq!(seen.header("Content-Type"), Some("text/plain"));
        let text = "Active connections: 2 \nserver accepts handled requests\n 2 2 2 \nReading: 0 Writing: 1 Waiting: 1 \n";
        assert_eq!(seen.text(), text);
        assert_eq!(client.get("/vars").text(), "2:1");
    });
}
