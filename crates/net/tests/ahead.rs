//! What may go wrong when a driver works ahead of its users: each test runs on every driver this kernel allows.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use foregate_net::events::{self, Events};
use foregate_net::{Addr, ConnectOptions, Stream, clock, runtime};

/// Runs `test` with a connected pair: ours, and the peer's blocking end.
fn on_every_driver<F: Future<Output = ()>>(test: impl Fn(Stream, TcpStream) -> F + Send + Sync) {
    let mut drivers = vec![Events::Epoll];
    if events::choose(Some(Events::IoUring)) == Events::IoUring {
        drivers.push(Events::IoUring);
    }
    for driver in drivers {
        thread::scope(|scope| {
            scope.spawn(|| {
                events::choose_here(driver);
                runtime::run(async {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    let addr = Addr::Ip(listener.local_addr().unwrap());
                    let stream = Stream::connect(&addr, &ConnectOptions::default()).await.unwrap();
                    let (peer, _) = listener.accept().unwrap();
                    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    test(stream, peer).await;
                })
                .unwrap();
            });
        });
    }
}

/// The byte at this place of every test's stream.
fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 16) as u8
}

fn piece(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(pattern).collect()
}

/// Reads to the end: how many bytes, all of which must be the pattern's.
fn read_all(mut peer: impl Read) -> usize {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    if let Some(at) = all.iter().enumerate().position(|(at, byte)| *byte != pattern(at)) {
        panic!("of {} bytes the one at {at} is wrong", all.len());
    }
    all.len()
}

#[test]
fn a_wait_given_up_loses_nothing() {
    const BYTES: usize = 600_000;
    on_every_driver(async |stream, mut peer| {
        let writer = thread::spawn(move || {
            let mut at = 0;
            while at < BYTES {
                let len = (at % 1777 + 1).min(BYTES - at);
                peer.write_all(&piece(at, len)).unwrap();
                at += len;
                if at % 7 == 0 {
                    thread::sleep(Duration::from_micros(50));
                }
            }
        });
        let (mut at, mut small) = (0, [0; 100]);
        loop {
            // A wait that is given up after one look, at times with other ways to look in between.
            poll_fn(|cx| {
                let _ = stream.poll_readable(cx);
                Poll::Ready(())
            })
            .await;
            runtime::yield_now().await;
            let got = match at % 3 {
                0 => stream.recv().await.unwrap().to_vec(),
                1 => stream.try_recv().unwrap().map_or(vec![], |buf| buf.to_vec()),
                _ => {
                    let n = stream.try_recv_into(&mut small).unwrap().unwrap_or(0);
                    small[..n].to_vec()
                }
            };
            assert!(got.iter().enumerate().all(|(n, byte)| *byte == pattern(at + n)), "at {at}");
            if got.is_empty() && at % 3 == 0 {
                break;
            }
            at += got.len();
            if got.is_empty() {
                stream.readable().await.unwrap();
                if stream.is_hung_up() && at == BYTES {
                    break;
                }
            }
        }
        assert_eq!(at, BYTES);
        writer.join().unwrap();
    });
}

#[test]
fn what_was_taken_is_sent_before_the_end() {
    on_every_driver(async |stream, peer| {
        stream.send_all(&piece(0, 700)).await.unwrap();
        stream.send_vectored_all(&[&piece(700, 100), &piece(800, 200)]).await.unwrap();
        drop(stream);
        runtime::yield_now().await;
        clock::sleep(Duration::from_millis(1)).await;
        assert_eq!(read_all(peer), 1000);
    });
    on_every_driver(async |stream, peer| {
        stream.send_all(&piece(0, 700)).await.unwrap();
        stream.shutdown_write();
        clock::sleep(Duration::from_millis(1)).await;
        assert_eq!(read_all(peer), 700);
    });
}

#[test]
fn the_end_of_the_loop_waits_for_a_slow_peer() {
    on_every_driver(async |stream, peer| {
        // Fills the socket's buffers, until not even a small message goes.
        let mut at = 0;
        for len in [65536, 1000, 10] {
            while let Poll::Ready(sent) =
                poll_fn(|cx| Poll::Ready(stream.poll_send(cx, &piece(at, len)))).await
            {
                at += sent.unwrap();
                clock::sleep(Duration::from_millis(1)).await;
            }
        }
        drop(stream);
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            assert_eq!(read_all(peer), at);
        });
    });
}

