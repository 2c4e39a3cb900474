//! Many who ask at once for what is not there yet (`proxy_cache_lock`): one asks the upstream, all are served as it comes.
//!
//! `FOREGATE_FULL=1`: a thousand clients and an object of 100 MiB.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use foregate_testkit::process::{raise_descriptor_limit, resident_kib};
use foregate_testkit::{Backend, Client, Gate, Reply, Server, Setup, both, foregate_only};

const FRONT: &str = "proxy_cache_path {dir}/cache levels=1:2 keys_zone=one:1m;
    add_header X-Cache $upstream_cache_status;
    server {
        listen 127.0.0.1:{port:0};
        proxy_cache one;
        proxy_cache_lock on;
        proxy_read_timeout 30s;
        proxy_cache_lock_age 30s;
        proxy_cache_lock_timeout 30s;
        location / { proxy_pass http://{app}; INSIDE }
        location = /status { stub_status; }
    }";

fn front(inside: &str) -> Setup {
    Setup::http(&FRONT.replace("INSIDE", inside))
}

/// Clients that have asked for this, each some time behind the one before.
fn ask(server: &Server, n: usize, request: &str) -> Vec<Client> {
    let ask = |_| {
        let mut client = server.connect();
        client.send(request);
        thread::sleep(Duration::from_millis(5));
        client
    };
    (0..n).map(ask).collect()
}

/// What has come so far.
fn heard(client: &mut Client, wants: &str) -> bool {
    let mut seen = String::new();
    while !seen.contains(wants) {
        match client.some() {
            some if some.is_empty() => return false,
            some => seen.push_str(&String::from_utf8_lossy(&some)),
        }
    }
    true
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn all_are_served_while_the_object_comes() {
    foregate_only(|subject| {
        for framing in ["Content-Length: 10\r\n\r\n01234", "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"]
        {
            let rest = if framing.starts_with('C') { "56789" } else { "5\r\n56789\r\n0\r\n\r\n" };
            let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}");
            let (gate, rest_gate) = (Gate::new(), Gate::new());
            let (first, second) = (gate.clone(), rest_gate.clone());
            let app = Backend::new(move |_| Reply::new().until(&first).send(&head).until(&second).send(rest));
            let server = front("").backend("app", &app).start(subject);
            let mut clients = ask(&server, 8, GET);
            let mut part = ask(&server, 1, "GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=3-6\r\n\r\n");
            gate.open();
            // Half of it is with all of them while the upstream keeps the rest back.
            assert!(clients.iter_mut().all(|it| heard(it, "01234")));
            rest_gate.open();
            assert!(clients.iter_mut().all(|it| heard(it, "56789")));
            let part = part[0].response().unwrap_or_default();
            let ranges = framing.starts_with('C') && part.status == 206;
            assert!(if ranges { part.text() == "3456" } else { part.text() == "0123456789" }, "{part:?}");
            assert_eq!(server.get("/a").header("X-Cache"), Some("HIT"));
            assert_eq!(app.requests().len(), 1);
        }
    });
}

#[test]
fn what_is_not_to_be_kept_is_asked_for_by_all_at_once() {
    for (inside, fields) in [
        ("", "Cache-Control: no-store\r\n"),
        ("", ""),
        ("proxy_no_cache 1;", "Cache-Control: max-age=60\r\n"),
    ] {
        foregate_only(|subject| {
            let (n, gates) = (AtomicUsize::new(0), [Gate::new(), Gate::new()]);
            let script_gates = gates.clone();
            let app = Backend::new(move |_| {
                let n = n.fetch_add(1, Ordering::Relaxed);
                let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 1\r\n\r\n{}", n % 10);
                Reply::new().until(&script_gates[n.min(1)]).send(head)
            });
            let server = front(inside).backend("app", &app).start(subject);
            let mut clients = ask(&server, 8, GET);
            // Whoever comes once the first is answered begins a turn of his own: all must wait by then.
            server.eventually(|server| server.get("/status").text().contains("Writing: 9"));
            gates[0].open();
            // All others are asked for before any of them is answered: two turns and not eight.
            assert_eq!(app.wait_for(8).len(), 8);
            gates[1].open();
            clients.iter_mut().for_each(|it| assert_eq!(it.response().unwrap_or_default().status, 200));
            assert_eq!(app.requests().len(), 8);
        });
    }
}

#[test]
fn representations_are_not_mixed_up() {
    both(|subject| {
        let app = Backend::new(|seen| {
            let kind = seen.header("X-Kind").unwrap_or("none").to_owned();
            let head = format!(
                "HTTP/1.1 200 OK\r\nVary: X-Kind\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n",
                2 * kind.len()
            );
            Reply::new().wait(200).send(format!("{head}{kind}")).wait(400).send(&kind)
        });
        let server = front("").backend("app", &app).start(subject);
        let request = |kind: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\nX-Kind: {kind}\r\n\r\n");
        let mut ones = ask(&server, 4, &request("one"));
        let mut twos = ask(&server, 4, &request("two"));
        for (clients, want) in [(&mut ones, "oneone"), (&mut twos, "twotwo")] {
            clients.iter_mut().for_each(|it| assert_eq!(it.response().unwrap_or_default().text(), want));
        }
        assert_eq!(app.requests().len(), 2);
    });
}

#[test]
fn an_upstream_that_breaks_off_breaks_off_for_all_and_nothing_is_kept() {
    foregate_only(|subject| {
        let (n, gate) = (AtomicUsize::new(0), Gate::new());
        let script_gate = gate.clone();
        let app = Backend::new(move |_| {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n";
            let reply = Reply::new().send(format!("{head}01234")).until(&script_gate);
            match n.fetch_add(1, Ordering::Relaxed) {
                0 => reply.close(),
                _ => reply.send("56789"),
            }
        });
        let server = front("").backend("app", &app).allow_log("prematurely closed").start(subject);
        let mut clients = ask(&server, 4, GET);
        assert!(clients.iter_mut().all(|it| heard(it, "01234")));
        gate.open();
        for client in &mut clients {
            let rest = client.rest();
            assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
        }
        assert_eq!(server.get("/a").text(), "0123456789");
        assert_eq!(server.get("/a").header("X-Cache"), Some("HIT"));
        assert_eq!(app.requests().len(), 2);
    });
}

#[test]
fn the_object_comes_whole_for_the_others_if_the_first_leaves() {
    foregate_only(|subject| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234";
        let gate = Gate::new();
        let script_gate = gate.clone();
        let app = Backend::new(move |_| Reply::new().send(head).until(&script_gate).send("56789"));
        let server = front("").backend("app", &app).start(subject);
        let mut first = ask(&server, 1, GET);
        assert!(heard(&mut first[0], "01234"));
        let mut others = ask(&server, 3, GET);
        drop(first);
        gate.open();
        others.iter_mut().for_each(|it| assert_eq!(it.response().unwrap_or_default().text(), "0123456789"));
        assert_eq!(app.requests().len(), 1);
    });
}

