//! `foregate explain` says what happens: over hundreds of URLs, its account and the running server's answers agree.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use foregate_conf::{Node, OsFiles, Source};
use foregate_core::Json;
use foregate_server::Cycle;
use foregate_server::diagnose::{self, explain};
use foregate_testkit::{Backend, Certificate, Client, Reply, Response, Seen, Server, Setup, foregate_only};

/// URLs asked under each configuration.
const URLS: usize = 300;
/// What the generator begins with; a failure names the URL, so that it can be asked again.
const SEED: u64 = 0x5eed_f0e6_a7e5_1234;

/// Tells which backend it is and what it saw.
fn app(name: &'static str) -> Backend {
    Backend::new(move |seen: &Seen| {
        let host = seen.header("Host").unwrap_or("-");
        Reply::status(
            200,
            &format!("X-Backend: {name}\r\nX-Seen: {}\r\nX-Seen-Host: {host}\r\n", seen.target),
            "",
        )
    })
}

/// Every server and location tells its line and the URI that it answers.
fn marked(conf: &str) -> String {
    let mark = |(at, line): (usize, &str)| {
        let head = line.trim_start();
        let block = (head.starts_with("location ") || head.starts_with("server {")) && line.ends_with('{');
        match block {
            true => format!(
                "{line} add_header X-At {} always; add_header X-Uri $uri always; add_header X-Args $args always;\n",
                at + 1
            ),
            false => format!("{line}\n"),
        }
    };
    conf.lines().enumerate().map(mark).collect()
}

/// A configuration with the frame that the testkit asks for.
fn framed(http: &str) -> Setup {
    let user = if is_root() { "user nobody nogroup;" } else { "" };
    let text = format!(
        "{user} pid {{dir}}/nginx.pid; error_log {{dir}}/error.log info;\nevents {{ }}\nhttp {{\n\
         proxy_temp_path {{dir}}/temp_proxy; client_body_temp_path {{dir}}/temp_body;\n\
         access_log off; root {{dir}}/html;\n{http}\n}}\n"
    );
    let files = [
        "index.html",
        "app.js",
        "img/a.png",
        "docs/index.html",
        "docs/a b.txt",
        "fallback.html",
        "sub/page.html",
    ];
    let setup = Setup::conf(&marked(&text));
    files.iter().fold(setup, |setup, it| setup.file(&format!("html/{it}"), it))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

/// The same configuration in this process, to be asked about.
struct Explainer {
    cycle: Arc<Cycle>,
    nodes: Vec<Node>,
    sources: Vec<Source>,
}

impl Explainer {
    fn new(server: &Server) -> Self {
        let setup = foregate_server::Setup {
            conf: PathBuf::from(server.path("nginx.conf")),
            prefix: PathBuf::from(server.path("")),
            error_log: "stderr".into(),
            globals: Vec::new(),
            pid: "/nowhere".into(),
            privileged: false,
        };
        let examined = diagnose::examine(&setup, &OsFiles, false);
        let cycle = examined.outcome.unwrap_or_else(|why| panic!("{why}"));
        Self { cycle: Arc::new(cycle), nodes: examined.nodes, sources: examined.sources }
    }

    fn ask(&self, url: &str, fields: &[(&str, &str)]) -> Json {
        let question = explain::Question {
            url: url.to_owned(),
            method: "GET".to_owned(),
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            upstream_status: 200,
        };
        let told = explain::explain(self.cycle.clone(), &self.nodes, &self.sources, question);
        let told = told.unwrap_or_else(|why| panic!("{url}: {why}"));
        assert!(told.to_string().contains("what happens"), "{url}");
        told.to_json()
    }
}

/// A member of an object, or of one inside of it: `upstream.uri`. `Null` where there is none.
fn get<'a>(json: &'a Json, path: &str) -> &'a Json {
    path.split('.').fold(json, |json, name| match json {
        Json::Object(members) => members.iter().find(|(it, _)| *it == name).map_or(&Json::Null, |(_, it)| it),
        _ => &Json::Null,
    })
}

fn text(json: &Json) -> Option<&str> {
    match json {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

fn number(json: &Json) -> Option<u64> {
    match json {
        Json::Number(number) => Some(*number),
        _ => None,
    }
}

/// A value of the header fields that are told.
fn header<'a>(told: &'a Json, name: &str) -> Option<&'a str> {
    let Json::List(fields) = get(told, "headers") else { return None };
    let field =
        fields.iter().find(|it| text(get(it, "name")).is_some_and(|it| it.eq_ignore_ascii_case(name)));
    text(get(field?, "value"))
}

