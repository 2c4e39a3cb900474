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
