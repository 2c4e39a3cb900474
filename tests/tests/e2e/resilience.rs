//! Reloads, upgrades and deaths under load: what clients notice of them, which is nothing.
//!
//! `FOREGATE_FULL=1` runs them longer, for figures; see also `slow_clients`.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use foregate_testkit::process::{lives, resident_kib, signal, workers_of};
use foregate_testkit::{Backend, Client, Load, Reply, Seen, Server, Setup, Signal, both, foregate_only};

const PATHS: [&str; 3] = ["/app/a", "/file.txt", "/app/b"];
const CLIENTS: usize = 6;
const TUNNELS: usize = 20;

/// Reloads before memory is looked at, and between two looks.
const WARM_UP: usize = 15;
const RELOADS: usize = 20;

/// What an allocator and the threads' buffers may add.
const GROWTH_MAX: f64 = 1.05;

/// How long a worker may take to be replaced.
const REPLACED_WITHIN: Duration = Duration::from_secs(1);

pub(crate) fn is_full() -> bool {
    std::env::var_os("FOREGATE_FULL").is_some()
}

/// Echoes what an upgraded connection sends; any other request gets a page.
fn app() -> Backend {
    Backend::new(|seen: &Seen| match seen.header("Upgrade") {
        Some(protocol) => Reply::upgrade(protocol),
        None => Reply::ok("x".repeat(3000)),
    })
}

/// A site with files, an application with websockets, and a version that tells configurations apart.
fn site(app: &Backend, version: usize) -> Setup {
    let text = "upstream app { server {app}; keepalive 8; }
         map $http_upgrade $upgraded { default upgrade; '' ''; }
         server {
             listen 127.0.0.1:{port:0};
             location = /version { access_log off; return 200 VERSION; }
             location /app/ {
                 proxy_pass http://app; proxy_http_version 1.1;
                 proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgraded;
             }
         }";
    Setup::http(&text.replace("VERSION", &version.to_string()))
        .file("html/file.txt", "y".repeat(20_000))
        .backend("app", app)
}

fn reload(server: &Server, app: &Backend, version: usize) {
    server.write_conf(&site(app, version));
    server.reload(|server| server.get("/version").text() == version.to_string());
}

