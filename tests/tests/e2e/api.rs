//! `api`: what it shows, and how servers of a group come, change and go while visitors go on asking.

use foregate_testkit::process::resident_kib;
use foregate_testkit::{Backend, Load, Reply, Response, Server, Setup, Signal, foregate_only};

use crate::resilience::is_full;

fn call(server: &Server, method: &str, path: &str, body: &str) -> Response {
    let body = if body.is_empty() { String::new() } else { format!("\n\n{body}") };
    let request = format!("{method} /api/9{path}{body}");
    server.ask(&request).expect("because the API answers")
}

fn said(response: &Response) -> (u16, String) {
    (response.status, response.text())
}

const SITE: &str = r"
    upstream u { zone u 64k; server {a} weight=2; server {b} backup; }
    upstream fixed { server {a}; }
    upstream hashed { zone h 64k; hash $uri; server {a}; }
    server {
        listen 127.0.0.1:{port:0};
        location / { proxy_pass http://u; }
        location /api { api write=on; allow 127.0.0.1; deny all; }
        location /read { rewrite ^/read(.*) /api$1 break; api; }
    }";

#[test]
fn servers_are_listed_added_changed_and_removed() {
    foregate_only(|subject| {
        let [a, b, c] = ["a", "b", "c"].map(Backend::named);
        let server = Setup::http(SITE).backend("a", &a).backend("b", &b).start(subject);
        let servers = "/http/upstreams/u/servers";
        let line = |id: usize, backend: &Backend, weight: usize, backup: bool, down: bool| {
            format!(
                "{{\"id\":{id},\"server\":\"{}\",\"weight\":{weight},\"max_conns\":0,\"max_fails\":1,\
                 \"fail_timeout\":\"10s\",\"slow_start\":\"0s\",\"route\":\"\",\"backup\":{backup},\"down\":{down}}}",
                backend.address()
            )
        };
        let (first, second) = (line(0, &a, 2, false, false), line(1, &b, 1, true, false));
        assert_eq!(said(&call(&server, "GET", servers, "")), (200, format!("[{first},{second}]")));
        let added =
            call(&server, "POST", servers, &format!("{{\"server\":\"{}\",\"weight\":2}}", c.address()));
        assert_eq!(said(&added), (201, line(2, &c, 2, false, false)));
        let at = added.header("Location").unwrap_or_default();
        assert!(at.ends_with("/api/9/http/upstreams/u/servers/2"), "{at}");
        let answers = |n: usize| (0..n).map(|_| server.get("/").text()).collect::<String>();
        assert_eq!(answers(4), "acac");
        let changed = call(&server, "PATCH", &format!("{servers}/0"), "{\"down\":true}");
        assert_eq!(said(&changed), (200, line(0, &a, 2, false, true)));
        assert_eq!(answers(3), "ccc");
        assert_eq!(call(&server, "PATCH", &format!("{servers}/2"), "{\"drain\":true}").status, 200);
        assert_eq!(answers(3), "bbb", "the backup is all that is left");
        let left = call(&server, "DELETE", &format!("{servers}/2"), "");
        assert_eq!(said(&left), (200, format!("[{},{second}]", line(0, &a, 2, false, true))));
        assert_eq!(said(&call(&server, "GET", &format!("{servers}/1"), "")), (200, second));
    });
}

#[test]
fn mistakes_have_codes() {
    foregate_only(|subject| {
        let [a, b] = ["a", "b"].map(Backend::named);
        let server = Setup::http(SITE).backend("a", &a).backend("b", &b).start(subject);
        for (method, path, body, status, code) in [
            ("GET", "/nothing", "", 404, "PathNotFound"),
            ("GET", "/http/upstreams/none", "", 404, "UpstreamNotFound"),
            ("GET", "/http/upstreams/fixed", "", 400, "UpstreamStatic"),
            ("GET", "/http/upstreams/u/servers/7", "", 404, "UpstreamServerNotFound"),
            ("GET", "/http/upstreams/u/servers/x", "", 400, "UpstreamBadServerId"),
            ("DELETE", "/http/upstreams/u/servers/7", "", 404, "UpstreamServerNotFound"),
            ("DELETE", "/nginx", "", 405, "MethodDisabled"),
            ("POST", "/http/upstreams/u/servers", "{}", 400, "UpstreamConfFormatError"),
            ("POST", "/http/upstreams/u/servers", "{", 415, "JsonError"),
            ("POST", "/http/upstreams/u/servers", "{\"server\":[]}", 400, "UpstreamConfFormatError"),
            ("POST", "/http/upstreams/u/servers", "{\"server\":\"1.1.1.1:x\"}", 400, "UpstreamBadAddress"),
            (
                "POST",
                "/http/upstreams/u/servers",
                "{\"server\":\"unix:/a;\\nserver unix:/b\"}",
                400,
                "UpstreamBadAddress",
            ),
            (
                "PATCH",
                "/http/upstreams/u/servers/0",
                "{\"route\":\"a;\\nserver b\"}",
                400,
                "UpstreamBadRoute",
            ),
            (
                "POST",
                "/http/upstreams/u/servers",
                "{\"server\":\"a.example\"}",
                400,
                "UpstreamConfNoResolver",
            ),
            (
                "POST",
                "/http/upstreams/u/servers",
                "{\"server\":\"1.1.1.1\",\"weight\":0}",
                400,
                "UpstreamBadWeight",
            ),
            (
                "POST",
                "/http/upstreams/u/servers",
                "{\"server\":\"1.1.1.1\",\"x\":0}",
                400,
                "UpstreamConfFormatError",
            ),
            (
                "POST",
                "/http/upstreams/hashed/servers",
                "{\"server\":\"1.1.1.1\",\"backup\":true}",
                400,
                "UpstreamNoBackup",
            ),
            (
                "PATCH",
                "/http/upstreams/u/servers/0",
                "{\"server\":\"1.1.1.1\"}",
                400,
                "UpstreamServerImmutable",
            ),
            (
                "PATCH",
                "/http/upstreams/u/servers/0",
                "{\"fail_timeout\":\"x\"}",
                400,
                "UpstreamBadFailTimeout",
            ),
        ] {
            let seen = call(&server, method, path, body);
            let wanted = format!("\"code\":\"{code}\"");
            assert!(
                seen.status == status && seen.text().contains(&wanted),
                "{method} {path} {body}: {}",
                seen.text()
            );
        }
        let post = "POST /read/9/http/upstreams/u/servers\n\n{}";
        assert_eq!(
            server.ask(post).map(|it| it.status),
            Some(405),
            "without write=on nothing can be changed"
        );
    });
}

#[test]
fn counters_and_states_are_shown() {
    foregate_only(|subject| {
        let [a, b] = ["a", "b"].map(Backend::named);
        let server = Setup::http(SITE).backend("a", &a).backend("b", &b).start(subject);
        assert_eq!(server.get("/").text(), "a");
        assert_eq!(server.get("/api/").text(), "[1,2,3,4,5,6,7,8,9]");
        assert_eq!(call(&server, "GET", "", "").text(), "[\"nginx\",\"processes\",\"connections\",\"http\"]");
        let text = |path: &str| call(&server, "GET", path, "").text();
        assert!(text("/nginx").contains("\"generation\":1,"), "{}", text("/nginx"));
        assert!(text("/connections").contains("\"dropped\":0,\"active\":1,"), "{}", text("/connections"));
        assert!(text("/http/requests").starts_with("{\"total\":"));
        assert_eq!(text("/processes"), "{\"respawned\":0}");
        let peers = text("/http/upstreams/u");
        let wanted = format!(
            "{{\"peers\":[{{\"id\":0,\"server\":\"{0}\",\"name\":\"{0}\",\"backup\":false,\"weight\":2,\"state\":\"up\",\
             \"active\":0,\"requests\":1,\"responses\":{{\"1xx\":0,\"2xx\":1,",
            a.address()
        );
        assert!(peers.starts_with(&wanted), "{peers}");
        assert!(text("/http/upstreams").starts_with("{\"hashed\":{\"peers\""));
        assert_eq!(text("/http/upstreams/u?fields=zone"), "{\"zone\":\"u\"}");
        assert!(text("/openapi.json").contains("\"/http/upstreams/{upstream}/servers/{id}\""));
    });
}

/// What the API says of the first peer of a group: bytes `sent` to it, or `received`.
pub(crate) fn bytes(server: &Server, group: &str, which: &str) -> u64 {
    let text = call(server, "GET", &format!("/http/upstreams/{group}"), "").text();
    let (_, rest) = text.split_once(&format!("\"{which}\":")).expect("because the API tells of it");
    let digits = rest.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().expect("because it is a number")
}

#[test]
fn bytes_of_peers_are_counted_to_the_end_of_their_answers() {
    foregate_only(|subject| {
        let long = "x".repeat(1_000_000);
        let a = Backend::new(move |_| Reply::ok(&long));
        let site = r"upstream u { zone u 64k; server {a}; }
            server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://u; }
                location /api { api write=on; }
            }";
        let server = Setup::http(site).backend("a", &a).start(subject);
        assert_eq!(bytes(&server, "u", "sent") + bytes(&server, "u", "received"), 0);
        assert_eq!(server.get("/").text().len(), 1_000_000);
        server.eventually(|server| bytes(server, "u", "received") > 1_000_000);
        let sent = bytes(&server, "u", "sent");
        assert!((20..1000).contains(&sent), "{sent}");
        assert_eq!(call(&server, "DELETE", "/http/upstreams/u", "").status, 204);
        assert_eq!(bytes(&server, "u", "sent") + bytes(&server, "u", "received"), 0);
    });
}

