//! `set_real_ip_from`: whose word about the client's address is believed.

use foregate_testkit::{Client, Setup, both, check, foregate_only};

#[test]
fn a_trusted_proxy_says_who_the_client_is() {
    check(
        r#"server {
            listen 127.0.0.1:{port:0};
            set_real_ip_from 127.0.0.1;
            set_real_ip_from 10.0.0.0/8;
            location /default { return 200 "$remote_addr $realip_remote_addr"; }
        }
        server {
            listen 127.0.0.1:{port:1};
            set_real_ip_from 10.0.0.0/8;
            location / { return 200 $remote_addr; }
        }"#,
        &[
            ("GET /default", "200 | = 127.0.0.1 127.0.0.1"),
            ("GET /default\nX-Real-IP: 1.2.3.4", "200 | = 1.2.3.4 127.0.0.1"),
            ("GET /default\nX-Real-IP: 2001:db8::1", "200 | = 2001:db8::1 127.0.0.1"),
            ("GET /default\nX-Real-IP: nonsense", "200 | = 127.0.0.1 127.0.0.1"),
            ("{port:1} GET /\nX-Real-IP: 1.2.3.4", "200 | = 127.0.0.1"),
        ],
    );
}

#[test]
fn the_header_and_the_depth_may_be_chosen() {
    let server = |header: &str| {
        format!(
            "server {{ listen 127.0.0.1:{{port:0}}; set_real_ip_from 127.0.0.1; set_real_ip_from 10.0.0.0/8;
                       {header} return 200 $remote_addr; }}"
        )
    };
    check(
        server("real_ip_header X-Forwarded-For;").as_str(),
        &[
            ("GET /\nX-Forwarded-For: 1.1.1.1, 2.2.2.2", "200 | = 2.2.2.2"),
            ("GET /\nX-Forwarded-For: 1.1.1.1, 10.0.0.1", "200 | = 10.0.0.1"),
            ("GET /\nX-Real-IP: 1.2.3.4", "200 | = 127.0.0.1"),
        ],
    );
    check(
        server("real_ip_header X-Forwarded-For; real_ip_recursive on;").as_str(),
        &[
            ("GET /\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1", "200 | = 2.2.2.2"),
            ("GET /\nX-Forwarded-For: 10.0.0.2, 10.0.0.1", "200 | = 10.0.0.2"),
        ],
    );
    check(server("real_ip_header X-Own;").as_str(), &[("GET /\nX-Own: 1.1.1.1:80", "200 | = 1.1.1.1")]);
}

#[test]
fn the_proxy_protocol_says_it_too() {
    both(|subject| {
        let server = Setup::http(
            r#"server {
                listen 127.0.0.1:{port:0} proxy_protocol;
                set_real_ip_from 127.0.0.1;
                real_ip_header proxy_protocol;
                return 200 "$remote_addr $remote_port $proxy_protocol_addr $proxy_protocol_port";
            }"#,
        )
        .start(subject);
        let ask = |head: &[u8]| {
            let mut client = Client::connect(server.address(0));
            client.send([head, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat());
            client.response().map(|seen| seen.text())
        };
        assert_eq!(ask(b"PROXY TCP4 1.2.3.4 5.6.7.8 99 80\r\n").as_deref(), Some("1.2.3.4 99 1.2.3.4 99"));
        assert_eq!(ask(b"PROXY TCP6 ::1 ::2 99 80\r\n").as_deref(), Some("::1 99 ::1 99"));
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x63\0\x50";
        assert_eq!(ask(v2).as_deref(), Some("1.2.3.4 99 1.2.3.4 99"));
        assert_eq!(ask(b""), None, "a connection without the header must be closed");
        assert_eq!(ask(b"PROXY nonsense\r\n"), None);
    });
}

#[test]
fn a_standard_field_says_it_and_a_list_of_the_trusted_is_read_again() {
    foregate_only(|subject| {
        let server = Setup::http(
            r#"server {
                listen 127.0.0.1:{port:0};
                set_real_ip_from file:trusted.txt;
                real_ip_header Forwarded;
                real_ip_recursive on;
                return 200 $remote_addr;
            }"#,
        )
        .file("trusted.txt", "10.0.0.0/8  # ours\n")
        .start(subject);
        let seen = || {
            let request = "GET /\nForwarded: for=\"[2001:db8::1]:47\";proto=http, for=10.1.1.1";
            server.ask(request).map(|it| it.text()).unwrap_or_default()
        };
        assert_eq!(seen(), "127.0.0.1", "a stranger is not believed");
        server.write("trusted.txt", "10.0.0.0/8\n127.0.0.1\n");
        server.eventually(|_| seen() == "2001:db8::1");
    });
}
