//! What variables say of addresses, and what is refused.

use std::time::{Duration, Instant};

use foregate_conf::Strings;
use foregate_testkit::mmdb::{self, Item};

use crate::testing::{Site, try_with};

fn database(country: &str) -> Vec<u8> {
    let of = |code: &str| {
        mmdb::map(&[
            ("country", mmdb::map(&[("iso_code", Item::Text(code.into())), ("geoname_id", Item::U32(7))])),
            ("location", mmdb::map(&[("latitude", Item::Double(52.5))])),
            ("trusted", Item::Flag(true)),
        ])
    };
    mmdb::database(24, 6, &[("192.0.2.0/24", of(country)), ("2001:db8::/32", of("FR"))])
}

fn files() -> Strings {
    let mut files = Strings::default();
    files.insert("/etc/nginx/a.mmdb", database("DE"));
    files.insert("/etc/nginx/broken.mmdb", "text");
    files
}

/// The value of `$a` for a client.
fn check(lines: &str, more: &str, client: &str, request: &str) -> String {
    let site = Site::with(&format!("geoip2 a.mmdb {{ {lines} }} {more}"), &["$a"], files());
    let mut ex = site.exchange(request);
    ex.remote = foregate_net::Addr::Ip(std::net::SocketAddr::new(client.parse().unwrap(), 1));
    site.value(&mut ex, 0)
}

const GET: &str = "GET /?ip=2001:db8::7 HTTP/1.1\nHost: h\nX-Forwarded-For: 2001:db8::1, 192.0.2.9";

#[test]
fn variables_say_what_the_database_knows() {
    let of = |lines: &str, client: &str| check(lines, "", client, GET);
    assert_eq!(of("$a country iso_code;", "192.0.2.1"), "DE");
    assert_eq!(of("$a country iso_code;", "2001:db8::9"), "FR");
    assert_eq!(of("$a country geoname_id;", "192.0.2.1"), "7");
    assert_eq!(of("$a location latitude;", "192.0.2.1"), "52.50000");
    assert_eq!(of("$a trusted;", "192.0.2.1"), "1");
    assert_eq!(of("$a country;", "192.0.2.1"), "");
    assert_eq!(of("$a country iso_code;", "10.0.0.1"), "");
    assert_eq!(of("$a default=XX country iso_code;", "10.0.0.1"), "XX");
    assert_eq!(of("$a default=XX country none;", "192.0.2.1"), "XX");
    assert_eq!(of("$a source=$arg_ip country iso_code;", "192.0.2.1"), "FR");
    assert_eq!(of("$a default=XX source=$arg_none country iso_code;", "192.0.2.1"), "XX");
    assert_eq!(of("$a metadata build_epoch;", "192.0.2.1"), mmdb::BUILT_S.to_string());
    assert_eq!(of("auto_reload 1h; $a country iso_code;", "192.0.2.1"), "DE");
}

#[test]
fn proxies_are_believed_where_they_are_trusted() {
    let of = |more: &str, client: &str| check("$a country iso_code;", more, client, GET);
    assert_eq!(of("geoip2_proxy 10.0.0.0/8;", "10.0.0.1"), "DE");
    assert_eq!(of("geoip2_proxy 10.0.0.0/8;", "10.0.0.1"), "DE");
    let recursive = "geoip2_proxy 10.0.0.0/8; geoip2_proxy 192.0.2.0/24; geoip2_proxy_recursive on;";
    assert_eq!(of(recursive, "10.0.0.1"), "FR");
    assert_eq!(of(recursive, "192.0.2.1"), "FR");
    assert_eq!(of("geoip2_proxy 10.0.0.0/8;", "11.0.0.1"), "");
}

#[test]
fn mistakes_are_told() {
    let error = |conf: &str| try_with(conf, files()).err().map_or_else(String::new, |why| why.what);
    assert_eq!(error("geoip2 none.mmdb { }"), "MMDB_open(\"/etc/nginx/none.mmdb\") failed - 2: No such file or directory");
    assert_eq!(
        error("geoip2 broken.mmdb { }"),
        "MMDB_open(\"/etc/nginx/broken.mmdb\") failed - it has no metadata, so it is no MaxMind database"
    );
    assert_eq!(error("geoip2 a.mmdb { } geoip2 a.mmdb { }"), "Duplicate GeoIP2 mmdb - a.mmdb");
    assert_eq!(error("geoip2 a.mmdb { a b; }"), "invalid variable name \"a\"");
    assert_eq!(error("geoip2 a.mmdb { $a default=x; }"), "invalid number of arguments for geoip2");
    assert_eq!(error("geoip2 a.mmdb { $a source=x b; }"), "invalid source variable name \"x\"");
    assert_eq!(error("geoip2 a.mmdb { $a metadata age; }"), "invalid metadata field \"age\"");
    assert_eq!(error("geoip2 a.mmdb { auto_reload x; }"), "invalid value for auto_reload \"x\"");
    assert_eq!(error("geoip2_proxy x;"), "invalid network \"x\"");
}

#[test]
fn a_file_that_has_changed_is_read_again() {
    let path = std::env::temp_dir().join(format!("foregate-geoip2-{}.mmdb", std::process::id()));
    let write = |country: &str, changed_s: u64| {
        std::fs::write(&path, database(country)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(changed_s)).unwrap();
    };
    write("DE", 1000);
    let mut files = Strings::default();
    files.insert(path.to_str().unwrap(), std::fs::read(&path).unwrap());
    let conf = format!("geoip2 {} {{ auto_reload 1s; $a country iso_code; }}", path.display());
    let site = Site::with(&conf, &["$a"], files);
    let ask = || {
        let mut ex = site.exchange("GET /");
        ex.remote = foregate_net::Addr::Ip(([192, 0, 2, 1], 1).into());
        site.value(&mut ex, 0)
    };
    assert_eq!(ask(), "DE");
    write("AT", 2000);
    let end = Instant::now() + Duration::from_secs(10);
    while ask() != "AT" {
        assert!(Instant::now() < end, "the new file is never seen");
        foregate_net::clock::refresh();
        std::thread::sleep(Duration::from_millis(20));
    }
    // A file that is no database leaves the old one in its place.
    std::fs::write(&path, "text").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    foregate_net::clock::refresh();
    assert_eq!(ask(), "AT");
    std::fs::remove_file(&path).unwrap();
}
