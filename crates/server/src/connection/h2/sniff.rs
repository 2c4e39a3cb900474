//! What a client speaks on a plain connection where HTTP/2 may be spoken: its first bytes tell (RFC 9113, section 3.3).

use std::future::poll_fn;
use std::task::Poll;

use foregate_core::stats::Count;
use foregate_net::Conn;
use foregate_net::clock::Deadline;
use foregate_wire::Buf;
use foregate_wire::h2::PREFACE;

use super::super::{Counted, Doing, client_settings};
use crate::address::Address;
use crate::cycle::Local;

/// Reads until that is clear, behind what has come already: what has been read, and whether it is HTTP/2. `None`: the
/// client left, or took too long.
pub(in super::super) async fn sniff(
    counted: &Counted,
    local: &Local,
    address: &Address,
    conn: &Conn,
    rest: Buf,
) -> Option<(Buf, bool)> {
    let _waiting = Doing::now(Count::Waiting);
    let deadline = Deadline::new();
    deadline.arm(client_settings(local, address.default_server).header_timeout);
    let mut bytes = rest;
    loop {
        let n = bytes.len().min(PREFACE.len());
        if bytes[..n] != PREFACE[..n] {
            return Some((bytes, false));
        }
        if n == PREFACE.len() {
            return Some((bytes, true));
        }
        let more = poll_fn(|cx| {
            if let Poll::Ready(done) = conn.poll_recv(cx) {
                return Poll::Ready(done.ok().filter(|it| !it.is_empty()));
            }
            if counted.thread.poll_unwanted(counted.place, true, cx).is_ready() {
                return Poll::Ready(None);
            }
            deadline.poll_expired(cx).map(|()| None)
        });
        let more = more.await;
        counted.thread.not_idle(counted.place);
        let more = more?;
        bytes = if bytes.is_empty() { more } else { Buf::from_vec([&bytes[..], &more].concat()) };
    }
}
