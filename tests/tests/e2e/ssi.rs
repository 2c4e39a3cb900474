//! `ssi`: pages that include others, show variables and decide.

use std::sync::atomic::{AtomicUsize, Ordering};

use foregate_testkit::{Backend, Gate, Reply, Setup, both, check};

fn site(inside: &str) -> Setup {
    Setup::http(&format!(
        "default_type text/html;
         server {{
             listen 127.0.0.1:{{port:0}};
             ssi on;
             location / {{ {inside} }}
             location /plain/ {{ ssi off; }}
             location /code204 {{ return 204; }}
             location /code403 {{ return 403; }}
             location /code404 {{ return 404; }}
             location /text {{ return 200 '[$uri $args $request_method]'; }}
         }}"
    ))
}

const OOPS: &str = "[an error occurred while processing the directive]";

#[test]
fn pages_are_processed() {
    let page = |it: Setup, name: &str, text: &str| it.file(&format!("html/{name}"), text);
    let pages = [
        ("vars", "<!--#echo var='arg_a' -->|<!--#echo var='none' -->|<!--#echo var='arg_b' default='d' -->"),
        (
            "enc",
            "<!--#set var='v' value='<a b>' --><!--#echo var='v' encoding='url' --><!--#echo var='v' --><!--#echo var='v' encoding='none' --><!--#echo var='v' encoding='entity' -->",
        ),
        (
            "inc",
            "a<!--#include virtual='/text?x=1' -->b<!--# include virtual=\"text\" -->c<!--#include file='plain/f' -->d",
        ),
        ("plain/f", "f<!--#echo var='uri' -->"),
        ("inner", "<!--#echo var='v' --><!--#set var='v' value='inner' -->"),
        (
            "shared",
            "<!--#set var='v' value='outer' --><!--#include virtual='/inner' wait='yes' --><!--#echo var='v' -->",
        ),
        ("set", "<!--#include virtual='/text' set='v' -->x<!--#echo var='v' encoding='none' -->"),
        (
            "keeps",
            "<!--#set var='v' value='old' --><!--#include virtual='/code404' set='v' --><!--#echo var='v' -->",
        ),
        (
            "stub",
            "<!--#block name='b' -->in <!--#echo var='v' --><!--#endblock --><!--#set var='v' value='1' -->x<!--#include virtual='/code404' stub='b' -->y<!--#include virtual='/code204' stub='b' -->z<!--#include virtual='/text' stub='b' -->",
        ),
        ("error", "x<!--#include virtual='/code403' -->"),
        (
            "if",
            "<!--#if expr='$arg_a' -->1<!--#elif expr='$arg_b = x' -->2<!--#elif expr='$arg_b = /^(y)(?<w>.*)/' -->3<!--#echo var='1' -->-<!--#echo var='w' --><!--#else -->4<!--#endif -->5",
        ),
        ("not", "<!--#if expr='$arg_a != x' -->1<!--#else -->2<!--#endif -->"),
        ("quoted", r#"<!--#set var="v" value="a\"b\'c\$d\\e\f" --><!--#echo var="v" encoding="none" -->"#),
        ("wrong", "a<!--#none -->b<!--#echo -->c<!--#config errmsg='E' -->d<!--#x y -->e<!--#endif -->f"),
        ("unsafe", "<!--#include virtual='/../x' -->"),
        ("comment", "<!-- a --><b <!<!-<!---#-->"),
        (
            "date",
            "<!--#config timefmt='%%-%Y' --><!--#set var='v' value='$date_gmt' --><!--#if expr='$v = /^%-2/' -->yes<!--#endif -->",
        ),
        ("cycle", "x<!--#include virtual='/cycle' -->"),
        ("elif", "<!--#elif expr='1' -->a<!--#if expr='1' --><!--#if expr='1' -->b<!--#endif -->c"),
    ];
    let setup = pages.iter().fold(site(""), |setup, (name, text)| page(setup, name, text));
    check(
        setup,
        &[
            (
                "GET /vars?a=1%3C",
                "200 | = 1%3C|(none)|d | !Content-Length | !Last-Modified | !ETag | !Accept-Ranges",
            ),
            ("HEAD /vars", "200 | !Content-Length | !Last-Modified"),
            ("GET /enc", "200 | = %3Ca%20b%3E%3Ca%20b%3E<a b>&lt;a b&gt;"),
            ("GET /inc", "200 | = a[/text x=1 GET]b[/text  GET]cf<!--#echo var='uri' -->d"),
            ("GET /shared", "200 | = outerinner"),
            ("GET /set", "200 | = x[/text  GET]"),
            ("GET /keeps", "200 | = old"),
            ("GET /stub", "200 | = xin 1yin <!--#echo var=\"v\" -->z[/text  GET]"),
            ("GET /error", "200 | ~ 403 Forbidden"),
            ("GET /if?a=1", "200 | = 15"),
            ("GET /if?b=x", "200 | = 25"),
            ("GET /if?b=yes", "200 | = 3y-es5"),
            ("GET /if", "200 | = 45"),
            ("GET /not?a=x", "200 | = 2"),
            ("GET /not?a=y", "200 | = 1"),
            ("GET /quoted", r#"200 | = a"b'c$d\e\f"#),
            ("GET /wrong", &format!("200 | = a{OOPS}b{OOPS}cdEeEf")),
            ("GET /unsafe", &format!("200 | = {OOPS}")),
            ("GET /comment", "200 | = <!-- a --><b <!<!-<!---#-->"),
            ("GET /date", "200 | = yes"),
            ("GET /cycle", &format!("200 | = {}{OOPS}", "x".repeat(52))),
            ("GET /elif", &format!("200 | = {OOPS}a{OOPS}bc")),
        ],
    );
}

#[test]
fn settings_change_what_is_done() {
    let setup = site(
        "location /silent { ssi_silent_errors on; }
         location /short { ssi_value_length 3; }
         location /css { types { text/css css; } ssi_types text/css; }
         location /other { types { text/plain other; } }
         location /modified { ssi_last_modified on; }",
    )
    .file("html/silent", "a<!--#none -->b")
    .file("html/short", "<!--#echo var='abc' --><!--#echo var='abcd' -->")
    .file("html/css.css", "<!--#echo var='uri' -->")
    .file("html/other.other", "<!--#echo var='uri' -->")
    .file("html/modified", "x");
    check(
        setup,
        &[
            ("GET /silent", "200 | = ab"),
            ("GET /short", &format!("200 | = (none){OOPS}")),
            ("GET /css.css", "200 | = /css.css"),
            ("GET /other.other", "200 | = <!--#echo var='uri' -->"),
            ("GET /modified", "200 | = x | Last-Modified: | ETag~ W/"),
        ],
    );
}

#[test]
fn includes_are_fetched_beside_one_another_and_sent_in_order() {
    both(|subject| {
        // None is answered before all have been asked for.
        let (asked, gate) = (AtomicUsize::new(1), Gate::new());
        let app = Backend::new(move |seen| {
            if asked.fetch_add(1, Ordering::SeqCst) == 6 {
                gate.open();
            }
            let wait = if seen.target == "/slow" { 100 } else { 0 };
            Reply::new().until(&gate).wait(wait).send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}",
                seen.target.len(),
                seen.target
            ))
        });
        let include = "<!--#include virtual='/app/slow' -->-<!--#include virtual='/app/quick' -->-";
        let server = Setup::http(
            "default_type text/html;
             server {
                 listen 127.0.0.1:{port:0};
                 location / { ssi on; }
                 location /app/ { proxy_pass http://{app}/; }
             }",
        )
        .file("html/page", include.repeat(3))
        .backend("app", &app)
        .start(subject);
        assert_eq!(server.get("/page").text(), "/slow-/quick-".repeat(3));
    });
}

#[test]
fn an_include_that_breaks_off_does_not_break_the_page() {
    both(|subject| {
        let app = Backend::new(|_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").close());
        let server = Setup::http(
            "default_type text/html;
             server {
                 listen 127.0.0.1:{port:0};
                 location / { ssi on; }
                 location /app { proxy_pass http://{app}; }
             }",
        )
        .file("html/page", "a<!--#include virtual='/app' -->b")
        .backend("app", &app)
        .start(subject);
        assert_eq!(server.get("/page").text(), "ahalfb");
    });
}
