//! The resolver against a name server of our own that answers by a script.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foregate_net::clock;
use foregate_net::dns::{self, ResolveError, Resolver, ResolverSpec};
use foregate_net::runtime::spawn;

mod driver;

use driver::run;

const LIMIT: Duration = Duration::from_secs(10);
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// One record: kind, time to live, data.
type Record = (u16, u32, Vec<u8>);

#[derive(Clone, Default)]
struct Script {
    /// Name and kind asked for -> code, whether cut off over UDP, records (all owned by the name asked for).
    answers: HashMap<(String, u16), (u8, bool, Vec<Record>)>,
    asked: Arc<AtomicUsize>,
    over_tcp: Arc<AtomicUsize>,
}

impl Script {
    fn on(mut self, name: &str, kind: u16, code: u8, records: &[Record]) -> Script {
        self.answers.insert((name.to_string(), kind), (code, false, records.to_vec()));
        self
    }

    fn cut(mut self, name: &str, kind: u16, records: &[Record]) -> Script {
        self.answers.insert((name.to_string(), kind), (0, true, records.to_vec()));
        self
    }

    /// `None` when the script wants silence.
    fn reply(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let (mut name, mut at) = (Vec::new(), 12);
        while query[at] != 0 {
            let len = usize::from(query[at]);
            name.push(String::from_utf8_lossy(&query[at + 1..at + 1 + len]).into_owned());
            at += 1 + len;
        }
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let (code, cut, records) = self.answers.get(&(name.join("."), kind))?;
        let cut = *cut && !tcp;
        let mut out = query.to_vec();
        out[2] = 0x81 | if cut { 2 } else { 0 };
        out[3] = 0x80 | code;
        for (kind, ttl, data) in records.iter().filter(|_| !cut) {
            out[7] += 1;
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1]);
            out.extend_from_slice(&ttl.to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        Some(out)
    }

    /// Serves on threads that end with the test's process.
    fn start(self) -> SocketAddr {
        // One port for both; what is free for UDP may be taken for TCP.
        let (socket, listener) = (0..100)
            .find_map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let listener = TcpListener::bind(socket.local_addr().unwrap()).ok()?;
                Some((socket, listener))
            })
            .unwrap();
        let addr = socket.local_addr().unwrap();
        let script = Arc::new(Mutex::new(self));
        let tcp_script = script.clone();
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((n, from)) = socket.recv_from(&mut query) {
                let script = script.lock().unwrap();
                script.asked.fetch_add(1, Ordering::Relaxed);
                // A forgery first: right place, wrong id.
                let Some(reply) = script.reply(&query[..n], false) else { continue };
                let mut forged = reply.clone();
                forged[0] ^= 1;
                let _ = socket.send_to(&forged, from);
                let _ = socket.send_to(&reply, from);
            }
        });
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut len = [0; 2];
                stream.read_exact(&mut len).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                stream.read_exact(&mut query).unwrap();
                let script = tcp_script.lock().unwrap();
                script.over_tcp.fetch_add(1, Ordering::Relaxed);
                let reply = script.reply(&query, true).unwrap();
                stream.write_all(&(reply.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&reply).unwrap();
            }
        });
        addr
    }
}

fn resolver(servers: &[SocketAddr]) -> Resolver {
    Resolver::new(ResolverSpec { servers: servers.to_vec(), valid: None, ipv4: true, ipv6: true })
}

fn v4(last: u8) -> Record {
    (A, 60, vec![192, 0, 2, last])
}

