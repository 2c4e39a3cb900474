//! `return`: texts, redirects, codes, and the connection closed without a word.

use foregate_testkit::check;

#[test]
fn return_answers_with_a_text_or_a_redirect() {
    check(
        r#"server {
            listen 127.0.0.1:{port:0};
            default_type text/plain;
            location /text { return 200 "hello $arg_a"; }
            location /html { default_type text/html; return 200 <b>; }
            location /empty { return 200; }
            location /quiet { return 200 ""; }
            location /no { return 204; }
            location /tea { return 418 tea; }
            location /teapot { return 418; }
            location /not { return 404; }
            location /not-text { return 404 "not here"; }
            location /err { return 503; }
            location /moved { return 301 /x; }
            location /found { return 302 http://a.b/; }
            location /other { return 303 /x; }
            location /kept { return 307 /x; }
            location /kept-too { return 308 /x?$args; }
            location /url { return http://a.b/c; }
            location /https { return https://$host$request_uri; }
            location /scheme { return $scheme://$host/s; }
            location /close { return 444; }
        }"#,
        &[
            ("GET /text?a=1", "200 | = hello 1 | Content-Type: text/plain | Content-Length: 7"),
            ("HEAD /text?a=1", "200 | = | Content-Length: 7"),
            ("POST /text?a=1\n\nbody", "200 | = hello 1"),
            ("GET /html", "200 | = <b> | Content-Type: text/html"),
            ("GET /empty", "200 | = | Content-Length: 0"),
            ("GET /quiet", "200 | ="),
            ("GET /no", "204 | = | !Content-Length | !Content-Type | !Transfer-Encoding"),
            ("GET /tea", "418 | = tea"),
            ("GET /teapot", "418 | ="),
            ("GET /not", "404 | Content-Type: text/html | ~ <h1>404 Not Found</h1>"),
            ("GET /not-text", "404 | = not here | Content-Type: text/plain"),
            ("GET /err", "503 | ~ 503 Service Temporarily Unavailable"),
            ("GET /moved", "301 | Location: http://localhost:{port:0}/x | ~ 301 Moved Permanently"),
            ("GET /found", "302 | Location: http://a.b/ | ~ 302 Found"),
            ("GET /other", "303 | Location: http://localhost:{port:0}/x"),
            ("GET /kept", "307 | Location: http://localhost:{port:0}/x"),
            ("GET /kept-too?q=1", "308 | Location: http://localhost:{port:0}/x?q=1"),
            ("GET /url", "302 | Location: http://a.b/c"),
            ("GET /https?a", "302 | Location: https://localhost/https?a"),
            ("GET /scheme\nHost: x.y:81", "302 | Location: http://x.y/s"),
            ("GET /close", "closed"),
        ],
    );
}

#[test]
fn a_return_in_the_server_answers_before_any_location() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            return 301 https://$host$request_uri;
            location / { return 200 never; }
        }",
        &[
            ("GET /a%20b?c=d", "301 | Location: https://localhost/a%20b?c=d"),
            ("POST /x\n\nb", "301 | Location: https://localhost/x"),
            ("GET http://other.example/x\nHost: localhost", "301 | Location: https://other.example/x"),
        ],
    );
}

#[test]
fn redirects_are_absolute_unless_told_otherwise() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            server_name given.example;
            location /abs { return 301 /x; }
            location /rel { absolute_redirect off; return 301 /x; }
            location /no-port { port_in_redirect off; return 301 /x; }
            location /named { server_name_in_redirect on; return 301 /x; }
            location /odd { return 301 x/y; }
        }",
        &[
            ("GET /abs", "301 | Location: http://localhost:{port:0}/x"),
            ("GET /abs\nHost: h.example:8", "301 | Location: http://h.example:{port:0}/x"),
            ("GET /abs HTTP/1.0", "301 | Location: http://127.0.0.1:{port:0}/x"),
            ("GET /rel", "301 | Location: /x"),
            ("GET /no-port", "301 | Location: http://localhost/x"),
            ("GET /named", "301 | Location: http://given.example:{port:0}/x"),
            ("GET /odd", "301 | Location: x/y"),
        ],
    );
}

#[test]
fn what_an_answer_without_a_body_file_carries() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            server_tokens off;
            location / { return 200 x; }
            location /404 { return 404; }
        }",
        &[
            (
                "GET /",
                "200 | Server: {product} | Date: | Connection: close | !ETag | !Last-Modified | !Accept-Ranges",
            ),
            ("GET /404", "404 | ~ <center>{product}</center> | Content-Type: text/html"),
            ("GET /\nConnection: keep-alive", "200 | Connection: keep-alive"),
            ("GET / HTTP/1.0", "200 | Connection: close"),
            ("GET / HTTP/1.0\nConnection: keep-alive", "200 | Connection: keep-alive"),
        ],
    );
}
