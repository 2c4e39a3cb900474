//! Streams and listeners as their users see them: echo, many connections, hang-up, errors.

use std::cell::Cell;
use std::future::poll_fn;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use foregate_net::events::{self, Events};
use foregate_net::runtime::spawn;
use foregate_net::{Addr, ConnectOptions, ListenSpec, Listener, Stream, clock};

mod driver;

use driver::run;

fn local() -> ListenSpec {
    ListenSpec::new(Addr::Ip("127.0.0.1:0".parse().unwrap()))
}

fn scratch(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("foregate-net-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

async fn connect(addr: &Addr) -> Stream {
    Stream::connect(addr, &ConnectOptions::default()).await.unwrap()
}

/// Accepts for ever and sends everything back.
fn serve_echo(listener: Listener) -> Addr {
    let addr = listener.addr().clone();
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            spawn(async move {
                loop {
                    let data = stream.recv().await.unwrap();
                    if data.is_empty() {
                        return;
                    }
                    stream.send_all(&data).await.unwrap();
                }
            });
        }
    });
    addr
}

/// Accepts one connection and sends everything back by pipes.
fn serve_piped_echo(listener: Listener) -> Addr {
    let addr = listener.addr().clone();
    spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        loop {
            let pipe = poll_fn(|cx| stream.poll_recv_pipe(cx, 100_000)).await.unwrap();
            let pipe = pipe.expect("because no pipe is taken yet");
            assert!(pipe.len() <= 100_000);
            if pipe.is_empty() {
                return;
            }
            stream.send_pipe(pipe).await.unwrap();
        }
    });
    addr
}

async fn expect_echo(stream: &Stream, sent: &[u8]) {
    stream.send_all(sent).await.unwrap();
    let mut back = Vec::new();
    while back.len() < sent.len() {
        back.extend_from_slice(&stream.recv().await.unwrap());
    }
    assert!(back == sent);
}

#[test]
fn bytes_pass_through_pipes() {
    // On io_uring there are none: bytes are received.
    events::choose_here(Events::Epoll);
    let path = scratch("pipes");
    let specs = [local(), ListenSpec::new(Addr::unix(&path))];
    run(async {
        for spec in specs {
            let addr = serve_piped_echo(Listener::bind(&spec).unwrap());
            let (stream, sent) = (Rc::new(connect(&addr).await), vec![7; 3 << 20]);
            let (back, bytes, n) = (stream.clone(), sent.len(), Rc::new(Cell::new(0)));
            let seen = n.clone();
            spawn(async move {
                while seen.get() < bytes {
                    let more = back.recv().await.unwrap();
                    assert!(!more.is_empty() && more.iter().all(|it| *it == 7));
                    seen.set(seen.get() + more.len());
                }
            })
            .detach();
            stream.send_all(&sent).await.unwrap();
            while n.get() < bytes {
                clock::sleep(Duration::from_millis(1)).await;
            }
            expect_echo(&stream, b"little").await;
            stream.shutdown_write();
            assert!(stream.recv().await.unwrap().is_empty());
        }
    })
    .unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn echo_over_tcp_and_unix() {
    let path = scratch("echo");
    let specs = [local(), ListenSpec::new(Addr::unix(&path))];
    run(async {
        for spec in specs {
            let addr = serve_echo(Listener::bind(&spec).unwrap());
            let stream = connect(&addr).await;
            assert_eq!(*stream.peer_addr(), addr);
            for _ in 0..3 {
                expect_echo(&stream, b"hello").await;
            }
            stream.send_vectored_all(&[b"", b"hel", b"", b"lo ", b"world", b""]).await.unwrap();
            let mut back = Vec::new();
            while back.len() < 11 {
                back.extend_from_slice(&stream.recv().await.unwrap());
            }
            assert_eq!(back, b"hello world");
            stream.shutdown_write();
            assert!(stream.recv().await.unwrap().is_empty());
        }
    })
    .unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_thousand_connections_at_once() {
    run(async {
        let addr = serve_echo(Listener::bind(&local()).unwrap());
        let done = Rc::new(Cell::new(0));
        for n in 0..1000_u32 {
            let (addr, done) = (addr.clone(), done.clone());
            spawn(async move {
                let stream = connect(&addr).await;
                for round in 0..3_u32 {
                    expect_echo(&stream, format!("{n}.{round}").as_bytes()).await;
                }
                done.set(done.get() + 1);
            });
        }
        for _ in 0..6000 {
            if done.get() == 1000 {
                return;
            }
            clock::sleep(Duration::from_millis(10)).await;
        }
        panic!("only {} connections were served", done.get());
    })
    .unwrap();
}

#[test]
fn more_than_the_sockets_hold_passes_with_both_ends_waiting() {
    run(async {
        let listener = Listener::bind(&local()).unwrap();
        let addr = listener.addr().clone();
        let pattern: Vec<u8> = (0..6_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sent = pattern.clone();
        spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (first, rest) = sent.split_at(1_234_567);
            let (second, third) = rest.split_at(17);
            stream.send_vectored_all(&[first, second, third]).await.unwrap();
        });
        let stream = connect(&addr).await;
        clock::sleep(Duration::from_millis(20)).await;
        let mut got = Vec::new();
        loop {
            let data = stream.recv().await.unwrap();
            if data.is_empty() {
                break;
            }
            got.extend_from_slice(&data);
        }
        assert!(got == pattern);
    })
    .unwrap();
}

#[test]
fn a_file_is_sent_by_the_kernel() {
    let path = scratch("sendfile");
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 253) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    run(async move {
        let listener = Listener::bind(&local()).unwrap();
        let addr = listener.addr().clone();
        spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut offset = 1000;
            stream.sendfile(&file, &mut offset, 4_000_000).await.unwrap();
            assert_eq!(offset, 4_001_000);
            let beyond = stream.sendfile(&file, &mut offset, 4_000_000).await.unwrap_err();
            assert_eq!(beyond.kind(), std::io::ErrorKind::UnexpectedEof);
        });
        let stream = connect(&addr).await;
        let mut got = Vec::new();
        loop {
            let data = stream.recv().await.unwrap();
            if data.is_empty() {
                break;
            }
            got.extend_from_slice(&data);
        }
        assert!(got == content[1000..]);
    })
    .unwrap();
}

