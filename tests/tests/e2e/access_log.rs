//! `access_log`: formats, escaping, conditions, inheritance.

use foregate_testkit::{Backend, Setup, both};

#[test]
fn the_combined_format_is_nginx_s() {
    both(|subject| {
        let server = Setup::http("server { listen 127.0.0.1:{port:0}; location / { return 200 hello; } }")
            .start(subject);
        server.ask("GET /a?b=c\nReferer: http://r/\nUser-Agent: agent \"x\" \\y");
        let line = server.log_lines("access.log", 1).remove(0);
        let (before, after) = line.split_once(" [").expect("because the time stands in brackets");
        let (time, rest) = after.split_once("] ").expect("because the time stands in brackets");
        assert_eq!(before, "127.0.0.1 - -");
        assert!(time.len() == 26 && time.ends_with(" +0000"), "{time}");
        assert_eq!(rest, "\"GET /a?b=c HTTP/1.1\" 200 5 \"http://r/\" \"agent \\x22x\\x22 \\x5Cy\"");
    });
}

#[test]
fn formats_escape_and_conditions() {
    both(|subject| {
        let server = Setup::http(
            r#"log_format plain "$status [$http_x] $body_bytes_sent $request_length $bytes_sent";
            log_format json escape=json '{"x":"$http_x","n":"$http_nope"}';
            log_format none escape=none "[$http_x][$http_nope]";
            log_format joined "$uri"
                              " $args";
            map $status $loggable { ~^2 0; default 1; }
            server {
                listen 127.0.0.1:{port:0};
                access_log {dir}/plain.log plain;
                location / { return 200 hello; }
                location /json { access_log {dir}/json.log json; return 200 x; }
                location /none { access_log {dir}/none.log none; return 200 x; }
                location /off { access_log off; return 200 x; }
                location /two { access_log {dir}/two.log joined; access_log {dir}/three.log joined; return 200 x; }
                location /if { access_log {dir}/if.log joined if=$loggable; return 404; }
                location /ok { access_log {dir}/if.log joined if=$loggable; return 200; }
                location /var { access_log {dir}/$arg_f.log joined; return 200 x; }
            }"#,
        )
        .start(subject);
        server.ask("GET /\nX: \"q\"\\\u{1}é");
        server.ask("GET /missing");
        server.ask("GET /json\nX: \"q\"\\\u{1}é");
        server.ask("GET /none\nX: \"q\"\\");
        server.ask("GET /off");
        server.ask("GET /two?a");
        server.ask("GET /ok");
        server.ask("GET /if");
        server.ask("GET /var?f=dynamic");
        let plain = server.log_lines("plain.log", 2);
        assert!(plain[0].starts_with("200 [\\x22q\\x22\\x5C\\x01\\xC3\\xA9] 5 "), "{}", plain[0]);
        assert_eq!(server.log_lines("json.log", 1), [r#"{"x":"\"q\"\\\u0001é","n":""}"#]);
        assert_eq!(server.log_lines("none.log", 1), ["[\"q\"\\][]"]);
        assert_eq!(server.log_lines("two.log", 1), ["/two a"]);
        assert_eq!(server.log_lines("three.log", 1), ["/two a"]);
        assert_eq!(server.log_lines("dynamic.log", 1), ["/var f=dynamic"]);
        assert_eq!(server.log_lines("if.log", 1), ["/if -"]);
        assert_eq!(server.read("plain.log").lines().count(), 2);
    });
}

#[test]
fn upstream_variables_list_every_attempt() {
    both(|subject| {
        let app = Backend::named("ok");
        let server = Setup::http(
            r#"upstream u { server 127.0.0.1:{port:9}; server {app}; }
            log_format up "$upstream_addr|$upstream_status|$upstream_response_length";
            log_format t "$upstream_response_time|$upstream_connect_time|$request_time";
            server {
                listen 127.0.0.1:{port:0};
                access_log {dir}/up.log up;
                access_log {dir}/t.log t;
                location / { proxy_pass http://u; }
                location /own { return 204; }
                location /dead { proxy_pass http://127.0.0.1:{port:9}; }
            }"#,
        )
        .backend("app", &app)
        .start(subject);
        server.get("/");
        server.get("/own");
        server.get("/dead");
        let dead = server.fill("127.0.0.1:{port:9}");
        assert_eq!(
            server.log_lines("up.log", 3),
            [format!("{dead}, {}|502, 200|0, 2", app.address()), "-|-|-".to_owned(), format!("{dead}|502|0")]
        );
        let times = server.log_lines("t.log", 3);
        assert!(times[0].starts_with("0.00") && times[0].matches(", ").count() == 2, "{times:?}");
        assert!(times[1].starts_with("-|-|0.0"), "{times:?}");
        server.wait_for_error("connect() failed (111: Connection refused) while connecting to upstream");
    });
}

#[test]
fn statuses_that_no_client_sees_are_logged() {
    both(|subject| {
        let app = Backend::new(|_| foregate_testkit::Reply::hang());
        let server = Setup::http(
            r#"log_format s "$status";
            server {
                listen 127.0.0.1:{port:0};
                access_log {dir}/s.log s;
                large_client_header_buffers 1 512;
                client_header_buffer_size 512;
                location /444 { return 444; }
                location /499 { proxy_pass http://{app}; }
            }"#,
        )
        .backend("app", &app)
        .start(subject);
        server.ask("GET /444");
        assert_eq!(server.log_lines("s.log", 1), ["444"]);
        let mut client = server.connect();
        client.send("GET /499 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        app.wait_for(1);
        drop(client);
        assert_eq!(server.log_lines("s.log", 2)[1], "499");
        server.ask(&format!("GET /\nX: {}", "x".repeat(1000)));
        assert_eq!(server.log_lines("s.log", 3)[2], "400");
    });
}
