//! A server of tonic in a thread of its own; its methods say by their names what they do.

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

use crate::bytes_codec::Plain;

const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// What has happened so far.
#[derive(Default)]
struct Seen {
    connections: AtomicU32,
    /// Calls of `Echo`.
    echoes: AtomicU32,
    /// Checks say that it does not serve.
    is_ill: AtomicBool,
    cancelled: AtomicU32,
}

/// A server for as long as the test runs.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Seen>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Messages = ReceiverStream<Result<Vec<u8>, Status>>;

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because there are free ports");
        listener.set_nonblocking(true).expect("because a socket can");
        let port = listener.local_addr().expect("because it is bound").port();
        let seen = Arc::new(Seen::default());
        let counts = seen.clone();
        std::thread::spawn(move || crate::block_on(serve(listener, counts)));
        Server { port, seen }
    }

    pub(crate) fn connections(&self) -> u32 {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn take_echoes(&self) -> u32 {
        self.seen.echoes.swap(0, Ordering::SeqCst)
    }

    /// From now on its health checks say so.
    pub(crate) fn set_ill(&self, is_ill: bool) {
        self.seen.is_ill.store(is_ill, Ordering::SeqCst);
    }

    pub(crate) async fn wait_until_cancelled(&self, n: u32) {
        for _ in 0..500 {
            if self.seen.cancelled.load(Ordering::SeqCst) >= n {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{n} calls are not cancelled within five seconds");
    }

    pub(crate) fn forget_cancelled(&self) {
        self.seen.cancelled.store(0, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, seen: Arc<Seen>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("because it does not block");
    let counts = seen.clone();
    let incoming = TcpListenerStream::new(listener).map(move |it| {
        counts.connections.fetch_add(1, Ordering::SeqCst);
        it
    });
    let served = tonic::transport::Server::builder().serve_with_incoming(Calls { seen }, incoming).await;
    served.expect("because the listener lives as long as the thread");
}

/// All methods of the service.
#[derive(Clone)]
struct Calls {
    seen: Arc<Seen>,
}

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Boxed<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().trim_start_matches("/t.T/").to_owned();
        let handler = Handler { method, seen: self.seen.clone() };
        Box::pin(async move { Ok(tonic::server::Grpc::new(Plain).streaming(handler, request).await) })
    }
}

/// One call.
struct Handler {
    method: String,
    seen: Arc<Seen>,
}

impl Service<Request<Streaming<Vec<u8>>>> for Handler {
    type Response = Response<Messages>;
    type Error = Status;
    type Future = Boxed<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        let (method, seen) = (std::mem::take(&mut self.method), self.seen.clone());
        Box::pin(async move {
            match method.as_str() {
                _ if request.metadata().contains_key("x-no-health") => {
                    return Err(Status::unimplemented("no health checks here"));
                }
                "Fail" => return Err(Status::already_exists("there is one: 100 % sure")),
                "Hang" => {
                    let _left = Left(seen);
                    return std::future::pending().await;
                }
                "Echo" => _ = seen.echoes.fetch_add(1, Ordering::SeqCst),
                HEALTH => {
                    // `HealthCheckResponse`: SERVING is 1, NOT_SERVING is 2.
                    let status = 1 + u8::from(seen.is_ill.load(Ordering::SeqCst));
                    let (to, messages) = mpsc::channel(1);
                    _ = to.try_send(Ok(vec![8, status]));
                    return Ok(Response::new(ReceiverStream::new(messages)));
                }
                "Count" | "Sum" | "Hold" => (),
                _ => return Err(Status::unimplemented("no such method")),
            }
            let (to, messages) = mpsc::channel(4);
            tokio::spawn(answer(method, request.into_inner(), to, seen));
            Ok(Response::new(ReceiverStream::new(messages)))
        })
    }
}

/// Counts a call that was left, when it is dropped.
struct Left(Arc<Seen>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

async fn answer(
    method: String,
    mut messages: Streaming<Vec<u8>>,
    to: mpsc::Sender<Result<Vec<u8>, Status>>,
    seen: Arc<Seen>,
) {
    let number = |message: &[u8]| String::from_utf8_lossy(message).parse().unwrap_or(0_u32);
    let mut sum = 0;
    while let Ok(Some(message)) = messages.message().await {
        match method.as_str() {
            "Echo" => _ = to.send(Ok(message)).await,
            "Sum" => sum += number(&message),
            "Count" => {
                for n in 0..number(&message) {
                    if to.send(Ok(n.to_string().into_bytes())).await.is_err() {
                        return;
                    }
                }
            }
            _ => {
                let _left = Left(seen);
                _ = to.send(Ok(message)).await;
                return to.closed().await;
            }
        }
    }
    if method == "Sum" {
        _ = to.send(Ok(sum.to_string().into_bytes())).await;
    }
}
