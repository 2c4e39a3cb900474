//! Waiting for a peer: no longer than allowed, and only while the client waits as well.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use foregate_core::Client;
use foregate_net::clock::Deadline;

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    TimedOut,
    ClientGone,
}

/// Runs `work` until it is done, `limit` is over or the client is gone. Work that is done at once costs no timer.
pub(crate) async fn guarded<T>(
    deadline: &Deadline,
    limit: Duration,
    client: Option<&dyn Client>,
    work: impl Future<Output = T>,
) -> Result<T, Cut> {
    let mut work = pin!(work);
    let mut waits = false;
    let done = poll_fn(|cx| {
        if let Poll::Ready(value) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if !waits {
            deadline.arm(limit);
            waits = true;
        }
        if deadline.poll_expired(cx).is_ready() {
            return Poll::Ready(Err(Cut::TimedOut));
        }
        match client {
            Some(client) => client.poll_gone(cx).map(|()| Err(Cut::ClientGone)),
            None => Poll::Pending,
        }
    });
    let done = done.await;
    if waits {
        deadline.disarm();
    }
    done
}
