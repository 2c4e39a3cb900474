//! Types of paths under configurations.

use crate::testing::{Site, error};

fn check(conf: &str, uri: &str) -> String {
    let site = Site::new(conf);
    let on = site.settings().mime.as_ref().expect("because types are resolved everywhere");
    String::from_utf8_lossy(super::content_type(on, uri.as_bytes())).into_owned()
}

#[test]
fn a_few_types_are_built_in() {
    for (uri, want) in [
        ("/a.html", "text/html"),
        ("/a.GIF", "image/gif"),
        ("/a.b.jpg", "image/jpeg"),
        ("/a.css", "text/plain"),
        ("/a", "text/plain"),
        ("/a.html/b", "text/plain"),
        ("/a.html/", "text/plain"),
        ("/.html", "text/plain"),
        ("/a/.html", "text/plain"),
        ("/a.", "text/plain"),
        ("/", "text/plain"),
        ("", "text/plain"),
    ] {
        assert_eq!(check("", uri), want, "{uri}");
    }
}

#[test]
fn types_replace_those_around_and_add_up_at_one_level() {
    let conf = "types { text/x a B; } types { text/y c; } default_type q/q; server { default_type \"\"; }";
    assert_eq!(check(conf, "/1.b"), "text/x");
    assert_eq!(check(conf, "/1.c"), "text/y");
    assert_eq!(check(conf, "/1.html"), "");
    assert_eq!(check("types { text/x a; } server { types { text/y b; } }", "/1.a"), "text/plain");
    assert_eq!(check("server { types { } default_type a/b; }", "/1.html"), "a/b");
}

#[test]
fn an_extension_listed_twice_is_reported_once() {
    let site = Site::new("types { text/a x; text/b X; } server { location / { } }");
    let want = "duplicate extension \"x\", content type: \"text/b\", previous content type: \"text/a\"";
    assert_eq!(site.warnings, [want]);
    let on = site.settings().mime.as_ref().expect("because types are resolved everywhere");
    assert_eq!(super::content_type(on, b"/a.x"), b"text/b");
}

#[test]
fn overlong_extensions_are_not_looked_up() {
    assert_eq!(check("", &format!("/a.{}", "x".repeat(10_000))), "text/plain");
}

#[test]
fn errors_are_nginx_s() {
    assert_eq!(error("types { text/html { } }"), "unexpected \"{\"");
    assert_eq!(error("types x { }"), "invalid number of arguments in \"types\" directive");
    assert_eq!(error("default_type a; default_type b;"), "\"default_type\" directive is duplicate");
}