/// What one client of many has seen.
struct Seen {
    first: Duration,
    bytes: usize,
    wrong: usize,
}

/// Asks; `served` counts those to whom the answer has begun to come.
fn visit(address: std::net::SocketAddr, served: &AtomicUsize) -> Seen {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).expect("because the server listens");
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("because it is open");
    let mut room = vec![0; 64 << 10];
    let mut seen = Seen { first: Duration::ZERO, bytes: 0, wrong: 0 };
    let mut in_head = true;
    while let Ok(n) = stream.read(&mut room)
        && n > 0
    {
        let mut piece = &room[..n];
        if std::mem::take(&mut in_head) {
            seen.first = began.elapsed();
            served.fetch_add(1, Ordering::Relaxed);
            let end = piece.windows(4).position(|it| it == b"\r\n\r\n");
            piece = &piece[end.expect("because heads are short") + 4..];
        }
        // Each byte says where it belongs.
        let is_right = |at: usize, byte: u8| byte == ((seen.bytes + at) >> 10) as u8;
        seen.wrong += usize::from(!piece.is_empty() && !is_right(0, piece[0]));
        seen.bytes += piece.len();
    }
    seen
}

#[test]
fn a_thousand_clients_make_one_request() {
    let full = std::env::var_os("FOREGATE_FULL").is_some();
    let (n_clients, bytes) = if full { (1000, 100 << 20) } else { (60, 8 << 20) };
    raise_descriptor_limit();
    foregate_only(|subject| {
        let (gate, served) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
        let script_gate = gate.clone();
        let body: Arc<[u8]> = (0..bytes).map(|at| (at >> 10) as u8).collect();
        let app = Backend::new(move |seen| {
            if seen.target != "/a" {
                return Reply::status(200, "", "warm");
            }
            let head =
                format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {bytes}\r\n\r\n");
            let (first, rest) = body.split_at(1 << 20);
            Reply::new().send(head).send(first).until(&script_gate).send(rest)
        });
        let server =
            front("proxy_read_timeout 60s;").backend("app", &app).worker_connections(4096).start(subject);
        server.get("/other?warms");
        let before = resident_kib(server.worker());
        let address = server.address(0);
        let visitors: Vec<_> = (0..n_clients)
            .map(|_| {
                let served = served.clone();
                thread::Builder::new().stack_size(256 << 10).spawn(move || visit(address, &served))
            })
            .collect();
        let (mut peak, mut before_the_rest) = (0, false);
        while !visitors.iter().all(|it| it.as_ref().is_ok_and(thread::JoinHandle::is_finished)) {
            peak = peak.max(resident_kib(server.worker()));
            if !before_the_rest && served.load(Ordering::Relaxed) == n_clients {
                // The upstream has sent the first part alone.
                before_the_rest = true;
                gate.open();
            }
            thread::sleep(Duration::from_millis(100));
        }
        let seen: Vec<_> =
            visitors.into_iter().map(|it| it.expect("it was started").join().expect("it ended")).collect();
        let latest = seen.iter().map(|it| it.first).max().unwrap_or_default();
        println!(
            "{n_clients} clients of {bytes} bytes: first byte within {latest:?}, memory {before} to {peak} KiB"
        );
        assert!(seen.iter().all(|it| (it.bytes, it.wrong) == (bytes, 0)));
        assert!(before_the_rest, "{} were served", served.load(Ordering::Relaxed));
        assert_eq!(app.requests().iter().filter(|it| it.target == "/a").count(), 1);
        assert!(peak - before < (64 << 10), "{before} to {peak} KiB");
    });
}
