//! Ranges of files (RFC 9110, section 14): one, several, none that fit.

use foregate_testkit::{Setup, both, check};

fn site() -> Setup {
    Setup::http(
        "types { text/plain txt; }
         server {
            listen 127.0.0.1:{port:0};
            location /none.txt { alias {dir}/html/t.txt; max_ranges 0; }
            location /one.txt { alias {dir}/html/t.txt; max_ranges 1; }
         }",
    )
    .file("html/t.txt", "0123456789")
    .file("html/empty.txt", "")
}

#[test]
fn one_range_is_a_part_of_the_file() {
    check(
        site(),
        &[
            ("GET /t.txt\nRange: bytes=0-1", "206 | = 01 | Content-Range: bytes 0-1/10 | Content-Length: 2"),
            ("GET /t.txt\nRange: bytes=5-", "206 | = 56789 | Content-Range: bytes 5-9/10"),
            ("GET /t.txt\nRange: bytes=-3", "206 | = 789 | Content-Range: bytes 7-9/10"),
            ("GET /t.txt\nRange: bytes=-30", "206 | = 0123456789 | Content-Range: bytes 0-9/10"),
            ("GET /t.txt\nRange: bytes=8-99", "206 | = 89 | Content-Range: bytes 8-9/10"),
            ("GET /t.txt\nRange: BYTES=1-1", "206 | = 1"),
            ("GET /t.txt\nRange: bytes= 1 - 2 ", "206 | = 12"),
            ("HEAD /t.txt\nRange: bytes=0-1", "206 | = | Content-Length: 2"),
            (
                "GET /t.txt\nRange: bytes=10-",
                "416 | Content-Range: bytes */10 | ~ 416 Requested Range Not Satisfiable",
            ),
            ("GET /t.txt\nRange: bytes=5-4", "416"),
            ("GET /t.txt\nRange: bytes=x", "416"),
            ("GET /t.txt\nRange: bytes=", "200"),
            ("GET /t.txt\nRange: lines=0-1", "200 | = 0123456789"),
            ("GET /empty.txt\nRange: bytes=0-", "200 | ="),
            ("GET /none.txt\nRange: bytes=0-1", "200 | = 0123456789 | !Accept-Ranges"),
            ("GET /one.txt\nRange: bytes=0-1,3-4", "200 | = 0123456789"),
            ("GET /one.txt\nRange: bytes=0-1", "206 | = 01"),
            ("GET /missing\nRange: bytes=0-1", "404"),
        ],
    );
}

#[test]
fn several_ranges_come_in_parts() {
    both(|subject| {
        let server = site().start(subject);
        let seen = server.ask("GET /t.txt\nRange: bytes=0-1,-2").expect("because it is answered");
        assert_eq!(seen.status, 206);
        let kind = seen.header("Content-Type").unwrap_or("");
        let boundary =
            kind.strip_prefix("multipart/byteranges; boundary=").unwrap_or_else(|| panic!("{kind}"));
        let part = |range: &str, text: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
            )
        };
        let body = format!("{}{}\r\n--{boundary}--\r\n", part("0-1", "01"), part("8-9", "89"));
        assert_eq!(seen.text(), body);
        assert_eq!(seen.header("Content-Length"), Some(body.len().to_string().as_str()));
    });
}

#[test]
fn if_range_must_name_the_file_as_it_is() {
    both(|subject| {
        let server = site().start(subject);
        let now = server.get("/t.txt");
        let ask = |validator: &str| {
            let request = format!("GET /t.txt\nRange: bytes=0-1\nIf-Range: {validator}");
            server.ask(&request).expect("because it is answered").status
        };
        assert_eq!(ask(now.header("ETag").unwrap_or("")), 206);
        assert_eq!(ask(now.header("Last-Modified").unwrap_or("")), 206);
        assert_eq!(ask("\"other\""), 200);
        assert_eq!(ask("Mon, 01 Jan 2001 00:00:00 GMT"), 200);
    });
}
