//! What was purged: objects that came before the purge are not served any more, wherever they still lie.
//!
//! The file of the purged key itself goes at once. Other representations of it (`Vary`), all that a wildcard or a tag
//! names, and what was being fetched meanwhile is found out when it is asked for: however much a purge means, making it
//! is one entry in a table. A rule stays until everything that is older has been asked for, or has not been asked for too
//! long; it lies in a journal beside the objects, and a restart finds it there.

mod journal;
mod outbox;
mod tags;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use crate::key::{AsItIs, Key};
use journal::{Journal, Record};
pub(crate) use outbox::Outbox;
pub use outbox::PurgeTold;
pub use tags::tags;

/// Rules at once; more keys and wildcards are refused. Too many tags count as all of them.
const EXACT_MAX: usize = 100_000;
const PREFIXES_MAX: usize = 256;
const TAGS_MAX: usize = 100_000;
/// A longer tag or wildcard is refused, bytes.
pub(crate) const NAME_BYTES_MAX: usize = 4096;

/// How much longer than `inactive` a rule stays: for what was being fetched when it was made.
const LONGEST_FETCH_US: u64 = 3_600_000_000;

const SECOND_US: u64 = 1_000_000;

/// What is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge<'a> {
    /// What has this key's text.
    Key(&'a [u8]),
    /// All whose keys begin like this.
    Prefix(&'a [u8]),
    /// All whose answers named this tag (`Cache-Tag`, `Surrogate-Key`).
    Tag(&'a [u8]),
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Key(Key),
    Prefix(Box<[u8]>),
    Tag(Box<[u8]>),
    /// Whatever has a tag.
    Tagged,
}

/// When something was last purged, microseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps {
    /// What is older is gone.
    hard_us: u64,
    /// What is older, and has not been found good since, is out of date.
    soft_us: u64,
}

/// What is known of an object when it is looked at.
pub(crate) struct Seen<'a> {
    pub(crate) main: Key,
    pub(crate) text: &'a [u8],
    pub(crate) head: &'a [u8],
    pub(crate) created_us: u64,
    /// When it came or was last found good, seconds since the epoch.
    pub(crate) dated_s: i64,
}

/// What the purges say of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    /// Out of date since then, seconds since the epoch.
    Stale(i64),
    Gone,
}

#[derive(Default)]
pub(crate) struct Purged {
    rules: RwLock<Rules>,
    journal: Mutex<Journal>,
    loaded: OnceLock<()>,
    /// Looked at for every object that is served.
    n: AtomicUsize,
    /// The last purge of all: what is younger was not meant by any.
    newest_us: AtomicU64,
    /// Rules that were there before this: what they mean may have been found again at the start.
    loaded_us: AtomicU64,
    /// How many have come, ever: what was found not to be meant need not be looked up again until another comes.
    generation: AtomicU64,
    /// A wildcard or a tag has come whose files have not been removed.
    to_sweep: AtomicBool,
}

#[derive(Default)]
struct Rules {
    /// By main key.
    exact: HashMap<Key, Stamps, AsItIs>,
    prefixes: Vec<(Box<[u8]>, Stamps)>,
    tags: HashMap<Box<[u8]>, Stamps>,
    tagged: Stamps,
}