/// What was told and what happened, where they are not the same.
fn differences(told: &Json, seen: Option<&Response>, backends: &[(&str, &Backend)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, told: Option<String>, seen: Option<String>| {
        if told != seen {
            wrong.push(format!("{what}: told {told:?}, seen {seen:?}"));
        }
    };
    let string = |it: &str| it.to_owned();
    let status = seen.map(|it| u64::from(it.status).to_string());
    same("status", number(get(told, "status")).map(|it| it.to_string()), status);
    let Some(seen) = seen else { return wrong };
    let place = number(get(told, "location.line")).or(number(get(told, "server.line")));
    same("line", place.map(|it| it.to_string()), seen.header("X-At").map(string));
    same(
        "uri",
        text(get(told, "uri")).filter(|it| !it.is_empty()).map(string),
        seen.header("X-Uri").map(string),
    );
    same(
        "args",
        text(get(told, "args")).filter(|it| !it.is_empty()).map(string),
        seen.header("X-Args").map(string),
    );
    same("Location", header(told, "Location").map(string), seen.header("Location").map(string));
    same("Expires", header(told, "Cache-Control").map(string), seen.header("Cache-Control").map(string));
    same("target", text(get(told, "upstream.uri")).map(string), seen.header("X-Seen").map(string));
    let Json::List(fields) = get(told, "upstream.headers") else { return wrong };
    let host = fields.iter().filter_map(text).find_map(|it| it.strip_prefix("Host: "));
    same("host", host.map(string), seen.header("X-Seen-Host").map(string));
    let Json::List(peers) = get(told, "upstream.group.peers") else { panic!("a group has peers") };
    let addresses: Vec<_> = peers.iter().filter_map(|it| text(get(it, "address"))).collect();
    let told_host = text(get(told, "upstream.host")).unwrap_or_default();
    let who =
        backends.iter().filter(|(_, it)| addresses.contains(&&*it.address()) || told_host == it.address());
    let who: Vec<_> = who.map(|(name, _)| *name).collect();
    let asked = seen.header("X-Backend").unwrap_or("nobody");
    same("backend", Some(who.contains(&asked).to_string()), Some("true".to_owned()));
    wrong
}

/// A small generator of numbers (xorshift), the same for each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// A path as strange as visitors send them.
    fn path(&mut self) -> String {
        const PARTS: &[&str] = &[
            "api",
            "assets",
            "ws",
            "old",
            "new",
            "docs",
            "img",
            "sub",
            "private",
            "a%20b",
            "a b.txt",
            "..",
            ".",
            "%2e%2e",
            "x.php",
            "app.js",
            "a.png",
            "index.html",
            "page",
            "deep",
            "users",
            "7",
            "caf%C3%A9",
            "a%2Fb",
            "",
            "close",
            "go",
            "named",
            "same",
            "hidden",
            "exact",
            "PHP.PHP",
            "a+b",
            "try",
        ];
        let mut path = String::new();
        for _ in 0..=self.below(4) {
            path.push('/');
            path.push_str(&self.one_of(PARTS).replace(' ', "%20"));
        }
        path.push_str(self.one_of(&["", "", "/", "?a=1", "?x=%2F&a=", "?go=/q&b", "?"]));
        path
    }
}

