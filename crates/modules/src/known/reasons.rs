//! Why a directive is ignored or refused, and what to do instead: one sentence for each group of names.

use super::Treatment::{self, Ignored, Refused};

const fn refused(why: &'static str, instead: &'static str) -> Treatment {
    Refused { why, instead: Some(instead) }
}

/// What a later version is meant to do.
pub(super) const NOT_YET: Treatment = Refused { why: "not available yet in this version", instead: None };
pub(super) const STREAM: Treatment =
    Refused { why: "TCP and UDP proxying is not available yet in this version", instead: None };

// Tuning of what works differently here.

pub(super) const EVENTS: Treatment = Ignored("threads take connections from the kernel in their own way");
pub(super) const DISK: Treatment = Ignored("files are read and sent in their own way, which needs no tuning");
pub(super) const PROCESS: Treatment = Ignored("one worker process runs a thread for each processor");
pub(super) const DEBUGGING: Treatment = Ignored("it only helps to debug nginx itself");
pub(super) const ENVIRONMENT: Treatment = Ignored("the worker keeps the whole environment");
pub(super) const MODULES: Treatment = Ignored("every module there is, is built in");
pub(super) const REGEX: Treatment = Ignored("regular expressions are always compiled");
pub(super) const HASHES: Treatment = Ignored("tables of names size themselves");
pub(super) const MEMORY: Treatment = Ignored("memory is not taken from pools of a fixed size");
pub(super) const BUFFERS: Treatment = Ignored("buffers belong to the threads and size themselves");
pub(super) const SPOOLING: Treatment = Ignored("bodies are not kept in temporary files");
pub(super) const SOCKETS: Treatment = Ignored("sockets are tuned by the server itself");
pub(super) const OPEN_LOGS: Treatment = Ignored("log files stay open anyway");
pub(super) const COMPRESSION: Treatment = Ignored("the compressor sizes its memory itself");
pub(super) const OLD_BROWSERS: Treatment = Ignored("the browsers it is for have died out");
pub(super) const DH: Treatment = Ignored("keys are exchanged over elliptic curves only");
pub(super) const TLS_INSIDE: Treatment = Ignored("the TLS library sees to it itself");
pub(super) const QUIC_INSIDE: Treatment = Ignored("QUIC is tuned by the server itself");
pub(super) const COUNTERS: Treatment = Ignored("no counters are kept by zone");
pub(super) const LICENCE: Treatment = Ignored("there is no licence to report");

// What we do not do.

pub(super) const MAIL: Treatment = refused("mail is not proxied", "keep an nginx for mail beside Foregate");

pub(super) const ENGINE: Treatment = refused(
    "there is no OpenSSL to load an engine into",
    "give the key as a PEM file with ssl_certificate_key",
);
pub(super) const OPENSSL: Treatment =
    refused("it speaks to OpenSSL, which is not used", "ssl_protocols and ssl_ciphers say what can be said");
pub(super) const IMAGES: Treatment =
    refused("images are not converted", "pass the location to an image server with proxy_pass");
pub(super) const XSLT: Treatment =
    refused("XML is not transformed", "pass the location to an application that does with proxy_pass");
pub(super) const SCRIPTS: Treatment = refused(
    "no scripts are run inside the server",
    "most can be said with map, set, if, rewrite, return and auth_request",
);
pub(super) const GEOIP: Treatment = refused(
    "its databases are no longer published",
    "use geoip2 with a database in MaxMind's format (.mmdb)",
);
pub(super) const VIDEO: Treatment =
    refused("video is not cut or streamed", "serve the file as it is: players ask for ranges of bytes");
pub(super) const DEGRADATION: Treatment =
    refused("memory is not watched", "limit_conn and limit_req keep load away");
pub(super) const CLUSTER: Treatment =
    refused("zones are not shared between machines", "let one machine limit, or limit on each");
pub(super) const SESSION_LOG: Treatment =
    refused("sessions are not logged", "use access_log with a log_format");
pub(super) const OLD_STATUS: Treatment = refused("nginx has removed it", "use stub_status");
pub(super) const LIMIT_ZONE: Treatment = refused("nginx has removed it", "use limit_conn_zone");
pub(super) const SSL_SWITCH: Treatment =
    refused("nginx has removed it", "write \"listen 443 ssl;\" instead of \"ssl on;\"");

// Modules by others.

pub(super) const ECHO: Treatment = refused("it belongs to a module that is not built in", "use return");
pub(super) const TRAFFIC_STATUS: Treatment =
    refused("it belongs to a module that is not built in", "use stub_status and access_log");
pub(super) const CHECKS: Treatment = refused(
    "it belongs to a module that is not built in",
    "max_fails and fail_timeout of a server take broken peers out",
);
pub(super) const FIREWALL: Treatment = refused(
    "requests are not inspected for attacks, and to ignore it would open the site",
    "put a firewall in front, or ask one with auth_request",
);
pub(super) const DIRECTORY_LOGIN: Treatment =
    refused("users are not looked up in a directory", "ask a service that does with auth_request");
pub(super) const FANCYINDEX: Treatment =
    refused("it belongs to a module that is not built in", "use autoindex");
pub(super) const SUBS: Treatment = refused("it belongs to a module that is not built in", "use sub_filter");
pub(super) const BOT_TEST: Treatment =
    refused("it belongs to a module that is not built in", "use limit_req, or map with a cookie");
pub(super) const PAGESPEED: Treatment =
    refused("pages are not rewritten, and its project has ended", "remove it");
pub(super) const FAIR: Treatment = refused("it belongs to a module that is not built in", "use least_conn");
pub(super) const PUSH: Treatment = refused(
    "it belongs to a module that is not built in",
    "pass the location to a push server with proxy_pass",
);
