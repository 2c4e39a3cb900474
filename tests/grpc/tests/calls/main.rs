//! Calls of gRPC through `grpc_pass`: tonic and grpcio, each as client and as server, all kinds of streams.

mod bytes_codec;
mod grpcio;
mod tonic_client;
mod tonic_server;

use std::time::{Duration, Instant};

use foregate_testkit::{Setup, both, foregate_only, free_port};
use tonic::Code;

use grpcio::{PythonServer, run_client};
use tonic_client::Caller;
use tonic_server::Server;

/// Runs work on a runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("because a thread may have one").block_on(work)
}

/// Passes all calls on to one server.
fn site(port: u16, inside: &str) -> Setup {
    let conf = format!(
        "server {{ listen 127.0.0.1:{{port:0}} http2; location / {{ grpc_pass grpc://127.0.0.1:{{to}}; {inside} }} }}"
    );
    Setup::http(&conf).set("to", port)
}

#[test]
fn tonic_calls_tonic() {
    let server = Server::start();
    let setup = site(server.port, "");
    both(|subject| {
        let proxy = setup.start(subject);
        block_on(async {
            let caller = Caller::connect(proxy.port(0)).await;
            every_kind(&caller).await;
            status_and_metadata(&caller).await;
            both_ways_at_once(&caller).await;
        });
    });
}

#[test]
fn tonic_calls_grpcio() {
    let Some(server) = PythonServer::start() else { return };
    let setup = site(server.port, "");
    both(|subject| {
        let proxy = setup.start(subject);
        block_on(async {
            let caller = Caller::connect(proxy.port(0)).await;
            every_kind(&caller).await;
            status_and_metadata(&caller).await;
            both_ways_at_once(&caller).await;
        });
    });
}

#[test]
fn grpcio_calls_tonic_and_grpcio() {
    let Some(python) = PythonServer::start() else { return };
    let tonic = Server::start();
    for to in [python.port, tonic.port] {
        let setup = site(to, "");
        both(|subject| {
            let proxy = setup.start(subject);
            assert_eq!(run_client(proxy.port(0)), "all is well\n");
        });
    }
}

#[test]
fn deadlines_and_cancellations_reach_the_server() {
    let server = Server::start();
    let setup = site(server.port, "");
    both(|subject| {
        let proxy = setup.start(subject);
        block_on(async {
            let caller = Caller::connect(proxy.port(0)).await;
            let begun = Instant::now();
            let late = caller.late(Duration::from_millis(300)).await;
            assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
            assert!(begun.elapsed() < Duration::from_secs(5));
            server.wait_until_cancelled(1).await;
            caller.leave_in_the_middle().await;
            server.wait_until_cancelled(2).await;
            caller.leave_a_stream().await;
            server.wait_until_cancelled(3).await;
        });
        server.forget_cancelled();
    });
}

#[test]
fn connections_are_kept_and_calls_go_on_over_them() {
    let server = Server::start();
    let conf = "upstream u { server 127.0.0.1:{to}; keepalive 4; }
        server { listen 127.0.0.1:{port:0} http2; location / { grpc_pass u; } }";
    let setup = Setup::http(conf).set("to", server.port);
    both(|subject| {
        let proxy = setup.start(subject);
        let before = server.connections();
        block_on(async {
            let caller = Caller::connect(proxy.port(0)).await;
            for _ in 0..30 {
                every_kind(&caller).await;
            }
        });
        let made = server.connections() - before;
        assert!(made <= 12, "{made} connections for 120 calls");
    });
}

#[test]
fn proxy_pass_speaks_http_2_as_well() {
    let server = Server::start();
    let conf = "server { listen 127.0.0.1:{port:0} http2; location / {
        proxy_pass http://127.0.0.1:{to}; proxy_http_version 2; proxy_pass_trailers on;
        proxy_buffering off; proxy_request_buffering off; proxy_set_header TE trailers; } }";
    let setup = Setup::http(conf).set("to", server.port);
    foregate_only(|subject| {
        let proxy = setup.start(subject);
        block_on(async {
            let caller = Caller::connect(proxy.port(0)).await;
            every_kind(&caller).await;
            both_ways_at_once(&caller).await;
        });
    });
}

