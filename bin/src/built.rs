//! What this build is: the versions it reports and the table behind the line `configure arguments:`.

/// Our own version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The nginx whose configuration language and behaviour we follow.
pub(crate) const NGINX_VERSION: &str = "1.31.5";

/// Default paths, Debian's: `-p`, `-c`, `-e` and the directive `pid`.
pub(crate) const PREFIX: &str = "/usr/share/nginx";
pub(crate) const CONF_PATH: &str = "/etc/nginx/nginx.conf";
pub(crate) const ERROR_LOG_PATH: &str = "/var/log/nginx/error.log";
pub(crate) const PID_PATH: &str = "/run/nginx.pid";
/// What a package would have made: folders of the default paths of logs and temporary files.
pub(crate) const OWN_DIRS: [&str; 2] = ["/var/log/nginx", "/var/lib/nginx"];

/// nginx builds these unless told otherwise: we name those we lack. Each is known by a directive that only it has.
const BUILT_BY_DEFAULT: &[(&str, &str)] = &[
    ("http_charset_module", "charset"),
    ("http_gzip_module", "gzip"),
    ("http_ssi_module", "ssi"),
    ("http_userid_module", "userid"),
    ("http_access_module", "allow"),
    ("http_auth_basic_module", "auth_basic"),
    ("http_mirror_module", "mirror"),
    ("http_autoindex_module", "autoindex"),
    ("http_geo_module", "geo"),
    ("http_map_module", "map"),
    ("http_split_clients_module", "split_clients"),
    ("http_referer_module", "valid_referers"),
    ("http_rewrite_module", "rewrite"),
    ("http_proxy_module", "proxy_pass"),
    ("http_fastcgi_module", "fastcgi_pass"),
    ("http_uwsgi_module", "uwsgi_pass"),
    ("http_scgi_module", "scgi_pass"),
    ("http_grpc_module", "grpc_pass"),
    ("http_tunnel_module", "tunnel_pass"),
    ("http_memcached_module", "memcached_pass"),
    ("http_limit_conn_module", "limit_conn"),
    ("http_limit_req_module", "limit_req"),
    ("http_empty_gif_module", "empty_gif"),
    ("http_browser_module", "modern_browser"),
    ("http_upstream_hash_module", "hash"),
    ("http_upstream_ip_hash_module", "ip_hash"),
    ("http_upstream_least_conn_module", "least_conn"),
    ("http_upstream_least_time_module", "least_time"),
    ("http_upstream_random_module", "random"),
    ("http_upstream_keepalive_module", "keepalive"),
    ("http_upstream_zone_module", "zone"),
    ("http_upstream_sticky_module", "sticky"),
    ("http-cache", "proxy_cache"),
];

/// nginx builds these only when asked: we name those we have.
const BUILT_ON_REQUEST: &[(&str, &str)] = &[
    ("http_ssl_module", "ssl_certificate"),
    ("http_v2_module", "http2"),
    ("http_realip_module", "set_real_ip_from"),
    ("http_addition_module", "add_after_body"),
    ("http_geoip_module", "geoip_country"),
    ("http_sub_module", "sub_filter"),
    ("http_dav_module", "dav_methods"),
    ("http_flv_module", "flv"),
    ("http_mp4_module", "mp4"),
    ("http_gunzip_module", "gunzip"),
    ("http_gzip_static_module", "gzip_static"),
    ("http_auth_request_module", "auth_request"),
    ("http_random_index_module", "random_index"),
    ("http_secure_link_module", "secure_link"),
    ("http_degradation_module", "degradation"),
    ("http_slice_module", "slice"),
    ("http_stub_status_module", "stub_status"),
    ("mail", "imap_capabilities"),
    ("stream", "preread_timeout"),
    ("stream_ssl_module", "ssl_alpn"),
    ("stream_ssl_preread_module", "ssl_preread"),
];

/// The text of `-v`: one line, nginx's own followed by who is speaking.
pub(crate) fn version_line() -> String {
    format!("nginx version: nginx/{NGINX_VERSION} (compatible; foregate/{VERSION})\n")
}

/// The text of `-V`. certbot reads the SNI line and `--with-http_ssl_module`; the tests of nginx read the rest.
pub(crate) fn build_text(knows: impl Fn(&str) -> bool) -> String {
    format!(
        "foregate version: foregate/{VERSION}\n{}built with OpenSSL 3.5.0 (compatible; rustls 0.23 on aws-lc-rs)\nTLS SNI support enabled\n\
         configure arguments: {}\n",
        version_line(),
        configure_arguments(knows),
    )
}

/// The text of `-?` and `-h`, after the version.
pub(crate) fn options_text() -> String {
    format!(
        "Usage: foregate [-?hvVtTq] [-s signal] [-p prefix]
                [-e filename] [-c filename] [-g directives]
       foregate help          : the commands for people without an nginx.conf

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {PREFIX}/)
  -e filename   : set error log file (default: {ERROR_LOG_PATH})
  -c filename   : set configuration file (default: {CONF_PATH})
  -g directives : set global directives out of configuration file

"
    )
}

fn configure_arguments(knows: impl Fn(&str) -> bool) -> String {
    let mut line = format!(
        "--prefix={PREFIX} --conf-path={CONF_PATH} --error-log-path={ERROR_LOG_PATH} --pid-path={PID_PATH} \
         --http-log-path=/var/log/nginx/access.log --http-client-body-temp-path=/var/lib/nginx/body \
         --http-proxy-temp-path=/var/lib/nginx/proxy"
    );
    for (name, _) in BUILT_ON_REQUEST.iter().filter(|(_, witness)| knows(witness)) {
        line.push_str(" --with-");
        line.push_str(name);
    }
    for (name, _) in BUILT_BY_DEFAULT.iter().filter(|(_, witness)| !knows(witness)) {
        line.push_str(" --without-");
        line.push_str(name);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_tell_what_is_there() {
        let line = configure_arguments(|directive| matches!(directive, "ssl_certificate" | "gzip"));
        assert!(line.contains(" --with-http_ssl_module"));
        assert!(!line.contains("http_v2_module"));
        assert!(!line.contains("http_gzip_module"));
        assert!(line.contains(" --without-http_ssi_module"));
    }
}