#[test]
fn changes_survive_in_the_state_file() {
    foregate_only(|subject| {
        let [a, b] = ["a", "b"].map(Backend::named);
        let setup = Setup::http(
            r"upstream u { zone u 64k; state {dir}/state/u.conf; }
            server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://u; }
                location /api { api write=on; }
            }",
        );
        let server = setup.file("state/here", "").allow_log("exited on signal 9").start(subject);
        let folder = server.path("state");
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("because the folder is ours");
        assert_eq!(server.get("/").status, 502, "nobody is there yet");
        server.wait_for_error("no live upstreams while connecting to upstream");
        for backend in [&a, &b] {
            let body = format!("{{\"server\":\"{}\",\"max_fails\":0}}", backend.address());
            assert_eq!(call(&server, "POST", "/http/upstreams/u/servers", &body).status, 201);
        }
        let line = |it: &Backend| format!("server {} max_fails=0;\n", it.address());
        assert_eq!(server.read("state/u.conf"), line(&a) + &line(&b));
        assert_eq!(call(&server, "DELETE", "/http/upstreams/u/servers/0", "").status, 200);
        assert_eq!(server.read("state/u.conf"), line(&b));
        let check = |server: &Server| {
            assert_eq!((server.get("/").text(), server.get("/").text()), ("b".into(), "b".into()));
        };
        check(&server);
        server.signal(Signal::HUP);
        server.eventually(|server| {
            call(server, "GET", "/nginx?fields=generation", "").text() == "{\"generation\":2}"
        });
        check(&server);
        let worker = server.worker();
        foregate_testkit::process::signal(worker, Signal::KILL);
        server.eventually(|server| {
            !foregate_testkit::process::lives(worker) && server.try_ask("GET /").is_ok_and(|it| it.is_some())
        });
        check(&server);
        assert_eq!(call(&server, "GET", "/processes", "").text(), "{\"respawned\":1}");
    });
}