fn websockets(server: &Server, n: usize) -> Vec<Client> {
    let open = || {
        let mut client = server.connect();
        client.send(
            "GET /app/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(client.response().map(|seen| seen.status), Some(101));
        client
    };
    std::iter::repeat_with(open).take(n).collect()
}

fn assert_all_echo(sockets: &mut [Client], text: &str) {
    for socket in sockets {
        socket.send(text);
        let mut back = Vec::new();
        while back.len() < text.len() {
            let some = socket.some();
            assert!(!some.is_empty(), "a websocket was closed");
            back.extend(some);
        }
        assert_eq!(String::from_utf8_lossy(&back), text);
    }
}

#[test]
fn reloads_under_load_close_nothing_and_leave_nothing_behind() {
    foregate_only(|subject| {
        let app = app();
        let server = site(&app, 0).start(subject);
        let worker = server.worker();
        let mut sockets = websockets(&server, TUNNELS);
        let load = Load::start(server.address(0), CLIENTS, &PATHS);
        for n in 1..=WARM_UP {
            reload(&server, &app, n);
        }
        let before = resident_kib(worker);
        let rounds = if is_full() { 10 } else { 1 };
        for n in 1..=RELOADS * rounds {
            reload(&server, &app, WARM_UP + n);
            assert_all_echo(&mut sockets, &format!("after reload {n}"));
        }
        let after = resident_kib(worker);
        let seen = load.stop();
        println!("{} requests, p99 {:?}; {before} KiB, then {after}", seen.times.len(), seen.quantile(0.99));
        seen.assert_all_answered();
        assert_eq!(seen.asked_again, 0, "no connection is closed by a reload");
        assert_eq!(server.worker(), worker, "the worker is the same");
        #[expect(clippy::cast_precision_loss)]
        let growth = after as f64 / before as f64;
        assert!(growth < GROWTH_MAX, "{before} KiB became {after} KiB in {} reloads", RELOADS * rounds);
    });
}

#[test]
fn a_reload_under_load_fails_no_request_on_nginx_either() {
    both(|subject| {
        let app = app();
        let server = site(&app, 0).start(subject);
        let load = Load::start(server.address(0), CLIENTS, &PATHS);
        for n in 1..=3 {
            reload(&server, &app, n);
        }
        load.stop().assert_all_answered();
    });
}

#[test]
fn a_killed_worker_is_replaced_and_nobody_is_refused() {
    both(|subject| {
        let app = app();
        let started = Instant::now();
        let server = site(&app, 0).allow_log("exited on signal 9").start(subject);
        let worker = server.worker();
        server.get("/version");
        // Where everything takes its time, so may this.
        let replaced_within = REPLACED_WITHIN.max(started.elapsed() * 3);
        let killed = Instant::now();
        signal(worker, Signal::KILL);
        let (mut served_after, mut attempts) = (None, 0);
        while killed.elapsed() < replaced_within {
            attempts += 1;
            let connected = TcpStream::connect(server.address(0));
            assert_ne!(connected.map(drop).map_err(|e| e.kind()), Err(ErrorKind::ConnectionRefused));
            if served_after.is_none() && lives_elsewhere(&server, worker) {
                server.get("/version");
                served_after = Some(killed.elapsed());
            }
        }
        println!("{subject}: served after {served_after:?}, {attempts} connections, none refused");
        assert!(served_after.is_some_and(|time| time < replaced_within), "{served_after:?}");
    });
}

fn lives_elsewhere(server: &Server, old: i32) -> bool {
    workers_of(server.pid()).iter().any(|&pid| pid != old)
}

#[test]
fn a_binary_is_replaced_under_load() {
    // nginx only does so in the background: its suite has a test for that.
    foregate_only(|subject| {
        let app = app();
        let mut server = site(&app, 0).start(subject);
        let load = Load::start(server.address(0), CLIENTS, &PATHS);
        let old = server.pid();
        server.signal(Signal::USR2);
        let own = |text: &str| text.trim().parse().is_ok_and(|pid: i32| pid != old);
        let new = server.wait_for("nginx.pid", own).trim().parse().expect("because `own` has parsed it");
        server.eventually(|_| !workers_of(new).is_empty());
        std::thread::sleep(Duration::from_millis(200));
        server.signal(Signal::QUIT);
        assert!(server.wait_for_exit(), "the old master ends well");
        std::thread::sleep(Duration::from_millis(200));
        let seen = load.stop();
        let again = seen.asked_again;
        println!("{subject}: {} requests, {again} asked again on a closed connection", seen.times.len());
        seen.assert_all_answered();
        assert_eq!(server.get("/version").text(), "0");
        signal(new, Signal::QUIT);
        server.eventually(|_| !lives(new));
    });
}

#[test]
fn a_broken_configuration_changes_nothing_under_load() {
    both(|subject| {
        let app = app();
        let server = site(&app, 0).allow_log("[emerg]").start(subject);
        let mut sockets = websockets(&server, 3);
        let load = Load::start(server.address(0), CLIENTS, &PATHS);
        for (broken, said) in BROKEN {
            server.write_conf(&Setup::http(broken));
            server.reload(|server| server.read("error.log").contains(said));
        }
        std::thread::sleep(Duration::from_millis(100));
        assert_all_echo(&mut sockets, "still here");
        let seen = load.stop();
        seen.assert_all_answered();
        assert_eq!(seen.asked_again, 0);
        assert_eq!(server.get("/version").text(), "0");
        reload(&server, &app, 1);
    });
}

/// Configurations that are refused, and the word of theirs that the log names.
const BROKEN: [(&str, &str); 4] = [
    ("server { listen 127.0.0.1:1; lisen 80; }", "unknown directive \"lisen\" in"),
    ("server { proxy_connect_timeout soon; }", "\"proxy_connect_timeout\" directive invalid value in"),
    ("server { return 200 a", "unexpected \"}\" in"),
    ("include {dir}/no-such-file;", "no-such-file\" failed (2: No such file or directory)"),
];

#[test]
fn descriptors_for_more_clients_than_the_shell_allows() {
    both(|subject| {
        let setup = Setup::framed(
            "worker_rlimit_nofile 4321;",
            "server { listen 127.0.0.1:{port:0}; location / { return 200 x; } }",
        );
        let server = setup.start(subject);
        // The port is open before the worker is ready: an answer says that it is.
        server.get("/");
        let worker = server.worker();
        // The worker sets its limit before it serves, and exists before that.
        server.get("/");
        let limits = std::fs::read_to_string(format!("/proc/{worker}/limits")).unwrap_or_default();
        let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
        assert_eq!(open.split_whitespace().nth(3), Some("4321"), "{open}");
    });
}