fn alias(labels: &[&str]) -> Record {
    let mut data = Vec::new();
    for label in labels {
        data.push(label.len() as u8);
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    (CNAME, 60, data)
}

#[test]
fn names_resolve_to_addresses_of_both_kinds_once() {
    let v6 = (AAAA, 60, "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec());
    let script = Script::default().on("both.test", A, 0, &[v4(1), v4(2)]).on("both.test", AAAA, 0, &[v6]);
    let asked = script.asked.clone();
    let server = script.start();
    run(async move {
        let resolver = resolver(&[server]);
        for _ in 0..5 {
            let resolver = resolver.clone();
            spawn(async move {
                resolver.resolve("Both.test.", LIMIT).await.unwrap();
            });
        }
        let answer = resolver.resolve("both.test", LIMIT).await.unwrap();
        let texts: Vec<_> = answer.addrs.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        let left = answer.valid_until - clock::now();
        assert!(left > Duration::from_secs(58) && left <= Duration::from_secs(60));
        resolver.resolve("both.test", LIMIT).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let literal = resolver.resolve("::1", LIMIT).await.unwrap();
        assert_eq!(literal.addrs[0].to_string(), "::1");
    })
    .unwrap();
}

#[test]
fn an_alias_without_its_address_is_asked_for_again() {
    let script = Script::default()
        .on("www.test", A, 0, &[alias(&["real", "test"])])
        .on("real.test", A, 0, &[v4(9)])
        .on("loop.test", A, 0, &[alias(&["loop", "test"])]);
    let server = script.start();
    run(async move {
        let spec = ResolverSpec { servers: vec![server], valid: None, ipv4: true, ipv6: false };
        let resolver = Resolver::new(spec);
        assert_eq!(resolver.resolve("www.test", LIMIT).await.unwrap().addrs[0].to_string(), "192.0.2.9");
        assert_eq!(resolver.resolve("loop.test", LIMIT).await, Err(ResolveError::NotFound));
    })
    .unwrap();
}

#[test]
fn a_cut_off_answer_is_fetched_over_tcp() {
    let script = Script::default().cut("many.test", A, &[v4(1), v4(2), v4(3)]).on("many.test", AAAA, 0, &[]);
    let over_tcp = script.over_tcp.clone();
    let server = script.start();
    run(async move {
        let answer = resolver(&[server]).resolve("many.test", LIMIT).await.unwrap();
        assert_eq!(answer.addrs.len(), 3);
        assert_eq!(over_tcp.load(Ordering::Relaxed), 1);
    })
    .unwrap();
}

#[test]
fn failures_have_nginxs_words() {
    let script = Script::default()
        .on("none.test", A, 3, &[])
        .on("none.test", AAAA, 3, &[])
        .on("empty.test", A, 0, &[])
        .on("empty.test", AAAA, 0, &[])
        .on("broken.test", A, 2, &[])
        .on("broken.test", AAAA, 2, &[]);
    let server = script.start();
    run(async move {
        let resolver = resolver(&[server]);
        let fail =
            async |name: &str, limit: Duration| resolver.resolve(name, limit).await.unwrap_err().to_string();
        assert_eq!(fail("none.test", LIMIT).await, "3: Host not found");
        assert_eq!(fail("empty.test", LIMIT).await, "3: Host not found");
        assert_eq!(fail("broken.test", LIMIT).await, "2: Server failure");
        assert_eq!(fail("a..b", LIMIT).await, "3: Host not found");
        assert_eq!(fail("silent.test", Duration::from_millis(20)).await, "110: Operation timed out");
    })
    .unwrap();
}

#[test]
fn another_server_helps_out() {
    let good = Script::default().on("x.test", A, 0, &[v4(5)]).on("x.test", AAAA, 0, &[]).start();
    // Nobody listens on a port just given back.
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    run(async move {
        for servers in [[gone, good], [good, gone]] {
            let answer = resolver(&servers).resolve("x.test", LIMIT).await.unwrap();
            assert_eq!(answer.addrs[0].to_string(), "192.0.2.5");
        }
    })
    .unwrap();
}

/// As nginx has it: the error is the answer, is not kept, and the next question goes to the next server.
#[test]
fn an_error_of_a_server_is_an_answer() {
    let good = Script::default().on("x.test", A, 0, &[v4(5)]).on("x.test", AAAA, 0, &[]).start();
    let bad = Script::default().on("x.test", A, 2, &[]).on("x.test", AAAA, 5, &[]).start();
    run(async move {
        let resolver = resolver(&[bad, good]);
        assert_eq!(resolver.resolve("x.test", LIMIT).await, Err(ResolveError::ServerFailure));
        let answer = resolver.resolve("x.test", LIMIT).await.unwrap();
        assert_eq!(answer.addrs[0].to_string(), "192.0.2.5");
    })
    .unwrap();
}

#[test]
fn the_system_knows_localhost() {
    run(async {
        let addrs = dns::system("localhost").await.unwrap();
        assert!(addrs.iter().all(|addr| addr.is_loopback()) && !addrs.is_empty());
    })
    .unwrap();
}
