//! Modules by others with too many names to list: the beginning of a name, or a part of it, tells them.

use super::reasons::{
    BOT_TEST, CHECKS, DIRECTORY_LOGIN, ECHO, FANCYINDEX, FIREWALL, PAGESPEED, PUSH, SCRIPTS, TRAFFIC_STATUS,
};
use super::{Known, known as of};

/// Anywhere in a name.
static LUA: Known = of("_by_lua", "", "any", "", SCRIPTS);

/// At the beginning of a name.
static BEGINNINGS: &[Known] = &[
    of("SecRules", "", "any", "", FIREWALL),
    of("auth_ldap_", "", "any", "", DIRECTORY_LOGIN),
    of("auth_pam_", "", "any", "", DIRECTORY_LOGIN),
    of("check_", "", "any", "", CHECKS),
    of("echo_", "", "any", "", ECHO),
    of("fancyindex_", "", "any", "", FANCYINDEX),
    of("js_", "", "any", "", SCRIPTS),
    of("lua_", "", "any", "", SCRIPTS),
    of("modsecurity_", "", "any", "", FIREWALL),
    of("naxsi_", "", "any", "", FIREWALL),
    of("nchan_", "", "any", "", PUSH),
    of("pagespeed_", "", "any", "", PAGESPEED),
    of("passenger_", "", "any", "", SCRIPTS),
    of("perl_", "", "any", "", SCRIPTS),
    of("push_stream_", "", "any", "", PUSH),
    of("redis2_", "", "any", "", SCRIPTS),
    of("srcache_", "", "any", "", SCRIPTS),
    of("testcookie_", "", "any", "", BOT_TEST),
    of("vhost_traffic_status_", "", "any", "", TRAFFIC_STATUS),
];

pub(super) fn find(name: &str) -> Option<&'static Known> {
    if name.contains(LUA.name) {
        return Some(&LUA);
    }
    BEGINNINGS.iter().find(|known| name.starts_with(known.name))
}
