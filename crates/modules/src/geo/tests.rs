//! Networks, ranges, and where the address comes from.

use foregate_net::Addr;

use crate::testing::{Site, error};

fn check(geo: &str, remote: &str, fields: &str, expected: &str) {
    let site = Site::with(&format!("geo $g {{ {geo} }}"), &["$g"], foregate_conf::Strings::default());
    let mut ex = site.exchange(&format!("GET / HTTP/1.1\n{fields}"));
    ex.remote = match remote {
        "unix" => Addr::unix(""),
        ip => Addr::Ip((ip.parse::<std::net::IpAddr>().unwrap(), 1).into()),
    };
    assert_eq!(site.value(&mut ex, 0), expected, "{geo} for {remote}");
}

#[test]
fn the_longest_prefix_wins() {
    let geo = "default d; 10.0.0.0/8 ten; 10.1.0.0/16 one; 10.1.2.3 host; 10.1.0.0/24 zero; 255.255.255.255 none;
        2001:db8::/32 doc; 2001:db8:1::/48 sub; ::1 six; 192.0.2.0/25 low; 192.0.2.128/25 high;";
    for (remote, expected) in [
        ("10.200.0.1", "ten"),
        ("10.1.0.1", "zero"),
        ("10.1.1.0", "one"),
        ("10.1.2.2", "one"),
        ("10.1.2.3", "host"),
        ("10.1.2.4", "one"),
        ("10.2.0.0", "ten"),
        ("11.0.0.0", "d"),
        ("9.255.255.255", "d"),
        ("::ffff:10.1.2.3", "host"),
        ("192.0.2.127", "low"),
        ("192.0.2.128", "high"),
        ("192.0.3.0", "d"),
        ("2001:db8::5", "doc"),
        ("2001:db8:1::5", "sub"),
        ("2001:db8:2::", "doc"),
        ("::1", "six"),
        ("::2", "d"),
        ("255.255.255.255", "none"),
        ("unix", "none"),
    ] {
        check(geo, remote, "", expected);
    }
    check("10.0.0.0/8 ten;", "11.0.0.1", "", "");
    check("10.0.0.0/8 ten;", "::1", "", "");
    check("10.0.0.0/8 ten; 10.1.0.0/16 one; delete 10.1.0.0/16;", "10.1.0.1", "", "ten");
}

#[test]
fn ranges() {
    let geo = "ranges; default d; 10.0.0.0-10.1.255.255 big; 10.0.0.5-10.0.0.9 mid; 10.0.0.0-10.0.0.1 low;
        10.1.255.255-10.1.255.255 last; 192.0.2.0-192.0.2.255 x; delete 192.0.2.0-192.0.2.255;";
    for (remote, expected) in [
        ("9.255.255.255", "d"),
        ("10.0.0.1", "low"),
        ("10.0.0.2", "big"),
        ("10.0.0.5", "mid"),
        ("10.0.0.9", "mid"),
        ("10.0.0.10", "big"),
        ("10.1.255.254", "big"),
        ("10.1.255.255", "last"),
        ("10.2.0.0", "d"),
        ("192.0.2.7", "d"),
        ("2001:db8::1", "d"),
        ("unix", "d"),
    ] {
        check(geo, remote, "", expected);
    }
    check("ranges; 255.255.255.255-255.255.255.255 none;", "::1", "", "none");
}

#[test]
fn the_address_may_come_from_elsewhere() {
    let geo = "default d; proxy 127.0.0.0/8; proxy 2001:db8::/32; 192.0.2.0/24 x; 10.0.0.0/8 y;";
    check(geo, "127.0.0.1", "X-Forwarded-For: 192.0.2.1", "x");
    check(geo, "127.0.0.1", "X-Forwarded-For: 192.0.2.1, 127.0.0.2", "d");
    check(&format!("{geo} proxy_recursive;"), "127.0.0.1", "X-Forwarded-For: 192.0.2.1, 127.0.0.2", "x");
    check(geo, "10.0.0.1", "X-Forwarded-For: 192.0.2.1", "y");
    for (arg, expected) in [("192.0.2.1", "x"), ("192.0.2.1:80", "none"), ("", "none"), ("nonsense", "none")] {
        let conf = "geo $arg_ip $g { default d; 192.0.2.0/24 x; 255.255.255.255/32 none; }";
        assert_eq!(crate::testing::value(conf, &format!("GET /?ip={arg}"), "$g"), expected);
    }
}

#[test]
fn mistakes_are_told_as_nginx_tells_them() {
    for (conf, expected) in [
        ("geo g {}", "invalid variable name \"g\""),
        ("geo $g { a 1; }", "invalid network \"a\""),
        ("geo $g { 10.0.0.0/8; }", "invalid number of the geo parameters"),
        ("geo $g { 10.0.0.0/8 1; ranges; }", "the \"ranges\" directive must be the first directive inside \"geo\" block"),
        ("geo $g { ranges; 10.0.0.0/8 1; }", "invalid range \"10.0.0.0/8\""),
        ("geo $g { ranges; 10.0.0.2-10.0.0.1 1; }", "invalid range \"10.0.0.2-10.0.0.1\""),
        (
            "geo $g { ranges; 10.0.0.1-10.0.0.5 1; 10.0.0.4-10.0.0.6 2; }",
            "range \"10.0.0.4-10.0.0.6\" overlaps \"10.0.0.1-10.0.0.5\"",
        ),
        (
            "geo $g { ranges; 10.0.0.4-10.0.0.5 1; 10.0.0.1-10.0.0.6 2; }",
            "range \"10.0.0.1-10.0.0.6\" overlaps \"10.0.0.4-10.0.0.5\"",
        ),
    ] {
        assert_eq!(error(conf), expected, "{conf}");
    }
}

#[test]
fn doubts_are_warnings() {
    for (lines, expected) in [
        ("10.0.0.1/8 1;", "low address bits of 10.0.0.1/8 are meaningless"),
        ("10.0.0.0/8 1; 10.0.0.0/8 2;", "duplicate network \"10.0.0.0/8\", value: \"2\", old value: \"1\""),
        ("delete 10.0.0.0/8;", "no network \"10.0.0.0/8\" to delete"),
        ("ranges; delete 10.0.0.0-10.0.0.1;", "no address range \"10.0.0.0-10.0.0.1\" to delete"),
        (
            "ranges; 10.0.0.0-10.0.0.1 1; 10.0.0.0-10.0.0.1 2;",
            "duplicate range \"10.0.0.0-10.0.0.1\", value: \"2\", old value: \"1\"",
        ),
        ("ranges; default 1; default 2;", "duplicate default geo range value: \"2\", old value: \"1\""),
    ] {
        assert_eq!(Site::new(&format!("geo $g {{ {lines} }}")).warnings, [expected]);
    }
}
