//! An upgraded connection: bytes both ways until one side ends.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use foregate_core::{Carried, Duplex, Level, Reporter, Tunnel};
use foregate_net::clock;
use foregate_wire::Buf;

use crate::attempts::Progress;
use crate::connect::Link;
use crate::pick::Hold;

/// Blocks carried before others get their turn.
const BLOCKS_PER_TURN_MAX: usize = 16;

pub(crate) struct UpstreamTunnel {
    pub(crate) link: Box<Link>,
    /// What the peer sent behind its head.
    pub(crate) rest: Buf,
    pub(crate) read_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) progress: Rc<Progress>,
    /// `clock::ms` of the try's start.
    pub(crate) begun: u64,
    pub(crate) hold: Option<Hold>,
    pub(crate) reporter: Reporter,
}

impl Tunnel for UpstreamTunnel {
    fn run(self: Box<Self>, client: Rc<dyn Duplex>, early: Buf) -> Pin<Box<dyn Future<Output = Carried>>> {
        Box::pin(async move {
            let this = *self;
            let mut down = Lane { rest: this.rest, carried: 0, ended: false };
            let mut up = Lane { rest: early, carried: 0, ended: false };
            let quiet = clock::Deadline::new();
            let done = poll_fn(|cx| {
                let before = (down.carried, up.carried);
                let mut poll = |lane: &mut Lane, from: &dyn Duplex, to: &dyn Duplex| lane.poll(from, to, cx);
                let ended = poll(&mut down, &this.link.conn, &*client).is_ready()
                    | poll(&mut up, &*client, &this.link.conn).is_ready();
                if ended {
                    return Poll::Ready(true);
                }
                // The peer's silence counts, as does a peer or a client that takes nothing.
                let limit = if up.rest.is_empty() { this.read_timeout } else { this.send_timeout };
                if before != (down.carried, up.carried) || !quiet.is_armed() {
                    quiet.arm(limit);
                }
                quiet.poll_expired(cx).map(|()| false)
            });
            if !done.await {
                let text =
                    "upstream timed out (110: Connection timed out) while proxying upgraded connection";
                this.reporter.log(Level::Error, format_args!("{text}"));
            }
            let age = clock::ms().saturating_sub(this.begun);
            this.progress.response_ms.set(Some(age));
            this.progress.received.set(down.carried);
            drop(this.hold);
            Carried { to_client_bytes: down.carried, from_client_bytes: up.carried }
        })
    }
}

/// One direction.
struct Lane {
    /// Received and not yet sent on.
    rest: Buf,
    carried: u64,
    ended: bool,
}

impl Lane {
    /// Carries what there is. Ready when this direction is over: all that was received has been sent on, or
    /// nobody takes it.
    fn poll(&mut self, from: &dyn Duplex, to: &dyn Duplex, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..BLOCKS_PER_TURN_MAX {
            while !self.rest.is_empty() {
                match to.poll_send(cx, &self.rest) {
                    Poll::Ready(Ok(n)) => {
                        self.carried += n as u64;
                        self.rest.advance(n);
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.rest = Buf::default();
            if self.ended {
                return Poll::Ready(());
            }
            match from.poll_recv(cx) {
                Poll::Ready(received) => self.take(received),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(&mut self, received: io::Result<Buf>) {
        match received {
            Ok(bytes) if !bytes.is_empty() => self.rest = bytes,
            _ => self.ended = true,
        }
    }
}
