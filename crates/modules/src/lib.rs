//! Every feature of the server, one folder each.
//!
//! A module imports the vocabulary (`foregate_core`), the configuration tree (`foregate_conf`) and nothing of
//! its neighbours. Adding one is: a folder, a line in the list below, and a call in the server's `phases.rs`
//! or `filters.rs`.

#[cfg(test)]
mod codings_tests;
pub mod known;
pub mod purge_fleet;
mod redis;
mod registry;
#[cfg(test)]
mod testing;

registry::modules! {
    access,
    acme,
    addition,
    api,
    auth_basic,
    auth_jwt,
    auth_oidc,
    auth_request,
    auth_require,
    brotli,
    brotli_static,
    browser,
    charset,
    client,
    dav,
    empty_gif,
    encoding,
    error_log,
    errors,
    fastcgi,
    fastcgi_cache,
    files,
    flv,
    geo,
    geoip2,
    grpc,
    gunzip,
    gzip,
    gzip_static,
    headers,
    http2,
    hsts,
    https_redirect,
    internal,
    limit_conn,
    limit_req,
    log,
    map,
    mime,
    mirror,
    not_modified,
    on_demand,
    post_action,
    process,
    proxy,
    proxy_cache,
    range,
    realip,
    redirects,
    referer,
    resolver,
    rewrite,
    satisfy,
    secure_link,
    security_headers,
    shield,
    slice,
    split_clients,
    ssi,
    ssl,
    status_zone,
    stub_status,
    sub_filter,
    upstream,
    userid,
    variables,
    zstd,
    zstd_static,
}

/// The settings that hold where an exchange is now.
pub fn settings(cycle: &dyn foregate_core::Household, location: u32) -> &Settings {
    let settings = cycle.settings(location).downcast_ref();
    settings.expect("because the cycle keeps nothing else as settings")
}
