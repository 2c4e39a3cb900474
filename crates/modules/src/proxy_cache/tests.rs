//! How the directives are read.

use crate::testing::{Site, error};

const PATH: &str = "proxy_cache_path /c keys_zone=one:1m levels=1:2 inactive=1h max_size=1g min_free=10m \
                    use_temp_path=off manager_files=2 manager_sleep=5 manager_threshold=10 loader_files=1 \
                    loader_sleep=50ms loader_threshold=200 purger=on purger_files=3;";

#[test]
fn a_zone_is_found_by_its_name() {
    let site = Site::new(&format!("{PATH} proxy_cache one; proxy_cache_valid 200 1m;"));
    let on = site.settings().proxy_cache.as_ref().expect("because it is set");
    assert_eq!((on.valid.seconds(200), on.valid.seconds(404)), (60, 0));
    assert!(on.convert_head && !on.lock);
    assert!(Site::new(&format!("{PATH} proxy_cache one; server {{ proxy_cache off; }}")).settings().proxy_cache.is_none());
    assert!(Site::new("proxy_cache $arg_zone;").settings().proxy_cache.is_some());
}

#[test]
fn times_without_a_status_are_for_three() {
    let site = Site::new(&format!("{PATH} proxy_cache one; proxy_cache_valid 10s; proxy_cache_valid 404 any 1s;"));
    let on = site.settings().proxy_cache.as_ref().expect("because it is set");
    assert_eq!([200, 301, 302, 404, 500].map(|it| on.valid.seconds(it)), [10, 10, 10, 1, 1]);
}

#[test]
fn errors_are_nginx_s() {
    for (conf, want) in [
        ("proxy_cache one;", "\"proxy_cache\" zone \"one\" is unknown"),
        ("proxy_cache_path /c levels=1;", "\"proxy_cache_path\" must have \"keys_zone\" parameter"),
        ("proxy_cache_path /c keys_zone=one;", "invalid keys zone size \"keys_zone=one\""),
        ("proxy_cache_path /c keys_zone=one:4k;", "keys zone \"keys_zone=one:4k\" is too small"),
        ("proxy_cache_path /c keys_zone=one:1m levels=3;", "invalid \"levels\" \"levels=3\""),
        ("proxy_cache_path /c keys_zone=one:1m levels=1:1:1:1;", "invalid \"levels\" \"levels=1:1:1:1\""),
        ("proxy_cache_path /c keys_zone=one:1m inactive=x;", "invalid inactive value \"inactive=x\""),
        ("proxy_cache_path /c keys_zone=one:1m nothing=1;", "invalid parameter \"nothing=1\""),
        ("proxy_cache_path /c keys_zone=a:1m; proxy_cache_path /d keys_zone=a:1m;", "duplicate zone \"a\""),
        ("proxy_cache_valid 99 1m;", "invalid status \"99\""),
        ("proxy_cache_valid 200 x;", "invalid time value \"x\""),
        ("proxy_cache_methods GET PUT;", "invalid value \"PUT\""),
        ("proxy_cache_use_stale sometimes;", "invalid value \"sometimes\""),
    ] {
        assert_eq!(error(conf), want, "{conf}");
    }
}
