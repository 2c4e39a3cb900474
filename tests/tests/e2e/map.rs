//! `map`, `geo`, `split_clients`: variables by tables.

use foregate_testkit::check;

#[test]
fn map_finds_exact_names_wildcards_and_patterns() {
    check(
        r#"map $arg_v $out {
            default none;
            a A;
            "b c" BC;
            \default escaped;
            ~^x(?<cap>\d+)$ named:$cap;
            ~*^y(.)z$ "y$1";
            "~ q" space;
            d "$arg_w!";
            A2 upper;
        }
        map $http_host $site {
            hostnames;
            default other;
            .foo.com foo;
            *.bar.com star;
            www.* www;
        }
        map "$arg_v:$arg_w" $both { "1:2" yes; }
        map $arg_v $chained { default $out; }
        map $arg_v $novalue { a ""; }
        server {
            listen 127.0.0.1:{port:0};
            location /out { return 200 [$out]; }
            location /site { return 200 $site; }
            location /both { return 200 [$both]; }
            location /chained { return 200 [$chained]; }
            location /novalue { return 200 [$novalue]; }
        }"#,
        &[
            ("GET /out?v=a", "200 | = [A]"),
            ("GET /out?v=A", "200 | = [A]"),
            ("GET /out?v=zz", "200 | = [none]"),
            ("GET /out", "200 | = [none]"),
            ("GET /out?v=default", "200 | = [escaped]"),
            ("GET /out?v=x12", "200 | = [named:12]"),
            ("GET /out?v=Y7Z", "200 | = [y7]"),
            ("GET /out?v=d&w=W", "200 | = [W!]"),
            ("GET /out?v=a2", "200 | = [upper]"),
            ("GET /site\nHost: foo.com", "200 | = foo"),
            ("GET /site\nHost: a.FOO.com", "200 | = foo"),
            ("GET /site\nHost: bar.com", "200 | = other"),
            ("GET /site\nHost: x.bar.com", "200 | = star"),
            ("GET /site\nHost: www.z", "200 | = www"),
            ("GET /both?v=1&w=2", "200 | = [yes]"),
            ("GET /both?v=1&w=3", "200 | = []"),
            ("GET /chained?v=a", "200 | = [A]"),
            ("GET /novalue?v=b", "200 | = []"),
        ],
    );
}

#[test]
fn geo_finds_the_narrowest_network() {
    check(
        r"geo $arg_ip $net { default 0; 10.0.0.0/8 ten; 10.1.0.0/16 ten-one; 192.168.1.1 one; 2001:db8::/32 six; }
        geo $own { default far; 127.0.0.0/8 near; }
        geo $arg_ip $ranged { ranges; default 0; 10.0.0.1-10.0.0.9 first; }
        server {
            listen 127.0.0.1:{port:0};
            location /net { return 200 $net; }
            location /own { return 200 $own; }
            location /ranged { return 200 $ranged; }
        }",
        &[
            ("GET /net?ip=10.2.3.4", "200 | = ten"),
            ("GET /net?ip=10.1.3.4", "200 | = ten-one"),
            ("GET /net?ip=192.168.1.1", "200 | = one"),
            ("GET /net?ip=192.168.1.2", "200 | = 0"),
            ("GET /net?ip=2001:db8::1", "200 | = six"),
            ("GET /own", "200 | = near"),
            ("GET /ranged?ip=10.0.0.9", "200 | = first"),
            ("GET /ranged?ip=10.0.0.10", "200 | = 0"),
        ],
    );
}

#[test]
fn split_clients_cuts_by_a_hash() {
    check(
        r"split_clients $arg_v $part { 50% a; * b; }
        split_clients x$arg_v $all { 100% all; }
        server { listen 127.0.0.1:{port:0}; location / { return 200 $part; } location /all { return 200 $all; } }",
        &[
            ("GET /?v=1", "200 | = a"),
            ("GET /?v=2", "200 | = a"),
            ("GET /?v=3", "200 | = b"),
            ("GET /?v=4", "200 | = a"),
            ("GET /?v=hello", "200 | = b"),
            ("GET /all", "200 | = all"),
        ],
    );
}