/// `FOREGATE_FULL=1` makes a hundred thousand changes.
#[test]
fn changes_under_load_fail_no_request_and_leave_nothing_behind() {
    foregate_only(|subject| {
        let [a, b] = ["a", "b"].map(Backend::named);
        let server = Setup::http(SITE).backend("a", &a).backend("b", &b).start(subject);
        let mut client = server.connect();
        let mut n_calls = 0;
        let mut ask = |method: &str, path: &str, body: &str| {
            n_calls += 1;
            if n_calls % 900 == 0 {
                client = server.connect();
            }
            let length = body.len();
            let request = format!(
                "{method} /api/9/http/upstreams/u/servers{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            client.exchange(request.as_bytes(), false).expect("because the API answers")
        };
        let mut round = |n: usize| {
            for _ in 0..n {
                let added = ask("POST", "", &format!("{{\"server\":\"{}\"}}", b.address()));
                assert_eq!(added.status, 201);
                let at = added
                    .header("Location")
                    .and_then(|it| it.rsplit('/').next())
                    .unwrap_or_default()
                    .to_owned();
                assert_eq!(ask("PATCH", &format!("/{at}"), "{\"weight\":3}").status, 200);
                assert_eq!(ask("PATCH", &format!("/{at}"), "{\"drain\":true}").status, 200);
                assert_eq!(ask("DELETE", &format!("/{at}"), "").status, 200);
            }
        };
        let load = Load::start(server.address(0), 4, &["/x", "/y"]);
        let rounds = if is_full() { 25_000 } else { 500 };
        round(rounds / 5);
        let before = resident_kib(server.worker());
        round(rounds - rounds / 5);
        let after = resident_kib(server.worker());
        let seen = load.stop();
        println!("{} requests; {before} KiB, then {after}", seen.times.len());
        seen.assert_all_answered();
        assert!(after < before + before / 20 + 512, "{before} KiB became {after} KiB");
    });
}

#[test]
fn counts_begin_again() {
    foregate_only(|subject| {
        let [a, b] = ["a", "b"].map(Backend::named);
        let server = Setup::http(SITE).backend("a", &a).backend("b", &b).start(subject);
        for _ in 0..4 {
            server.get("/");
        }
        let seen = |path: &str| call(&server, "GET", path, "").text();
        let has = |part: &str| seen("/http/upstreams/u").contains(part);
        assert!(has("\"requests\":4,"));
        for path in ["/http/upstreams/u", "/connections", "/http/requests", "/processes"] {
            assert_eq!(call(&server, "DELETE", path, "").status, 204, "{path}");
        }
        assert!(!has("\"requests\":4,") && has("\"requests\":0,"));
        let total = seen("/http/requests");
        let total = total.split("\"total\":").nth(1).and_then(|it| it.split(',').next());
        assert!(total.and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it < 8), "{total:?}");
        assert_eq!(call(&server, "DELETE", "/http/upstreams", "").status, 405);
    });
}