impl Purged {
    /// Reads what a worker before this one has purged. Once, before anything is served.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub(crate) fn load(&self, folder: &Path, now_us: u64) -> io::Result<()> {
        let mut done = Ok(());
        self.loaded.get_or_init(|| {
            let mut journal = self.journal();
            let records = match journal.open(folder) {
                Ok(records) => records,
                Err(error) => {
                    done = Err(error);
                    return;
                }
            };
            let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            for record in records {
                self.newest_us.fetch_max(record.at_us, Ordering::Relaxed);
                rules.add(record);
            }
            self.loaded_us.store(now_us, Ordering::Relaxed);
            self.to_sweep.store(!rules.prefixes.is_empty() || !rules.tags.is_empty(), Ordering::Relaxed);
            self.count(&rules);
            if !journal.is_empty() {
                done = journal.rewrite(&rules.records());
            }
        });
        done
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.get().is_some()
    }

    /// `None`: there are too many rules already. An error is the journal's: the purge holds, but not over a restart.
    pub(crate) fn add(&self, what: What, soft: bool, at_us: u64) -> Option<io::Result<()>> {
        let mut journal = self.journal();
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let sweeps = !soft && !matches!(what, What::Key(_));
        let record = Record { what, soft, at_us };
        let record = rules.add(record)?;
        self.newest_us.fetch_max(at_us, Ordering::Relaxed);
        self.to_sweep.fetch_or(sweeps, Ordering::Relaxed);
        self.count(&rules);
        drop(rules);
        Some(journal.append(&record))
    }

    /// Read before `verdict`: as long as it stays the same, so does what `verdict` says.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether an object is older than a purge that means it.
    pub(crate) fn verdict(&self, seen: &Seen<'_>) -> Verdict {
        if self.n.load(Ordering::Acquire) == 0 || seen.created_us > self.newest_us.load(Ordering::Relaxed) {
            return Verdict::Good;
        }
        let stamps = self.read().of(seen);
        let dated_us = u64::try_from(seen.dated_s).unwrap_or(0).saturating_mul(SECOND_US);
        if seen.created_us <= stamps.hard_us {
            Verdict::Gone
        } else if seen.created_us.max(dated_us) <= stamps.soft_us {
            Verdict::Stale((stamps.soft_us / SECOND_US).cast_signed() - 1)
        } else {
            Verdict::Good
        }
    }

    /// Forgets rules that mean nothing any more.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub(crate) fn forget_old(&self, now_us: u64, inactive_us: u64) -> io::Result<()> {
        let since = now_us.saturating_sub(inactive_us.saturating_add(LONGEST_FETCH_US));
        if self.n.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let since = match self.loaded_us.load(Ordering::Relaxed) {
            // What a worker before this one has kept was found again when this one began, as if it had just been asked for.
            loaded_us if loaded_us >= since => 0,
            _ => since,
        };
        let stays = |it: &Stamps| it.hard_us.max(it.soft_us) >= since;
        // Who serves reads the rules as well, and is held up only where something goes.
        let mut journal = self.journal();
        let all_stay = self.read().all(stays);
        if all_stay && !journal.has_grown() {
            return Ok(());
        }
        if !all_stay {
            let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            rules.exact.retain(|_, it| stays(it));
            rules.prefixes.retain(|(_, it)| stays(it));
            rules.tags.retain(|_, it| stays(it));
            if !stays(&rules.tagged) {
                rules.tagged = Stamps::default();
            }
            self.n.store(rules.len(), Ordering::Release);
        }
        let records = self.read().records();
        journal.rewrite(&records)
    }

    /// Whether files are to be looked through, from now on.
    pub(crate) fn take_sweep(&self) -> bool {
        self.to_sweep.swap(false, Ordering::Relaxed)
    }

    fn count(&self, rules: &Rules) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.n.store(rules.len(), Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rules {
    fn len(&self) -> usize {
        let tagged = usize::from(self.tagged != Stamps::default());
        self.exact.len() + self.prefixes.len() + self.tags.len() + tagged
    }

    /// Whether this holds of every rule.
    fn all(&self, mut holds: impl FnMut(&Stamps) -> bool) -> bool {
        let named = self.exact.values().chain(self.tags.values()).chain(self.prefixes.iter().map(|it| &it.1));
        let tagged = Some(&self.tagged).filter(|it| **it != Stamps::default());
        named.chain(tagged).all(&mut holds)
    }

    /// Takes a rule in; what has become of it. `None`: there are too many.
    fn add(&mut self, record: Record) -> Option<Record> {
        let Record { what, soft, at_us } = record;
        let what = match what {
            What::Tag(_) if self.tags.len() >= TAGS_MAX => {
                // Better too much than too little: whatever has a tag.
                self.tags.clear();
                What::Tagged
            }
            what => what,
        };
        let stamps = match &what {
            What::Key(key) if self.exact.len() >= EXACT_MAX && !self.exact.contains_key(key) => return None,
            What::Key(key) => self.exact.entry(*key).or_default(),
            What::Prefix(prefix) => {
                if !soft {
                    // A wider one takes the place of narrower ones.
                    self.prefixes.retain(|(it, _)| it == prefix || !it.starts_with(prefix));
                }
                let known = self.prefixes.iter().position(|(it, _)| it == prefix);
                let at = match known {
                    Some(at) => at,
                    None if self.prefixes.len() >= PREFIXES_MAX => return None,
                    None => {
                        self.prefixes.push((prefix.clone(), Stamps::default()));
                        self.prefixes.len() - 1
                    }
                };
                &mut self.prefixes[at].1
            }
            What::Tag(tag) => self.tags.entry(tag.clone()).or_default(),
            What::Tagged => &mut self.tagged,
        };
        let slot = if soft { &mut stamps.soft_us } else { &mut stamps.hard_us };
        *slot = at_us.max(*slot);
        Some(Record { what, soft, at_us })
    }

    /// All that means an object, together.
    fn of(&self, seen: &Seen<'_>) -> Stamps {
        let mut all = self.exact.get(&seen.main).copied().unwrap_or_default();
        let meant = self.prefixes.iter().filter(|(it, _)| seen.text.starts_with(it));
        meant.for_each(|(_, it)| all.join(*it));
        if !self.tags.is_empty() || self.tagged != Stamps::default() {
            for tag in tags(seen.head) {
                all.join(self.tagged);
                self.tags.get(tag).into_iter().for_each(|it| all.join(*it));
            }
        }
        all
    }

    fn records(&self) -> Vec<Record> {
        let mut all = Vec::new();
        let mut add = |what: What, stamps: &Stamps| {
            for (soft, at_us) in [(false, stamps.hard_us), (true, stamps.soft_us)] {
                if at_us > 0 {
                    all.push(Record { what: what.clone(), soft, at_us });
                }
            }
        };
        self.exact.iter().for_each(|(key, it)| add(What::Key(*key), it));
        self.prefixes.iter().for_each(|(prefix, it)| add(What::Prefix(prefix.clone()), it));
        self.tags.iter().for_each(|(tag, it)| add(What::Tag(tag.clone()), it));
        add(What::Tagged, &self.tagged);
        all
    }
}

impl Stamps {
    fn join(&mut self, other: Self) {
        self.hard_us = self.hard_us.max(other.hard_us);
        self.soft_us = self.soft_us.max(other.soft_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen<'a>(text: &'a str, head: &'a str, created_us: u64) -> Seen<'a> {
        Seen {
            main: Key::of(text.as_bytes()),
            text: text.as_bytes(),
            head: head.as_bytes(),
            created_us,
            dated_s: 0,
        }
    }

    fn add(purged: &Purged, what: What, soft: bool, at_us: u64) -> bool {
        purged.add(what, soft, at_us).is_some()
    }

    fn prefix(text: &str) -> What {
        What::Prefix(text.as_bytes().into())
    }

    fn tag(text: &str) -> What {
        What::Tag(text.as_bytes().into())
    }

    #[test]
    fn what_is_older_is_gone() {
        let purged = Purged::default();
        let gone = |text: &str, at| purged.verdict(&seen(text, "", at)) == Verdict::Gone;
        assert!(!gone("/a", 0));
        assert!(add(&purged, What::Key(Key::of(b"/a")), false, 10) && add(&purged, prefix("/b/"), false, 20));
        assert_eq!([gone("/a", 10), gone("/a", 11), gone("/ab", 1)], [true, false, false]);
        assert_eq!([gone("/b/c", 20), gone("/b/", 21), gone("/b", 1)], [true, false, false]);
        assert!(purged.take_sweep() && !purged.take_sweep());
        purged.forget_old(LONGEST_FETCH_US + 120, 105).expect("because nothing is written");
        assert_eq!([gone("/a", 10), gone("/b/c", 20)], [false, true]);
    }

    #[test]
    fn what_has_a_tag_is_found_by_it() {
        let purged = Purged::default();
        let head = "HTTP/1.1 200 OK\r\nCache-Tag: one, two\r\nsurrogate-key: three four\r\n\r\n";
        assert!(add(&purged, tag("two"), false, 10));
        assert_eq!(purged.verdict(&seen("/a", head, 10)), Verdict::Gone);
        assert_eq!(purged.verdict(&seen("/a", head, 11)), Verdict::Good);
        assert_eq!(
            purged.verdict(&seen("/a", "HTTP/1.1 200 OK\r\nCache-Tag: twos\r\n\r\n", 10)),
            Verdict::Good
        );
        assert!(add(&purged, tag("four"), true, 20_000_000));
        assert_eq!(purged.verdict(&seen("/a", head, 11)), Verdict::Stale(19));
        let renewed = Seen { dated_s: 21, ..seen("/a", head, 11) };
        assert_eq!(purged.verdict(&renewed), Verdict::Good);
    }

    #[test]
    fn too_many_tags_are_all_of_them() {
        let purged = Purged::default();
        (0..=TAGS_MAX).for_each(|n| assert!(add(&purged, tag(&n.to_string()), false, 10)));
        let tagged = "HTTP/1.1 200 OK\r\nCache-Tag: x\r\n\r\n";
        assert_eq!(purged.verdict(&seen("/a", tagged, 10)), Verdict::Gone);
        assert_eq!(purged.verdict(&seen("/a", "HTTP/1.1 200 OK\r\n\r\n", 10)), Verdict::Good);
    }

    #[test]
    fn a_wider_wildcard_takes_the_place_of_narrower_ones() {
        let purged = Purged::default();
        for n in 0..PREFIXES_MAX {
            assert!(add(&purged, prefix(&format!("/a/{n:04}/")), false, 1));
        }
        assert!(!add(&purged, prefix("/b/"), false, 1));
        assert!(add(&purged, prefix("/a/"), false, 2) && add(&purged, prefix("/b/"), false, 2));
    }

    #[test]
    fn a_restart_remembers() {
        let folder = std::env::temp_dir().join(format!("foregate-purged-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("because it is ours");
        let purged = Purged::default();
        purged.load(&folder, 5).expect("because the folder is there");
        assert!(add(&purged, What::Key(Key::of(b"/a")), false, 10));
        assert!(add(&purged, tag("t"), true, 20_000_000) && add(&purged, prefix("/b/"), false, 30));
        let again = Purged::default();
        again.load(&folder, 40).expect("because the journal is there");
        assert_eq!(again.verdict(&seen("/a", "", 10)), Verdict::Gone);
        assert_eq!(again.verdict(&seen("/b/1", "", 30)), Verdict::Gone);
        assert_eq!(
            again.verdict(&seen("/c", "HTTP/1.1 200 OK\r\nCache-Tag: t\r\n\r\n", 10)),
            Verdict::Stale(19)
        );
        again.forget_old(40 + 2 * LONGEST_FETCH_US, 1).expect("because the folder is there");
        let later = Purged::default();
        later.load(&folder, 50).expect("because the journal is there");
        assert_eq!(later.verdict(&seen("/a", "", 10)), Verdict::Good);
        _ = std::fs::remove_dir_all(folder);
    }
}