/// Asks both about generated URLs and compares.
fn agree(setup: &Setup, hosts: &[&str], backends: &[(&str, &Backend)]) {
    foregate_only(|subject| {
        let server = setup.start(subject);
        let explainer = Explainer::new(&server);
        let mut dice = Dice(SEED);
        let mut wrong = Vec::new();
        for _ in 0..URLS {
            let (path, host, port) = (dice.path(), dice.one_of(hosts), server.port(dice.below(2)));
            let url = format!("http://{host}:{port}{path}");
            let told = explainer.ask(&url, &[("X-Flag", "1")]);
            let mut client = Client::connect(([127, 0, 0, 1], port).into());
            client.send(format!(
                "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nX-Flag: 1\r\nConnection: close\r\n\r\n"
            ));
            let seen = client.response();
            let found = differences(&told, seen.as_ref(), backends);
            wrong.extend(found.into_iter().map(|it| format!("{url}: {it}")));
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn the_sites_of_guides_are_explained_as_they_answer() {
    let (front, api) = (app("front"), app("api"));
    let setup = framed(
        "upstream apps {
            server {front};
            server {api};
        }
        server {
            listen 127.0.0.1:{port:0};
            server_name site.test;
            location / {
                proxy_pass http://{front};
                proxy_set_header Host $host;
                proxy_set_header X-Real-IP $remote_addr;
            }
            location /api/ {
                proxy_pass http://{api}/;
            }
            location /assets/ {
                root {dir}/html;
                expires 1y;
            }
            location /ws/ {
                proxy_pass http://{front};
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection upgrade;
            }
        }
        server {
            listen 127.0.0.1:{port:0};
            server_name *.wild.test www.prefix.*;
            location / {
                proxy_pass http://apps;
            }
        }
        server {
            listen 127.0.0.1:{port:1};
            server_name site.test;
            return 301 https://$host$request_uri;
        }
        server {
            listen 127.0.0.1:{port:1} default_server;
            server_name ~^rx(?<n>\\d+)\\.test$;
            location / {
                proxy_pass http://{api}/n$n/x;
            }
        }",
    )
    .backend("front", &front)
    .backend("api", &api);
    let hosts =
        ["site.test", "SITE.test", "a.wild.test", "www.prefix.org", "rx12.test", "other.test", "localhost"];
    agree(&setup, &hosts, &[("front", &front), ("api", &api)]);
}

#[test]
fn rewrites_nested_locations_and_pages_are_explained_as_they_happen() {
    let (front, api) = (app("front"), app("api"));
    let setup = framed(
        "map $arg_a $is_a {
            default no;
            1 yes;
        }
        server {
            listen 127.0.0.1:{port:0};
            listen 127.0.0.1:{port:1};
            server_name site.test;
            error_page 404 /fallback.html;
            error_page 403 @denied;
            recursive_error_pages on;
            rewrite ^/old/(.*)$ /new/$1 last;
            if ($arg_go) {
                return 302 $arg_go;
            }
            set $mark $is_a;
            location / {
                try_files $uri $uri/ /index.html?from=$uri;
            }
            location = /exact {
                return 200 exact;
            }
            location /new/ {
                rewrite ^/new/(\\d+)(.*)$ /api/item$2?id=$1 last;
                rewrite ^/new/page /docs/ break;
                proxy_pass http://{front}/base/;
                location ~ \\.php$ {
                    proxy_pass http://{api};
                }
                location /new/deep {
                    rewrite (.*) $1/deeper break;
                    proxy_pass http://{front};
                }
            }
            location /api/ {
                if ($mark = yes) {
                    set $mark twice;
                    rewrite ^/api/(.*)$ /yes/$1 break;
                }
                proxy_pass http://{api}/v1/;
                proxy_set_header Host api.test;
            }
            location ^~ /assets {
                alias {dir}/html;
                expires 1h;
            }
            location ~* \\.(php|png)$ {
                proxy_pass http://{front};
            }
            location ~ ^/(?<first>[a-z]+)/same {
                return 307 /exact?was=$first;
            }
            location /private {
                deny all;
            }
            location /hidden {
                internal;
                return 200 hidden;
            }
            location /named {
                try_files /none @app;
            }
            location /try {
                try_files $uri.html /hidden;
            }
            location /close {
                return 444;
            }
            location /ws {
                auth_basic closed;
                auth_basic_user_file {dir}/none;
                error_page 401 = @app;
            }
            location @app {
                rewrite ^/named/(.*)$ /app/$1 break;
                proxy_pass http://{api};
            }
            location @denied {
                if ($arg_a) {
                    return 410;
                }
                return 403 denied;
            }
        }",
    )
    .backend("front", &front)
    .backend("api", &api);
    agree(&setup, &["site.test", "other.test"], &[("front", &front), ("api", &api)]);
}

#[test]
fn what_comes_over_tls_is_explained_too() {
    let front = app("front");
    let certificate = Certificate::self_signed(&["site.test"]);
    let setup = framed(
        "server {
            listen 127.0.0.1:{port:0} ssl;
            server_name site.test;
            ssl_certificate {dir}/full.pem;
            ssl_certificate_key {dir}/key.pem;
            location / {
                proxy_pass http://{front};
                proxy_set_header Host $scheme.$host;
            }
            location /docs {
            }
        }",
    )
    .backend("front", &front)
    .file("full.pem", &certificate.cert_pem)
    .file("key.pem", &certificate.key_pem);
    foregate_only(|subject| {
        let server = setup.start(subject);
        let explainer = Explainer::new(&server);
        let mut dice = Dice(SEED);
        for _ in 0..30 {
            let path = dice.path();
            let told = explainer.ask(&format!("https://site.test:{}{path}", server.port(0)), &[]);
            let tls = Client::connect_tls(server.address(0), "site.test", &["http/1.1"]);
            let mut client = tls.expect("because the handshake succeeds").client;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: site.test:{}\r\n\r\n", server.port(0)));
            let found = differences(&told, client.response().as_ref(), &[("front", &front)]);
            assert_eq!(found, [] as [String; 0], "{path}");
        }
        let plain = explainer.ask(&format!("http://site.test:{}/", server.port(0)), &[]);
        assert_eq!(number(get(&plain, "status")), Some(400));
    });
}