#[test]
fn messages_of_all_sizes_keep_their_order() {
    on_every_driver(async |stream, peer| {
        let reader = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            read_all(peer)
        });
        let mut at = 0;
        for round in 0..400 {
            let len = [1, 100, 5000, 4096, 30, 4097, 70_000, 700][round % 8];
            match round % 3 {
                0 => stream.send_all(&piece(at, len)).await.unwrap(),
                1 => {
                    let (one, other) = (piece(at, len / 2), piece(at + len / 2, len - len / 2));
                    stream.send_vectored_all(&[&one, &other]).await.unwrap();
                }
                _ => {
                    let path = std::env::temp_dir().join(format!("foregate-ahead-{}", std::process::id()));
                    std::fs::write(&path, piece(at, len)).unwrap();
                    let file = std::fs::File::open(&path).unwrap();
                    stream.sendfile(&file, &mut 0, len as u64).await.unwrap();
                    std::fs::remove_file(path).unwrap();
                }
            }
            at += len;
        }
        stream.shutdown_write();
        while !reader.is_finished() {
            clock::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(reader.join().unwrap(), at);
    });
}

#[test]
fn a_peer_is_held_up_by_a_reader_that_rests() {
    on_every_driver(async |stream, mut peer| {
        peer.set_nonblocking(true).unwrap();
        let _ = poll_fn(|cx| Poll::Ready(stream.poll_readable(cx).is_ready())).await;
        let (mut at, mut idle) = (0, 0);
        while idle < 20 {
            match peer.write(&piece(at, 65536)) {
                Ok(n) => (at, idle) = (at + n, 0),
                Err(_) => idle += 1,
            }
            clock::sleep(Duration::from_millis(2)).await;
            assert!(at < 16 << 20, "nothing holds up the peer");
        }
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = 0;
        loop {
            let buf = stream.recv().await.unwrap();
            if buf.is_empty() {
                break;
            }
            assert!(buf.iter().enumerate().all(|(n, byte)| *byte == pattern(got + n)));
            got += buf.len();
        }
        assert_eq!(got, at);
    });
}

#[test]
fn a_hangup_is_seen_past_data_that_nobody_reads() {
    on_every_driver(async |stream, mut peer| {
        assert!(poll_fn(|cx| Poll::Ready(stream.poll_hangup(cx).is_pending())).await);
        peer.write_all(&piece(0, 100_000)).unwrap();
        clock::sleep(Duration::from_millis(5)).await;
        assert!(!stream.is_hung_up());
        drop(peer);
        stream.hung_up().await;
        let mut got = 0;
        while got < 100_000 {
            got += stream.recv().await.unwrap().len();
        }
        assert!(stream.recv().await.unwrap().is_empty());
        assert!(stream.recv().await.unwrap().is_empty(), "the end stays the end");
    });
}

#[test]
fn a_reset_is_told_on_both_sides() {
    on_every_driver(async |stream, mut peer| {
        let _ = poll_fn(|cx| Poll::Ready(stream.poll_readable(cx).is_ready())).await;
        stream.send_all(b"never seen, or seen").await.unwrap();
        stream.set_linger_reset();
        drop(stream);
        clock::sleep(Duration::from_millis(2)).await;
        let mut bytes = Vec::new();
        assert_eq!(peer.read_to_end(&mut bytes).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    on_every_driver(async |stream, mut peer| {
        // Data unread at the peer's close make it a reset.
        stream.send_all(b"unread").await.unwrap();
        clock::sleep(Duration::from_millis(2)).await;
        let mut one = [0];
        peer.read_exact(&mut one).unwrap();
        drop(peer);
        assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(stream.is_hung_up());
        clock::sleep(Duration::from_millis(2)).await;
        let mut told = false;
        for _ in 0..3 {
            told |= stream.send_all(b"to nobody").await.is_err();
            clock::sleep(Duration::from_millis(2)).await;
        }
        assert!(told, "a send that fails is told by a later one");
    });
}
