//! What is known of each peer that was asked for one exchange: what `$upstream_…` shows.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use foregate_wire::{Buf, Fields};

use crate::peer::Peer;
use crate::views::View;

/// Who was asked.
#[derive(Clone)]
pub enum Asked {
    Peer {
        view: Rc<View>,
        tier: usize,
        idx: usize,
    },
    /// Nobody: no peer of the group was alive.
    Group(Rc<View>),
}

impl Asked {
    /// `127.0.0.1:80`, or the group's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Group(view) => &view.name,
            Self::Peer { .. } => self.peer().map_or("", |it| &it.name),
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        self.peer().is_some_and(|it| it.addr.is_unix())
    }

    fn peer(&self) -> Option<&Peer> {
        let Self::Peer { view, tier, idx } = self else { return None };
        view.peers.tiers.get(*tier)?.peers.get(*idx).map(|it| &**it)
    }
}

/// One peer's try. Times are milliseconds from its start.
#[derive(Clone, Default)]
pub struct Attempt {
    /// Unset in the entry that stands between two upstreams (before and behind an internal redirect).
    pub peer: Option<Asked>,
    /// 0 until it answered.
    pub status: u16,
    pub connect_ms: Option<u64>,
    pub header_ms: Option<u64>,
    pub response_ms: Option<u64>,
    pub bytes_sent: u64,
    /// Head included.
    pub bytes_received: u64,
    /// Bytes behind the head, framing included.
    pub response_bytes: u64,
}

/// The note of an exchange: who asks the peers holds it as well, meanwhile.
pub type AttemptsNote = RefCell<Attempts>;

/// All tries of an exchange.
#[derive(Clone, Default)]
pub struct Attempts {
    /// The first is kept apart, for there is hardly ever a second.
    first: Attempt,
    more: Vec<Attempt>,
    /// `clock::ms` of the last try's start.
    begun: Option<u64>,
    n: usize,
    /// How long the exchange has waited in a group's queue, milliseconds.
    pub queued_ms: u64,
    /// The last try's head as received: `$upstream_http_…` looks into it.
    pub head: Buf,
    /// Of the last try, where its body goes on behind this note's back.
    pub(crate) live: Option<Rc<Progress>>,
}

/// What a body that is still being read tells.
#[derive(Default)]
pub(crate) struct Progress {
    /// Of a request that goes on behind its answer's head.
    pub(crate) sent: Cell<u64>,
    pub(crate) received: Cell<u64>,
    pub(crate) response_ms: Cell<Option<u64>>,
    pub(crate) trailers: RefCell<Option<Fields>>,
}

impl Attempts {
    /// Begins with an upstream; earlier ones of this exchange are set apart.
    pub(crate) fn separate(&mut self) {
        if self.n > 0 {
            self.settle();
            self.push(Attempt::default());
        }
    }

    pub(crate) fn begin(&mut self, now: u64) {
        self.settle();
        self.begun = Some(now);
        self.head = Buf::default();
        self.push(Attempt::default());
    }

    fn push(&mut self, attempt: Attempt) {
        match self.n {
            0 => self.first = attempt,
            _ => self.more.push(attempt),
        }
        self.n += 1;
    }

    pub(crate) fn last(&mut self) -> &mut Attempt {
        self.more.last_mut().unwrap_or(&mut self.first)
    }

    /// Milliseconds since the last try began.
    pub(crate) fn age_ms(&self, now: u64) -> u64 {
        self.begun.map_or(0, |it| now.saturating_sub(it))
    }

    pub(crate) fn begun(&self) -> Option<u64> {
        self.begun
    }

    /// The last try is over.
    pub(crate) fn end(&mut self, now: u64) {
        let age = self.age_ms(now);
        let last = self.last();
        last.response_ms = last.response_ms.or(Some(age));
    }

    /// Takes over what a body told since.
    fn settle(&mut self) {
        if let Some(live) = self.live.take() {
            let last = self.last();
            live.add_to(last);
        }
    }

    /// The tries so far, with what their bodies tell by now.
    pub fn list(&self) -> Vec<Attempt> {
        let mut list = Vec::with_capacity(self.n);
        list.extend((self.n > 0).then(|| self.first.clone()));
        list.extend(self.more.iter().cloned());
        if let (Some(live), Some(last)) = (&self.live, list.last_mut()) {
            live.add_to(last);
        }
        list
    }

    /// A trailer field of the last try.
    pub fn trailer(&self, name: &[u8]) -> Option<Vec<u8>> {
        let trailers = self.live.as_ref()?.trailers.borrow();
        trailers.as_ref()?.get(name).map(<[u8]>::to_vec)
    }

    /// The lines of the last try's head, names and values, without its first line.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

impl Progress {
    fn add_to(&self, attempt: &mut Attempt) {
        attempt.bytes_sent += self.sent.get();
        attempt.bytes_received += self.received.get();
        attempt.response_bytes += self.received.get();
        attempt.response_ms = self.response_ms.get();
    }
}
