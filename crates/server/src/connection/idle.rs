//! The connections of one thread that wait for a request, the one that waits for longest first.

use std::task::Waker;

use super::places::Places;

/// No entry.
const NONE: u32 = u32::MAX;

/// At most this many connections are closed at once to make room for others, as nginx's.
const MADE_ROOM_MAX: usize = 32;

/// At least one in this many of those that wait is.
const MADE_ROOM_SHARE: usize = 8;

/// A list without an allocation per change: a connection keeps one place in it for as long as it lives.
#[derive(Default)]
pub(super) struct Idle {
    entries: Places<Entry>,
    /// Places given out so far.
    n_places: u32,
    free: Vec<u32>,
    ends: Option<Ends>,
    len: usize,
    /// The parked ones that were told to close and have not yet been asked for.
    told: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

#[derive(Default)]
struct Entry {
    prev: u32,
    next: u32,
    waits: bool,
    /// It has no task: the waker is that of the task which looks after all such.
    parked: bool,
    /// Who is to be woken: kept while the connection does not wait, because it will be the same the next time.
    waker: Option<Waker>,
    /// Its place is wanted: it is to close.
    unwanted: bool,
}

impl Idle {
    /// A place for a new connection.
    pub(super) fn add(&mut self) -> u32 {
        if let Some(at) = self.free.pop() {
            return at;
        }
        let at = self.n_places;
        self.n_places += 1;
        *self.entries.get_mut(at) = Entry::default();
        at
    }

    /// The connection is gone.
    pub(super) fn remove(&mut self, at: u32) {
        self.leave(at);
        let entry = &mut self.entries[at];
        entry.unwanted = false;
        entry.waker = None;
        self.free.push(at);
    }

    /// The connection waits from now on, or still does. `false`: it is to close instead.
    pub(super) fn wait(&mut self, at: u32, waker: &Waker) -> bool {
        let entry = &mut self.entries[at];
        if entry.unwanted {
            return false;
        }
        if !entry.waker.as_ref().is_some_and(|it| it.will_wake(waker)) {
            entry.waker = Some(waker.clone());
        }
        if !std::mem::replace(&mut entry.waits, true) {
            self.append(at);
        }
        true
    }

    fn append(&mut self, at: u32) {
        self.len += 1;
        let last = self.ends.map_or(NONE, |ends| ends.last);
        (self.entries[at].prev, self.entries[at].next) = (last, NONE);
        match &mut self.ends {
            Some(ends) => {
                self.entries[last].next = at;
                ends.last = at;
            }
            None => self.ends = Some(Ends { first: at, last: at }),
        }
    }

    /// The connection that waits here has no task any more; its place among the others stays.
    pub(super) fn park(&mut self, at: u32, waker: &Waker) {
        let entry = &mut self.entries[at];
        entry.parked = true;
        entry.waker = Some(waker.clone());
    }

    /// The parked connections that are to close.
    pub(super) fn take_unwanted(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.told)
    }

    /// The connection does not wait any more.
    pub(super) fn leave(&mut self, at: u32) {
        let entry = &mut self.entries[at];
        entry.parked = false;
        if !std::mem::take(&mut entry.waits) {
            return;
        }
        self.len -= 1;
        let (prev, next) = (entry.prev, entry.next);
        if prev != NONE {
            self.entries[prev].next = next;
        }
        if next != NONE {
            self.entries[next].prev = prev;
        }
        let Some(ends) = &mut self.ends else { return };
        match (prev, next) {
            (NONE, NONE) => self.ends = None,
            (NONE, _) => ends.first = next,
            (_, NONE) => ends.last = prev,
            _ => {}
        }
    }

    /// Tells some of those that wait for longest to close; whether there were any.
    pub(super) fn make_room(&mut self) -> bool {
        let n = (self.len / MADE_ROOM_SHARE).clamp(1, MADE_ROOM_MAX);
        let mut found = false;
        for _ in 0..n {
            let Some(Ends { first, .. }) = self.ends else { break };
            self.told.extend(Some(first).filter(|_| self.entries[first].parked));
            self.leave(first);
            let entry = &mut self.entries[first];
            entry.unwanted = true;
            entry.waker.iter().for_each(Waker::wake_by_ref);
            found = true;
        }
        found
    }

    /// Wakes all that wait: draining has begun.
    pub(super) fn wake_all(&self) {
        let waiting = self.entries.iter().map(|(_, entry)| entry).filter(|entry| entry.waits);
        waiting.filter_map(|entry| entry.waker.as_ref()).for_each(Waker::wake_by_ref);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(idle: &Idle) -> Vec<u32> {
        let mut at = idle.ends.map_or(NONE, |ends| ends.first);
        let mut all = Vec::new();
        while at != NONE {
            all.push(at);
            at = idle.entries[at].next;
        }
        assert_eq!(all.len(), idle.len);
        all
    }

    #[test]
    fn who_waits_for_longest_goes_first() {
        let mut idle = Idle::default();
        let waker = Waker::noop();
        let places: Vec<u32> = (0..20).map(|_| idle.add()).collect();
        places.iter().for_each(|&at| assert!(idle.wait(at, waker)));
        idle.leave(0);
        assert!(idle.wait(0, waker));
        idle.leave(7);
        idle.remove(19);
        assert_eq!(waiting(&idle)[..3], [1, 2, 3]);
        assert_eq!(waiting(&idle)[17..], [0]);
        assert!(idle.make_room());
        assert_eq!(waiting(&idle)[..2], [3, 4]);
        assert!(!idle.wait(1, waker) && idle.wait(7, waker));
        assert!(idle.take_unwanted().is_empty());
        idle.park(3, waker);
        assert!(idle.make_room());
        assert_eq!(idle.take_unwanted(), [3]);
        assert_eq!(idle.add(), 19);
        (0..20).for_each(|at| idle.remove(at));
        assert!(waiting(&idle).is_empty() && !idle.make_room());
    }
}