#[test]
fn a_server_that_is_not_there_is_told_as_nginx_tells_it() {
    let nobody = free_port();
    let setup = site(nobody.number(), "");
    both(|subject| {
        let proxy = setup.start(subject);
        block_on(async {
            let caller = Caller::connect(proxy.port(0)).await;
            let status = caller.unary(b"x").await.expect_err("because nobody is there");
            // nginx's own page: clients find no message of gRPC in it.
            assert!(status.message().contains("502 Bad Gateway"), "{status:?}");
        });
    });
}

#[test]
fn servers_that_say_they_are_ill_are_not_asked() {
    let (ill, well) = (Server::start(), Server::start());
    let conf = "upstream u { server 127.0.0.1:{ill}; server 127.0.0.1:{well}; keepalive 4; }
        server { listen 127.0.0.1:{port:0} http2; location / {
            grpc_pass u; health_check type=grpc grpc_service=t.T interval=100ms keepalive_time=1s; } }";
    let setup = Setup::http(conf).set("ill", ill.port).set("well", well.port);
    foregate_only(|subject| {
        ill.set_ill(true);
        let proxy = setup.start(subject);
        proxy.wait_for_error("peer is unhealthy while checking response body");
        block_on(async {
            let caller = Caller::connect(proxy.port(0)).await;
            let call = async || drop(caller.unary(b"x").await.expect("because one of them is well"));
            for _ in 0..6 {
                call().await;
            }
            assert_eq!((ill.take_echoes(), well.take_echoes()), (0, 6));
            ill.set_ill(false);
            proxy.wait_for_error("peer is healthy");
            for _ in 0..6 {
                call().await;
            }
            assert_eq!((ill.take_echoes(), well.take_echoes()), (3, 3));
        });
    });
}

#[test]
fn a_status_that_is_expected_is_good() {
    let server = Server::start();
    for (parameters, is_well) in [("grpc_status=12", true), ("grpc_status=5", false), ("", false)] {
        let conf = format!(
            "upstream u {{ zone u 64k; server 127.0.0.1:{{to}}; }}
            server {{ listen 127.0.0.1:{{port:0}} http2; location / {{
                grpc_pass u; grpc_set_header X-No-Health yes;
                health_check mandatory interval=50ms type=grpc {parameters}; }} }}"
        );
        let setup = Setup::http(&conf).set("to", server.port);
        foregate_only(|subject| {
            let proxy = setup.start(subject);
            proxy.wait_for_error(if is_well {
                "peer is healthy"
            } else {
                "peer is unhealthy while checking grpc"
            });
        });
    }
}

/// Each kind of call, once, with messages from none to more than all windows.
async fn every_kind(caller: &Caller) {
    for length in [0, 1, 1000, 70_000, 300_000] {
        let message = vec![b'm'; length];
        assert_eq!(caller.unary(&message).await.expect("because it is echoed"), message);
    }
    assert_eq!(caller.server_streams(b"5").await.expect("because it counts"), ["0", "1", "2", "3", "4"]);
    let sum = caller.client_streams(&[b"1", b"20", b"300"]).await;
    assert_eq!(sum.expect("because it adds up"), "321");
    let echoed = caller.both_stream(&[b"a", b"bc", b""]).await;
    assert_eq!(echoed.expect("because all is echoed"), ["a", "bc", ""]);
}

async fn status_and_metadata(caller: &Caller) {
    let failed = caller.fail().await;
    assert_eq!((failed.code(), failed.message()), (Code::AlreadyExists, "there is one: 100 % sure"));
    let unknown = caller.unknown().await;
    assert_eq!(unknown.code(), Code::Unimplemented, "{unknown:?}");
}

/// Each message goes out only when the one before has come back: nothing may be held back on the way.
async fn both_ways_at_once(caller: &Caller) {
    let n = caller.ping_pong(20).await.expect("because nothing is held back");
    assert_eq!(n, 20);
}
