//! An upgraded connection: bytes both ways until one side ends.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use foregate_core::{Carried, Duplex, Level, Reporter, Tunnel};
use foregate_net::clock;
use foregate_net::runtime::Gather;
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
            let mut down = Lane::new(this.rest);
            let mut up = Lane::new(early);
            let mut quiet = Quiet::new();
            let done = poll_fn(|cx| {
                let before = down.carried + up.carried;
                if down.poll(&this.link.conn, &*client, cx).is_ready()
                    | up.poll(&*client, &this.link.conn, cx).is_ready()
                {
                    return Poll::Ready(true);
                }
                // The peer's silence counts, as does a peer or a client that takes nothing.
                let limit = if up.rest.is_empty() { this.read_timeout } else { this.send_timeout };
                quiet.poll(cx, before != down.carried + up.carried, limit).map(|()| false)
            });
            if !done.await {
                let text =
                    "upstream timed out (110: Connection timed out) while proxying upgraded connection";
                this.reporter.log(Level::Error, format_args!("{text}"));
            }
            let age = clock::ms().saturating_sub(this.begun);
            this.progress.response_ms.set(Some(age));
            this.progress.sent.set(up.carried);
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
    gather: Gather,
}

impl Lane {
    fn new(rest: Buf) -> Self {
        Self { rest, carried: 0, ended: false, gather: Gather::default() }
    }

    /// Carries what there is. Ready when this direction is over: all that was received has been sent on, or
    /// nobody takes it.
    fn poll(&mut self, from: &dyn Duplex, to: &dyn Duplex, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..BLOCKS_PER_TURN_MAX {
            if !self.rest.is_empty() {
                let mut rest = std::mem::take(&mut self.rest);
                ready!(self.pass(&mut rest, to, cx));
            }
            // What TLS has taken may not have left yet.
            if ready!(to.poll_flush(cx)).is_err() || self.ended {
                return Poll::Ready(());
            }
            match ready!(from.poll_recv(cx)) {
                Ok(mut bytes) if !bytes.is_empty() => ready!(self.pass(&mut bytes, to, cx)),
                _ => self.ended = true,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends `bytes` on and keeps what is not taken. Ready when all is, and, with `ended` set, when nobody takes it.
    fn pass(&mut self, bytes: &mut Buf, to: &dyn Duplex, cx: &mut Context<'_>) -> Poll<()> {
        if self.gather.poll().is_pending() {
            self.rest = std::mem::take(bytes);
            return Poll::Pending;
        }
        while !bytes.is_empty() {
            match to.poll_send(cx, bytes) {
                Poll::Ready(Ok(n)) => {
                    self.carried += n as u64;
                    bytes.advance(n);
                }
                Poll::Ready(Err(_)) => {
                    self.ended = true;
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    self.rest = std::mem::take(bytes);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }
}

/// How long nothing has been carried. What is carried is noted only: the timer is moved when it expires.
struct Quiet {
    deadline: clock::Deadline,
    limit: Duration,
    /// By `clock::ms`.
    since_ms: u64,
}

impl Quiet {
    fn new() -> Self {
        Self { deadline: clock::Deadline::new(), limit: Duration::ZERO, since_ms: clock::ms() }
    }

    /// Ready when nothing has moved for `limit`. The same task must poll it each time.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool, limit: Duration) -> Poll<()> {
        if moved {
            self.since_ms = clock::ms();
        }
        if limit == self.limit && self.deadline.is_armed() && !self.deadline.has_expired() {
            return Poll::Pending;
        }
        self.limit = limit;
        let quiet_for = Duration::from_millis(clock::ms().saturating_sub(self.since_ms));
        if self.deadline.has_expired() && quiet_for >= limit {
            return Poll::Ready(());
        }
        self.deadline.arm(limit.saturating_sub(quiet_for));
        self.deadline.poll_expired(cx)
    }
}