#[test]
fn an_idle_stream_tells_of_data_and_of_the_peers_leaving() {
    run(async {
        let listener = Listener::bind(&local()).unwrap();
        let client = connect(listener.addr()).await;
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, *client.local_addr());
        assert_eq!(server.local_addr(), client.peer_addr());
        let wait = Duration::from_millis(5);
        assert!(clock::timeout(wait, server.readable()).await.is_err());
        client.send_all(b"x").await.unwrap();
        server.readable().await.unwrap();
        assert!(server.is_readable() && !server.is_hung_up());
        assert_eq!(&*server.try_recv().unwrap().unwrap(), b"x");
        assert!(server.try_recv().unwrap().is_none());
        assert!(clock::timeout(wait, server.hung_up()).await.is_err());
        drop(client);
        server.hung_up().await;
        server.readable().await.unwrap();
        assert!(server.recv().await.unwrap().is_empty());
        assert!(server.recv().await.unwrap().is_empty());
    })
    .unwrap();
}

#[test]
fn a_read_that_fills_its_buffer_does_not_make_an_idle_stream_look_readable() {
    run(async {
        let listener = Listener::bind(&local()).unwrap();
        let client = connect(listener.addr()).await;
        let (server, _) = listener.accept().await.unwrap();
        client.send_all(b"12345678").await.unwrap();
        server.readable().await.unwrap();
        assert_eq!(server.try_recv_into(&mut [0; 8]).unwrap(), Some(8));
        assert!(clock::timeout(Duration::from_millis(5), server.readable()).await.is_err());
        assert!(!server.is_readable());
    })
    .unwrap();
}

#[test]
fn data_before_the_end_is_received_before_it() {
    run(async {
        let listener = Listener::bind(&local()).unwrap();
        let client = connect(listener.addr()).await;
        let (server, _) = listener.accept().await.unwrap();
        client.send_all(b"last words").await.unwrap();
        drop(client);
        clock::sleep(Duration::from_millis(5)).await;
        assert_eq!(&*server.recv().await.unwrap(), b"last words");
        assert!(server.recv().await.unwrap().is_empty());
    })
    .unwrap();
}

#[test]
fn a_refused_connection_and_a_reset_are_errors() {
    run(async {
        let listener = Listener::bind(&local()).unwrap();
        let addr = listener.addr().clone();
        let client = connect(&addr).await;
        let (server, _) = listener.accept().await.unwrap();
        drop(listener);
        server.set_linger_reset();
        drop(server);
        let reset = client.recv().await.unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
        let refused = Stream::connect(&addr, &ConnectOptions::default()).await.err().unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let missing = Stream::connect(&Addr::unix("/nonexistent/socket"), &ConnectOptions::default()).await;
        assert_eq!(missing.err().unwrap().kind(), std::io::ErrorKind::NotFound);
    })
    .unwrap();
}

#[test]
fn a_connection_may_be_made_from_an_address_of_ones_choice() {
    run(async {
        let listener = Listener::bind(&local()).unwrap();
        let options = ConnectOptions {
            bind: Some("127.0.0.9:0".parse().unwrap()),
            keepalive: true,
            ..ConnectOptions::default()
        };
        let _client = Stream::connect(listener.addr(), &options).await.unwrap();
        let (_server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().unwrap().ip().to_string(), "127.0.0.9");
    })
    .unwrap();
}

#[test]
fn an_address_in_use_is_reported_as_nginx_does() {
    let first = local().open().unwrap();
    let std_first = std::net::TcpListener::from(first);
    let addr = std_first.local_addr().unwrap();
    let error = ListenSpec::new(Addr::Ip(addr)).open().unwrap_err();
    assert_eq!(error.to_string(), format!("bind() to {addr} failed (98: Address already in use)"));
}

#[test]
fn two_threads_share_one_listening_socket() {
    let fd = ListenSpec { deferred: true, ..local() }.open().unwrap();
    let copy = fd.as_fd().try_clone_to_owned().unwrap();
    let addr = Addr::Ip(std::net::TcpListener::from(fd.try_clone().unwrap()).local_addr().unwrap());
    let (stop, stopped) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        run(async {
            stop.send(foregate_net::runtime::remote()).unwrap();
            let task = Rc::new(Cell::new(false));
            let _ = serve_echo(Listener::from_fd(copy).unwrap());
            while !STOP.load(std::sync::atomic::Ordering::Relaxed) {
                clock::sleep(Duration::from_millis(2)).await;
            }
            task.set(true);
        })
        .unwrap();
    });
    static STOP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let remote = stopped.recv().unwrap();
    run(async {
        serve_echo(Listener::from_fd(fd).unwrap());
        for n in 0..100 {
            let stream = connect(&addr).await;
            expect_echo(&stream, format!("round {n}").as_bytes()).await;
        }
    })
    .unwrap();
    remote.run(|| STOP.store(true, std::sync::atomic::Ordering::Relaxed));
    other.join().unwrap();
}
