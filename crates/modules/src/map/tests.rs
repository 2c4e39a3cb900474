//! Maps and what they give.

use foregate_conf::Strings;

use crate::testing::{Site, error, value};

fn check(map: &str, args: &str, expected: &str) {
    let conf = format!("map $arg_k $v {{ {map} }}");
    assert_eq!(value(&conf, &format!("GET /?{args}"), "$v"), expected, "{map} for {args}");
}

#[test]
fn names_do_not_know_case_and_patterns_come_after_them() {
    let map = "default d; a A; B b; '' empty; ~^x x; ~*^y(.)z y$1; ~^(?<cap>p.*)$ cap=$cap; ~^x2 never; *.a star;";
    for (args, expected) in [
        ("k=a", "A"),
        ("k=A", "A"),
        ("k=b", "b"),
        ("k=", "empty"),
        ("", "empty"),
        ("k=x2", "x"),
        ("k=X2", "d"),
        ("k=Y-Z", "y-"),
        ("k=pq", "cap=pq"),
        ("k=*.a", "star"),
        ("k=b.a", "d"),
        ("k=other", "d"),
    ] {
        check(map, args, expected);
    }
    check("a 1;", "k=b", "");
}

#[test]
fn special_words_can_be_keys() {
    check("\\default yes; default no;", "k=default", "yes");
    check("\\hostnames yes;", "k=hostnames", "yes");
    check("hostnames yes;", "k=hostnames", "yes");
    check("\\~x yes;", "k=~x", "yes");
}

#[test]
fn hostnames() {
    let map = "hostnames; default d; a.com exact; .foo.com foo; *.b.com b; www.* www;";
    for (key, expected) in [
        ("A.com", "exact"),
        ("a.com.", "exact"),
        ("foo.com", "foo"),
        ("x.foo.com", "foo"),
        ("b.com", "d"),
        ("x.y.b.com", "b"),
        ("www.c.org", "www"),
    ] {
        check(map, &format!("k={key}"), expected);
    }
}

#[test]
fn sources_and_values_are_templates() {
    let conf = "map $request_method:$arg_a $v { GET:1 $host-$arg_b; default ${arg_b}x; }";
    assert_eq!(value(conf, "GET /?a=1&b=2 HTTP/1.1\nHost: h", "$v"), "h-2");
    assert_eq!(value(conf, "GET /?b=2", "$v"), "2x");
}

#[test]
fn a_map_may_use_a_map_and_a_circle_ends() {
    let conf = "map $a $b { 1 2; } map $arg_x $a { default 1; } map $d $c { default x$d; } map $c $d { default y$c; }";
    assert_eq!(value(conf, "GET /", "$b"), "2");
    assert!(value(conf, "GET /", "$c").starts_with("xyx"));
}

#[test]
fn a_value_is_kept_unless_volatile() {
    for (word, expected) in [("", "1 1"), ("volatile;", "1 2")] {
        let conf = format!("map $arg_a $v {{ {word} default $arg_a; }}");
        let site = Site::with(&conf, &["$v"], Strings::default());
        let mut ex = site.exchange("GET /?a=1");
        let first = site.value(&mut ex, 0);
        ex.args = b"a=2".into();
        let second = site.value(&mut ex, 0);
        assert_eq!(format!("{first} {second}"), expected);
    }
}

#[test]
fn lines_may_come_from_a_file() {
    let files = Strings::new([("/etc/nginx/more.map", "a 1;\nb 2;")]);
    let site = Site::with("map $arg_k $v { include more.map; default 3; }", &["$v"], files);
    let get = |request: &str| site.value(&mut site.exchange(request), 0);
    assert_eq!([get("GET /?k=a"), get("GET /?k=b"), get("GET /?k=c")], ["1", "2", "3"]);
}

#[test]
fn mistakes_are_told_as_nginx_tells_them() {
    for (conf, expected) in [
        ("map_hash_max_size 2048; map_hash_bucket_size 128; map $uri $x {}", ""),
        ("map $uri x {}", "invalid variable name \"x\""),
        ("map $uri $host {}", "the duplicate \"host\" variable"),
        ("map $nope $x {}", "unknown \"nope\" variable"),
        ("map $uri $x { a b c; }", "invalid number of the map parameters"),
        ("map $uri $x { a; }", "invalid number of the map parameters"),
        ("map $uri $x { default a; default b; }", "duplicate default map parameter"),
        ("map $uri $x { a 1; A 2; }", "conflicting parameter \"A\""),
        ("map $uri $x { hostnames; *.a.* 2; }", "invalid hostname or wildcard \"*.a.*\""),
        ("map $uri $x { a $nope; }", "unknown \"nope\" variable"),
        ("server { map $uri $x {} }", "\"map\" directive is not allowed here"),
    ] {
        assert_eq!(error(conf), expected, "{conf}");
    }
    assert!(error("map $uri $x { ~( 1; }").starts_with("pcre2_compile() failed: "));
}
