//! The configurations under test, as text: one for all that read nginx's language, one for HAProxy, one for Varnish.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::workloads::{Check, Door, SPREAD};

/// What a configuration must know of its surroundings.
pub(crate) struct Place<'a> {
    /// Logs, certificates, files and temporary files.
    pub(crate) folder: &'a Path,
    /// What it serves, each on its own port.
    pub(crate) doors: &'a [(Door, u16)],
    pub(crate) backend: u16,
    pub(crate) files_max: u64,
    /// One process is all: no master.
    pub(crate) no_master: bool,
}

/// Where this proxy's log lines go.
pub(crate) fn access_log(folder: &Path) -> std::path::PathBuf {
    folder.join("access.log")
}

impl Place<'_> {
    fn has(&self, door: Door) -> bool {
        self.doors.iter().any(|(it, _)| *it == door)
    }
}

/// The text that nginx and Foregate read.
pub(crate) fn nginx(at: &Place<'_>) -> String {
    let dir = at.folder.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {dir}/temp/{kind};\n"))
        .concat();
    format!(
        "daemon off;
{master}worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log error;
events {{
    worker_connections 16384;
}}
http {{
    access_log off;
{temp}{zones}    default_type application/octet-stream;
    sendfile on;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    server_names_hash_max_size 8192;

    upstream app {{
        server 127.0.0.1:{backend};
        keepalive {keepalive};
        keepalive_requests 1000000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header Connection \"\";
    proxy_max_temp_file_size 0;

{zone}{servers}}}
",
        master = if at.no_master { "master_process off;\n" } else { "" },
        zone = match at.has(Door::Cache) {
            true => format!("    proxy_cache_path {dir}/cache levels=1:2 keys_zone=cache:10m;\n"),
            false => String::new(),
        },
        backend = at.backend,
        // Room for every stream of the load: what reconnecting costs is not the question.
        keepalive = if at.has(Door::Http2) { 1024 } else { 256 },
        zones = at.doors.iter().map(|(door, _)| zones(*door)).collect::<String>(),
        servers = at.doors.iter().map(|(door, port)| nginx_servers(*door, *port, at)).collect::<String>()
    )
}

fn nginx_servers(door: Door, port: u16, at: &Place<'_>) -> String {
    let dir = at.folder.display();
    let server = |inside: &str| format!("    server {{\n        listen 127.0.0.1:{port};\n{inside}    }}\n");
    let pass = "        location / { proxy_pass http://app; }\n";
    let many = |line: &dyn Fn(usize) -> String| (0..SPREAD).map(line).collect::<String>();
    match door {
        Door::Plain => server(pass),
        Door::Logged => {
            server(&format!("        access_log {} combined;\n{pass}", access_log(at.folder).display()))
        }
        Door::Tls | Door::Http2 => format!(
            "    server {{
        listen 127.0.0.1:{port} ssl{http2};
        ssl_certificate {dir}/cert.pem;
        ssl_certificate_key {dir}/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_prefer_server_ciphers off;
        ssl_session_cache shared:tls:10m;
{pass}    }}
",
            // As Debian's nginx, which is older than `http2 on`, has it.
            http2 = if door == Door::Http2 { " http2" } else { "" }
        ),
        Door::Files => server(&format!("        root {dir}/root;\n")),
        Door::Cache => {
            server(&format!("        proxy_cache cache;\n        proxy_cache_valid 200 1h;\n{pass}"))
        }
        Door::Gzip => server(&format!(
            "        gzip on;
        gzip_types application/json;
        gzip_comp_level 6;
        gzip_proxied any;
{pass}"
        )),
        Door::Upload => server(&format!(
            "        client_max_body_size 16m;
        proxy_request_buffering off;
{pass}"
        )),
        Door::WebSocket => server(
            "        location / {
            proxy_pass http://app;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection \"upgrade\";
        }
",
        ),
        Door::Names => {
            let named = |n| server(&format!("        server_name n{n}.example.com;\n{pass}"));
            server("        return 404;\n") + &many(&named)
        }
        Door::Prefixes => {
            let line = |n| format!("        location /p{n}/ {{ proxy_pass http://app; }}\n");
            server(&("        location / { return 404; }\n".to_owned() + &many(&line)))
        }
        Door::Regexes => {
            let line = |n| format!("        location ~ ^/r{n}/[0-9a-z]+$ {{ proxy_pass http://app; }}\n");
            server(&("        location / { return 404; }\n".to_owned() + &many(&line)))
        }
        Door::Check(check) => server(&(check_lines(check, &at.folder.display()) + pass)),
    }
}

/// A key, known to all.
pub(crate) const JWKS: &str =
    r#"{"keys":[{"kty":"oct","k":"dGhlIGJlbmNobWFyaydzIGtleSwga25vd24gdG8gYWxs"}]}"#;
/// `visitor:secret`, by SHA-1: what hashing costs is not the question.
pub(crate) const PASSWORDS: &str = "visitor:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

/// What stands at the http level for a check.
fn zones(door: Door) -> &'static str {
    match door {
        Door::Check(Check::LimitReq) => {
            "    limit_req_zone $binary_remote_addr zone=requests:10m rate=1000000r/s;\n"
        }
        Door::Check(Check::LimitConn) => "    limit_conn_zone $binary_remote_addr zone=conns:10m;\n",
        _ => "",
    }
}

