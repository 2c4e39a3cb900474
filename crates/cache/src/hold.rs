//! An object that is being fetched: held in the index, perhaps with the only right to fetch it.

use std::sync::Arc;

use crate::key::Key;
use crate::zone::State;

/// Dropped, it lets go of the object, and of the right to fetch it: whoever waits for that is woken.
pub struct Hold {
    pub(crate) state: Arc<State>,
    pub(crate) key: Key,
    /// The right's number.
    right: Option<u64>,
    /// The index remembers how often it was asked for, though there is no file.
    counts: bool,
    error: Option<(u16, u32)>,
    /// The upstream has answered.
    answered: bool,
}

impl Hold {
    pub(crate) fn new(state: Arc<State>, key: Key, right: Option<u64>, counts: bool) -> Self {
        Self { state, key, right, counts, error: None, answered: false }
    }

    /// Nobody else is to fetch it meanwhile.
    pub fn is_right(&self) -> bool {
        self.right.is_some()
    }

    /// The upstream has answered: unless the answer is kept, nobody is to wait for another.
    pub fn answered(&mut self) {
        self.answered = true;
    }

    /// The upstream failed: so many seconds everybody is told so at once.
    pub fn remember_error(&mut self, status: u16, until_s: i64) {
        self.error = Some((status, u32::try_from(until_s).unwrap_or(u32::MAX)));
    }

    /// The same for another key: what was fetched turned out to be kept there.
    pub(crate) fn moved(self, key: Key, now_s: u32, inactive_s: u32) -> Self {
        let (state, counts) = (self.state.clone(), self.counts);
        drop(self);
        state.index.ask(key, now_s, inactive_s, 1, false);
        state.index.hold(key);
        Self::new(state, key, None, counts)
    }

    /// Its file has taken its place; it is removed where the index has no room for it.
    pub(crate) fn stored(&mut self, bytes: u64) {
        self.state.memory.forget(self.key);
        match self.state.index.stored(self.key, bytes) {
            true => self.state.relieve(bytes),
            false => _ = self.state.unlink(self.key),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.error.is_some() {
            // What is remembered is the error, as nginx has it.
            self.state.memory.forget(self.key);
        }
        self.state.index.release(self.key, self.right, self.counts, self.error, self.answered);
    }
}
