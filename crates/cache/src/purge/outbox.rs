//! Purges that other instances are to be told of.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Purge;

/// While nobody can be told, so many wait; then the oldest are forgotten.
const WAITING_MAX: usize = 10_000;

/// A purge as instances tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeTold {
    /// `key`, `prefix` or `tag`.
    pub kind: &'static str,
    pub text: Vec<u8>,
    pub soft: bool,
    /// Microseconds since the epoch, by the clock of whoever tells it.
    pub at_us: u64,
}

impl PurgeTold {
    pub(crate) fn new(what: Purge<'_>, soft: bool, at_us: u64) -> Self {
        let (kind, text) = match what {
            Purge::Key(text) => ("key", text),
            Purge::Prefix(text) => ("prefix", text),
            Purge::Tag(text) => ("tag", text),
        };
        Self { kind, text: text.to_vec(), soft, at_us }
    }

    /// What somebody else says. `None`: nothing that is known here.
    pub fn read(kind: &[u8], text: &[u8], soft: bool, at_us: u64) -> Option<Self> {
        let kind = ["key", "prefix", "tag"].into_iter().find(|it| it.as_bytes() == kind)?;
        Some(Self { kind, text: text.to_vec(), soft, at_us })
    }

    pub(crate) fn purge(&self) -> Purge<'_> {
        match self.kind {
            "key" => Purge::Key(&self.text),
            "prefix" => Purge::Prefix(&self.text),
            _ => Purge::Tag(&self.text),
        }
    }
}

#[derive(Default)]
pub(crate) struct Outbox(Mutex<VecDeque<PurgeTold>>);

impl Outbox {
    pub(crate) fn put(&self, told: PurgeTold) {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(told);
    }

    pub(crate) fn take(&self) -> Vec<PurgeTold> {
        self.lock().drain(..).collect()
    }

    pub(crate) fn put_back(&self, told: Vec<PurgeTold>) {
        let mut waiting = self.lock();
        told.into_iter().rev().for_each(|it| waiting.push_front(it));
        let excess = waiting.len().saturating_sub(WAITING_MAX);
        waiting.drain(..excess);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<PurgeTold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
