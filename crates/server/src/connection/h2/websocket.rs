//! WebSockets on a stream (RFC 8441): inside, an extended CONNECT is the Upgrade that it would be in HTTP/1.1.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use foregate_core::base64::{self, Alphabet};
use foregate_core::{Duplex, Exchange, Method, Reply, Tunnel};
use foregate_modules::Settings;
use foregate_wire::{Buf, Name};

use super::begin::Begun;
use super::lane::Lane;
use super::send;

/// Bytes of a key (RFC 6455, section 4.1).
const KEY_BYTES: usize = 16;

/// Makes a request of HTTP/1.1 of it, which backends understand.
pub(super) fn disguise(ex: &mut Exchange, protocol: &[u8], begun: &mut Begun) {
    if protocol != b"websocket" {
        begun.fault = Some((501, b"client sent unknown :protocol header".to_vec()));
        return;
    }
    ex.method = Method::Get;
    ex.method_name.clear();
    ex.method_name.extend_from_slice(b"GET");
    ex.fields.push(Name::Upgrade, b"websocket");
    ex.fields.push(Name::Connection, b"Upgrade");
    let mut key = Vec::new();
    base64::encode(&random(), Alphabet::Standard, &mut key);
    ex.fields.set(b"sec-websocket-key", &key);
}

/// Unlike any other that was sent; nothing secret hangs on it.
fn random() -> [u8; KEY_BYTES] {
    let half = || RandomState::new().hash_one(0).to_ne_bytes();
    let (first, second) = (half(), half());
    std::array::from_fn(|at| if at < first.len() { first[at] } else { second[at - first.len()] })
}

/// Answers that the tunnel is open and lets it run.
pub(super) async fn run(
    lane: &Rc<Lane>,
    on: &Settings,
    ex: &mut Exchange,
    mut reply: Reply,
    tunnel: Box<dyn Tunnel>,
) {
    reply.status = 200;
    reply.reason = None;
    reply.fields.remove(b"sec-websocket-accept");
    ex.sent.head_bytes = send::head(lane, on, ex, &reply, false) as u64;
    ex.sent.bytes = ex.sent.head_bytes;
    ex.sent.status = reply.status;
    ex.sent.fields = reply.fields;
    lane.link.wake();
    let carried = tunnel.run(Rc::new(Stream(lane.clone())), Buf::default()).await;
    ex.sent.body_bytes = carried.to_client_bytes;
    ex.sent.bytes += carried.to_client_bytes;
    ex.head_bytes += carried.from_client_bytes;
    ex.sent.complete = true;
    if !lane.is_lost() {
        lane.link.mux.borrow_mut().send_data_copied(lane.place, b"", usize::MAX, true);
        lane.close();
    }
}

/// A stream as a connection's two directions.
struct Stream(Rc<Lane>);

impl Duplex for Stream {
    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        let lane = &self.0;
        let piece = lane.input.borrow_mut().next();
        if let Some(bytes) = piece {
            lane.link.mux.borrow_mut().taken(lane.place, bytes.len(), true);
            lane.link.wake();
            return Poll::Ready(Ok(bytes));
        }
        if lane.is_lost() || lane.input.borrow().has_ended() {
            return Poll::Ready(Ok(Buf::default()));
        }
        lane.wait_to_read(cx);
        Poll::Pending
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let lane = &self.0;
        let n = bytes.len().min(ready!(lane.poll_room(cx)));
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        lane.link.mux.borrow_mut().send_data_copied(lane.place, &bytes[..n], usize::MAX, false);
        lane.link.wake();
        Poll::Ready(Ok(n))
    }
}