#[test]
fn zones_count_what_was_asked_and_begin_again() {
    foregate_only(|subject| {
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0};
                status_zone site;
                location / { return 200 ok; }
                location /no { status_zone no; return 404; location /no/zone { status_zone off; return 204; } }
                location /gone { return 444; }
             }
             server { listen 127.0.0.1:{port:1}; location /api { api write=on; } }",
        )
        .start(subject);
        for path in ["/", "/", "/no", "/no/zone"] {
            server.get(path);
        }
        assert!(server.ask("GET /gone").is_none());
        let ask =
            |request: &str| server.ask(&format!("{{port:1}} {request}")).expect("because the API answers");
        let all = |zone: &str| ask(&format!("GET /api/9/http/{zone}")).text();
        let site = "{\"processing\":0,\"requests\":5,\"responses\":{\"1xx\":0,\"2xx\":3,\"3xx\":0,\"4xx\":1,\"5xx\":0,\
            \"codes\":{\"200\":2,\"204\":1,\"404\":1},\"total\":4},\"discarded\":1,\"received\":";
        // What a request was is counted behind its answer.
        server.eventually(|_| all("server_zones/site").starts_with(site));
        let no = all("location_zones");
        assert!(no.starts_with("{\"no\":{\"requests\":1,\"responses\":{\"1xx\":0,"), "{no}");
        assert_eq!(ask("DELETE /api/9/http/server_zones/site").status, 204);
        let begun = all("server_zones");
        assert!(begun.starts_with("{\"site\":{\"processing\":0,\"requests\":0,"), "{begun}");
        assert!(begun.ends_with("\"received\":0,\"sent\":0}}"), "{begun}");
        assert_eq!(all("location_zones"), no, "another zone's counts stay");
        assert_eq!(ask("DELETE /api/9/http/location_zones/no").status, 204);
        for (request, status, code) in [
            ("GET /api/9/http/server_zones/none", 404, "ServerZoneNotFound"),
            ("DELETE /api/9/http/location_zones/site", 404, "LocationZoneNotFound"),
            ("DELETE /api/9/http/server_zones", 405, "MethodDisabled"),
        ] {
            let answer = ask(request);
            assert!(answer.status == status && answer.text().contains(code), "{request}: {}", answer.text());
        }
        // A new configuration goes on counting.
        server.get("/");
        server.eventually(|_| all("server_zones").contains("\"requests\":1,"));
        let generation = || ask("GET /api/9/nginx?fields=generation").text();
        let before = generation();
        server.reload(|_| generation() != before);
        assert!(all("server_zones").contains("\"requests\":1,"));
    });
}
