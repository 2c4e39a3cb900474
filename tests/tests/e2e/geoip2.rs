//! `geoip2`: what a database says of addresses. Debian's nginx lacks the module.

use foregate_testkit::mmdb::{self, Item};
use foregate_testkit::{Setup, check_on, foregate_only};

#[test]
fn addresses_are_looked_up() {
    let country = |code: &str| {
        let names = mmdb::map(&[("en", Item::Text(format!("Country {code}")))]);
        mmdb::map(&[("country", mmdb::map(&[("iso_code", Item::Text(code.to_owned())), ("names", names)]))])
    };
    let networks =
        [("127.0.0.0/8", country("LO")), ("192.0.2.0/24", country("DE")), ("2001:db8::/32", country("FR"))];
    foregate_only(|subject| {
        let server = Setup::http(
            "geoip2 geo.mmdb {
                 auto_reload 1h;
                 $built metadata build_epoch;
                 $own country iso_code;
                 $code default=none source=$arg_ip country iso_code;
                 $name source=$arg_ip country names en;
             }
             map $code $eu { default no; DE yes; FR yes; }
             server { listen 127.0.0.1:{port:0}; return 200 \"$own $code $name $eu $built\"; }",
        )
        .file("geo.mmdb", mmdb::database(28, 6, &networks))
        .set("built", mmdb::BUILT_S)
        .start(subject);
        check_on(
            &server,
            &[
                ("GET /?ip=192.0.2.7", "200 | = LO DE Country DE yes {built}"),
                ("GET /?ip=2001:db8::7", "200 | = LO FR Country FR yes {built}"),
                ("GET /?ip=10.0.0.1", "200 | = LO none  no {built}"),
                ("GET /?ip=x", "200 | = LO none  no {built}"),
            ],
        );
    });
}
