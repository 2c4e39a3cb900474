//! How a zone is purged: by those who ask for it, by other instances, and by requests that change something.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foregate_net::{clock, runtime};

use crate::header::Header;
use crate::held::Held;
use crate::key::Key;
use crate::purge::{NAME_BYTES_MAX, Purge, PurgeTold as Told, Seen, Verdict, What};
use crate::zone::Zone;

/// What a purge has done.
pub struct PurgeDone {
    /// There was something of this key; of wildcards and tags nobody knows.
    pub found: bool,
    /// It holds until the worker ends, and no longer, since the journal cannot be written.
    pub unrecorded: Option<io::Error>,
}

/// Too much was purged lately, or by a name that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Zone {
    /// Nothing that is meant, and came before, is served any more; `soft`: without being found good again.
    ///
    /// # Errors
    /// Too much has been purged lately, or the name is too long.
    pub fn purge(&self, what: Purge<'_>, soft: bool) -> Result<PurgeDone, TooMuch> {
        self.ready();
        let rule = rule(what)?;
        let at_us = self.stamp();
        let kept = self.state.purged.add(rule, soft, at_us);
        if self.spec.redis.is_some() {
            self.state.outbox.put(Told::new(what, soft, at_us));
        }
        Ok(self.clear(what, soft, kept.ok_or(TooMuch)?))
    }

    /// As `purge` of all of these, beside the thread that serves: a journal is a file, and the disk may be busy.
    ///
    /// # Errors
    /// As `purge`; what stands before holds.
    pub fn purge_beside(
        self: &Arc<Self>,
        meant: &[Purge<'_>],
        soft: bool,
    ) -> impl Future<Output = Result<PurgeDone, TooMuch>> + use<> {
        let zone = self.clone();
        let meant: Vec<_> = meant.iter().map(|it| Told::new(*it, soft, 0)).collect();
        runtime::blocking(move || {
            let mut all = PurgeDone { found: false, unrecorded: None };
            for it in &meant {
                let done = zone.purge(it.purge(), soft)?;
                all.found |= done.found;
                all.unrecorded = all.unrecorded.or(done.unrecorded);
            }
            Ok(all)
        })
    }

    /// What was purged before this worker is known before anything is served. Who looks after the zone complains.
    pub(crate) fn ready(&self) {
        if !self.state.purged.is_loaded() {
            _ = self.state.purged.load(&self.state.path, clock::unix_ms() * 1000);
        }
    }

    /// What a purge means goes at once, as far as that is cheap.
    fn clear(&self, what: Purge<'_>, soft: bool, kept: io::Result<()>) -> PurgeDone {
        let found = match what {
            Purge::Key(text) if soft => self.is_known(Key::of(text)),
            Purge::Key(text) => {
                let known = self.state.index.forget(Key::of(text));
                self.state.unlink(Key::of(text)) || known
            }
            _ => {
                self.state.bell.ring();
                true
            }
        };
        PurgeDone { found, unrecorded: kept.err() }
    }

    /// Purges that others have not been told of yet.
    pub fn take_told(&self) -> Vec<Told> {
        self.state.outbox.take()
    }

    /// They could not be told: they will be.
    pub fn put_back_told(&self, told: Vec<Told>) {
        self.state.outbox.put_back(told);
    }

    /// Another instance has purged. `anew`: it was so just now, by whatever clock; else when it says.
    ///
    /// # Errors
    /// As `purge`.
    pub fn hear(&self, told: &Told, anew: bool) -> Result<PurgeDone, TooMuch> {
        self.ready();
        let now_us = self.stamp();
        let at_us = if anew { now_us } else { told.at_us.min(now_us) };
        let what = told.purge();
        let rule = rule(what)?;
        let kept = self.state.purged.add(rule, told.soft, at_us);
        // An object of this very key may be younger than what is told late.
        let what = if anew { what } else { Purge::Prefix(b"") };
        Ok(self.clear(what, told.soft, kept.ok_or(TooMuch)?))
    }

    fn is_known(&self, main: Key) -> bool {
        self.state.index.knows(main) || (self.state.cold.load(Ordering::Relaxed) && self.path(main).exists())
    }

    /// As `purge`, where something may be kept under this key: what a request has changed (RFC 9111, section 4.4).
    pub fn invalidate(&self, text: &[u8]) {
        if self.is_known(Key::of(text)) {
            // Where too much is purged already, the object itself has gone all the same.
            _ = self.purge(Purge::Key(text), false);
        }
    }

    /// Whether what is in memory has been purged; looked up anew only where a purge has come since.
    pub(crate) fn is_purged(&self, held: &Held) -> bool {
        let generation = self.state.purged.generation();
        if held.clean_at.load(Ordering::Relaxed) == generation {
            return false;
        }
        let good = self.state.purged.verdict(&seen(&held.header, &held.bytes)) == Verdict::Good;
        match good {
            false => self.state.memory.forget(held.key()),
            true => held.clean_at.store(generation, Ordering::Relaxed),
        }
        !good
    }
}

fn rule(what: Purge<'_>) -> Result<What, TooMuch> {
    Ok(match what {
        Purge::Key(text) => What::Key(Key::of(text)),
        Purge::Prefix(name) | Purge::Tag(name) if name.len() > NAME_BYTES_MAX => return Err(TooMuch),
        Purge::Prefix(prefix) => What::Prefix(prefix.into()),
        Purge::Tag(tag) => What::Tag(tag.into()),
    })
}

/// What the purges look at.
pub(crate) fn seen<'a>(header: &Header, bytes: &'a [u8]) -> Seen<'a> {
    Seen {
        main: header.main,
        text: &bytes[header.text.clone()],
        head: &bytes[header.head.clone()],
        created_us: header.created_us,
        dated_s: header.life.dated_s,
    }
}