fn check_lines(check: Check, dir: &dyn std::fmt::Display) -> String {
    let many = |line: &dyn Fn(usize) -> String| (0..SPREAD).map(line).collect::<String>();
    match check {
        Check::LimitReq => "        limit_req zone=requests burst=1000000 nodelay;\n".to_owned(),
        Check::LimitConn => "        limit_conn conns 60000;\n".to_owned(),
        Check::Basic => {
            format!("        auth_basic visitors;\n        auth_basic_user_file {dir}/passwords;\n")
        }
        Check::Jwt => format!("        auth_jwt visitors;\n        auth_jwt_key_file {dir}/keys.json;\n"),
        Check::Networks => many(&|n| format!("        deny 10.{}.{}.0/24;\n", n / 250, n % 250)),
        Check::RealIp => "        set_real_ip_from 127.0.0.1;
        real_ip_header X-Forwarded-For;
"
        .to_owned(),
        Check::Shield => format!(
            "        shield_deny_methods TRACE DEBUG;
        shield_deny_paths /.git /.env /wp-login.php;
        shield_deny_agents sqlmap nikto masscan;
        shield_blocklist file:{dir}/networks.txt;
        shield_ban zone=bans:1m after=10;
"
        ),
        Check::SecurityHeaders => "        security_headers on;\n".to_owned(),
    }
}

/// The files that the checks name.
pub(crate) fn check_files() -> [(&'static str, String); 3] {
    let network = |n: usize| format!("10.{}.{}.0/24\n", n / 250, n % 250);
    let networks = (0..SPREAD).map(network).collect();
    [("keys.json", JWKS.to_owned()), ("passwords", PASSWORDS.to_owned()), ("networks.txt", networks)]
}

/// HAProxy's text for the same, and the maps it names.
pub(crate) fn haproxy(at: &Place<'_>) -> (String, Vec<(&'static str, String)>) {
    let mut maps = Vec::new();
    let frontends: String =
        at.doors.iter().map(|(door, port)| haproxy_frontend(*door, *port, at, &mut maps)).collect();
    let text = format!(
        "global
    nbthread 1
    maxconn {maxconn}
{log}defaults
    mode http
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout tunnel 75s
{frontends}backend app
    server one 127.0.0.1:{backend}
",
        maxconn = (at.files_max / 2).saturating_sub(200).clamp(100, 16_384),
        log = if at.has(Door::Logged) { "    log stdout format raw local0\n" } else { "" },
        backend = at.backend
    );
    (text, maps)
}

fn haproxy_frontend(door: Door, port: u16, at: &Place<'_>, maps: &mut Vec<(&'static str, String)>) -> String {
    let dir = at.folder.display();
    let many = |line: &dyn Fn(usize) -> String| (0..SPREAD).map(line).collect::<String>();
    let (mut log, mut bind, mut rules) = ("", String::new(), "    default_backend app\n".to_owned());
    match door {
        Door::Logged => log = "    log global\n    option httplog\n",
        Door::Tls => bind = format!(" ssl crt {dir}/both.pem alpn http/1.1"),
        Door::Http2 => bind = format!(" ssl crt {dir}/both.pem alpn h2,http/1.1"),
        Door::Names => {
            rules = format!("    use_backend %[req.hdr(host),lower,map({dir}/names.map)]\n");
            maps.push(("names.map", many(&|n| format!("n{n}.example.com app\n"))));
        }
        Door::Prefixes => {
            rules = format!("    use_backend %[path,map_beg({dir}/prefixes.map)]\n");
            maps.push(("prefixes.map", many(&|n| format!("/p{n}/ app\n"))));
        }
        Door::Regexes => {
            rules = many(&|n| format!("    use_backend app if {{ path_reg ^/r{n}/[0-9a-z]+$ }}\n"));
        }
        Door::Plain
        | Door::Upload
        | Door::WebSocket
        | Door::Files
        | Door::Cache
        | Door::Gzip
        | Door::Check(_) => {}
    }
    format!("frontend door-{port}\n    bind 127.0.0.1:{port}{bind}\n{log}{rules}")
}

/// Varnish's text for [`Door::Cache`]: what Foregate keeps on disk alone is in its file here as well.
pub(crate) fn varnish(at: &Place<'_>) -> String {
    format!(
        "vcl 4.1;
import std;
backend app {{
    .host = \"127.0.0.1\";
    .port = \"{backend}\";
}}
sub vcl_backend_response {{
    set beresp.ttl = 1h;
    if (std.integer(beresp.http.Content-Length, 0) >= {large}) {{
        set beresp.storage = storage.disk;
    }} else {{
        set beresp.storage = storage.memory;
    }}
}}
",
        backend = at.backend,
        large = 1 << 20
    )
}

/// Where Varnish logs to shared memory, with every request: on a disk the writing of its pages would be measured.
pub(crate) fn varnish_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("foregate-bench-varnish-{}", std::process::id()))
}

/// Varnish's command line: one pool of threads, as there is one core.
pub(crate) fn varnish_args(at: &Place<'_>) -> Vec<OsString> {
    let file = |name: &str| at.folder.join(name).into_os_string();
    let mut disk = OsString::from("disk=file,");
    disk.push(at.folder.join("store"));
    disk.push(",64m");
    let mut args: Vec<OsString> =
        ["-F", "-j", "none", "-T", "none", "-p", "thread_pools=1"].map(OsString::from).into();
    for (_, port) in at.doors {
        args.extend(["-a".into(), format!("127.0.0.1:{port}").into()]);
    }
    args.extend(["-n".into(), varnish_folder().into_os_string()]);
    args.extend(["-s".into(), "memory=malloc,256m".into(), "-s".into(), disk]);
    args.extend(["-f".into(), file("varnish.vcl")]);
    args
}
