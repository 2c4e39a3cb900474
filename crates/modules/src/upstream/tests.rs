//! Groups as written: what is understood, and what is refused in which words.

use crate::testing::{Site, error};
use foregate_upstream::Groups;

fn refused(inside: &str) -> String {
    error(&format!("upstream u {{ {inside} }}"))
}

#[test]
fn groups_are_found_by_name() {
    let site = Site::new("upstream Back { server 127.0.0.1:81 weight=5; server unix:/s backup; }");
    let groups = site.house.shared.get::<Groups>().expect("because there is one");
    assert!(groups.find("back", 80, true).is_some());
    assert!(groups.find("back", 81, false).is_none());
    assert!(groups.find("front", 80, true).is_none());
}

#[test]
fn mistakes_are_named_as_nginx_names_them() {
    for (inside, want) in [
        ("", "no servers are inside upstream"),
        ("server 127.0.0.1:0;", "invalid port in upstream \"127.0.0.1:0\""),
        ("server 127.0.0.1/x;", "invalid host in upstream \"127.0.0.1/x\""),
        ("server 127.0.0.1 weight=0;", "invalid parameter \"weight=0\""),
        ("server 127.0.0.1 nonsense;", "invalid parameter \"nonsense\""),
        ("server 127.0.0.1 max_fails=x;", "invalid parameter \"max_fails=x\""),
        ("ip_hash; server 127.0.0.1 backup;", "balancing method does not support parameter \"backup\""),
        ("server 127.0.0.1; keepalive x;", "invalid value \"x\" in \"keepalive\" directive"),
        ("server 127.0.0.1; hash $uri consistant;", "invalid parameter \"consistant\""),
        ("server 127.0.0.1; hash $nothing;", "unknown \"nothing\" variable"),
        ("server 127.0.0.1 backup;", "no servers in upstream \"u\""),
    ] {
        assert_eq!(refused(inside), want, "{inside}");
    }
    let twice = "upstream u { server 127.0.0.1; } upstream U { server 127.0.0.1; }";
    assert_eq!(error(twice), "duplicate upstream \"U\"");
}
