//! Which location answers: exact, prefix, `^~`, regular expressions, nested and named ones.

use foregate_testkit::check;

#[test]
fn the_best_location_answers() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            location = /exact { return 200 exact; }
            location /exact { return 200 prefix-of-exact; }
            location /pre { return 200 pre; }
            location /pre/longer { return 200 longer; }
            location ^~ /pre/no { return 200 no-regex; }
            location ~ ^/pre/.*\.x$ { return 200 regex-1; }
            location ~ ^/pre/.*\.xx?$ { return 200 regex-2; }
            location ~* \.X$ { return 200 any-case; }
            location / { return 200 root; }
        }",
        &[
            ("GET /exact", "200 | = exact"),
            ("GET /exact?a=b", "200 | = exact"),
            ("GET /exact/", "200 | = prefix-of-exact"),
            ("GET /exactly", "200 | = prefix-of-exact"),
            ("GET /pre", "200 | = pre"),
            ("GET /prefix", "200 | = pre"),
            ("GET /pre/a.x", "200 | = regex-1"),
            ("GET /pre/a.xx", "200 | = regex-2"),
            ("GET /pre/no.x", "200 | = no-regex"),
            ("GET /pre/longer", "200 | = longer"),
            ("GET /pre/longer.x", "200 | = regex-1"),
            ("GET /z.x", "200 | = any-case"),
            ("GET /z.X", "200 | = any-case"),
            ("GET /nothing", "200 | = root"),
            ("GET /", "200 | = root"),
        ],
    );
}

#[test]
fn modifiers_may_be_glued_to_their_pattern() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            location =/e { return 200 exact; }
            location ^~/p { return 200 prefix; }
            location ~\.php$ { return 200 php; }
            location ~*\.(png|jpg)$ { return 200 image; }
        }",
        &[
            ("GET /e", "200 | = exact"),
            ("GET /p.php", "200 | = prefix"),
            ("GET /a.php", "200 | = php"),
            ("GET /a.PNG", "200 | = image"),
            ("GET /a.PHP", "404"),
        ],
    );
}

#[test]
fn the_path_is_normalised_before_it_is_matched() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            location /a/ { return 200 a:$uri; }
            location = /b { return 200 b:$uri; }
            location / { return 200 root:$uri; }
        }",
        &[
            ("GET /a/../b", "200 | = b:/b"),
            ("GET /a/./x", "200 | = a:/a/x"),
            ("GET //a//x", "200 | = a:/a/x"),
            ("GET /%61/x", "200 | = a:/a/x"),
            ("GET /a%2Fx", "200 | = a:/a/x"),
            ("GET /a/x/..", "200 | = a:/a/"),
            ("GET /a/x/.", "200 | = a:/a/x/"),
            ("GET /a/...", "200 | = a:/a/..."),
            ("GET /b#fragment", "200 | = b:/b"),
            ("GET /b%23x", "200 | = root:/b#x"),
            ("GET /b?", "200 | = b:/b"),
            ("GET /a/%2e%2e/b", "200 | = b:/b"),
            ("GET /..", "400"),
            ("GET /a/../../b", "400"),
            ("GET /%00", "400"),
            ("GET /%zz", "400"),
            ("GET /%4", "400"),
        ],
    );
}

#[test]
fn merge_slashes_off_keeps_them() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            merge_slashes off;
            location /a/ { return 200 a:$uri; }
            location / { return 200 root:$uri; }
        }",
        &[("GET /a//x", "200 | = a:/a//x"), ("GET //a/x", "200 | = root://a/x")],
    );
}

#[test]
fn locations_nest() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            location /a {
                add_header X-In outer;
                location /a/b { return 200 b; }
                location ~ \.c$ { return 200 c; }
                location = /a/exact { return 200 exact; }
                return 200 a;
            }
            location ~ \.c$ { return 200 outside; }
        }",
        &[
            ("GET /a/x", "200 | = a | X-In: outer"),
            ("GET /a/b/x", "200 | = b | X-In: outer"),
            ("GET /a/b/x.c", "200 | = c"),
            ("GET /a/exact", "200 | = exact"),
            ("GET /x.c", "200 | = outside"),
        ],
    );
}

#[test]
fn captures_of_a_location_reach_its_directives() {
    check(
        r#"server {
            listen 127.0.0.1:{port:0};
            location ~ "^/u/(\w{2,})/(?<rest>.*)$" { return 200 $1:$2:$rest; }
            location ~ ^/o/(a)?(b)$ { return 200 [$1][$2][$3]; }
            location ~ (a+)\1x$ { return 200 back:$1; }
            location ~ ^/(?!no)(?=y)(.*) { return 200 look:$1; }
        }"#,
        &[
            ("GET /u/ann/x/y", "200 | = ann:x/y:x/y"),
            ("GET /u/a/x", "404"),
            ("GET /o/b", "200 | = [][b][]"),
            ("GET /zaaaax", "200 | = back:aa"),
            ("GET /yes", "200 | = look:yes"),
            ("GET /none", "404"),
        ],
    );
}

#[test]
fn internal_locations_are_not_found_from_outside() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            location /in { internal; return 200 inside; }
            location /go { rewrite ^ /in last; }
            location /gone { error_page 410 /in; return 410; }
        }",
        &[("GET /in", "404"), ("GET /go", "200 | = inside"), ("GET /gone", "410 | = inside")],
    );
}

#[test]
fn a_prefix_that_ends_in_a_slash_redirects_without_it() {
    check(
        r"server {
            listen 127.0.0.1:{port:0};
            location /p/ { proxy_pass http://127.0.0.1:1; }
            location /plain/ { return 200 x; }
            location /both/ { proxy_pass http://127.0.0.1:1; }
            location = /both { return 200 exact; }
        }",
        &[
            ("GET /p", "301 | Location: http://localhost:{port:0}/p/"),
            ("GET /p?a=b", "301 | Location: http://localhost:{port:0}/p/?a=b"),
            ("GET /plain", "404"),
            ("GET /both", "200 | = exact"),
        ],
    );
}
