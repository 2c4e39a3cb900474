//! Sessions kept by the server, for clients that come back with a session's number (nginx: ssl_session_cache).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

use rustls::server::StoresServerSessions;

use super::tickets::now_s;

/// Memory taken for one session: about 4000 of them fit into a megabyte, as with nginx.
const SESSION_BYTES: u64 = 256;
/// The fewest and the most sessions of one store, whatever its size.
const SESSIONS_MIN: u64 = 16;
const SESSIONS_MAX: u64 = 10_000_000;

/// One store, shared by all threads; only handshakes touch it.
pub struct Sessions {
    stored: Mutex<Stored>,
    n_max: usize,
}

#[derive(Default)]
struct Stored {
    by_number: HashMap<Vec<u8>, Session>,
    /// The oldest first; some may be gone already.
    order: VecDeque<Vec<u8>>,
}

struct Session {
    until_s: u64,
    value: Vec<u8>,
}

impl Sessions {
    /// A store of so many bytes.
    pub fn of_bytes(bytes: u64) -> Sessions {
        let n_max = (bytes / SESSION_BYTES).clamp(SESSIONS_MIN, SESSIONS_MAX);
        Sessions { stored: Mutex::default(), n_max: n_max as usize }
    }

    /// The store as servers of one context see it, which alone take up each other's sessions.
    pub fn for_context(self: &Arc<Sessions>, context: &[u8], lifetime_s: u32) -> SessionView {
        SessionView { sessions: self.clone(), context: context.to_vec(), lifetime_s }
    }

    fn put(&self, number: Vec<u8>, session: Session) -> bool {
        let Ok(mut stored) = self.stored.lock() else { return false };
        while stored.order.len() >= self.n_max {
            let Some(oldest) = stored.order.pop_front() else { break };
            stored.by_number.remove(&oldest);
        }
        stored.order.push_back(number.clone());
        stored.by_number.insert(number, session);
        true
    }
}

/// A store for one context.
pub struct SessionView {
    sessions: Arc<Sessions>,
    context: Vec<u8>,
    lifetime_s: u32,
}

impl SessionView {
    fn key(&self, number: &[u8]) -> Vec<u8> {
        [number, &self.context].concat()
    }
}

impl StoresServerSessions for SessionView {
    fn put(&self, number: Vec<u8>, value: Vec<u8>) -> bool {
        let until_s = now_s() + u64::from(self.lifetime_s);
        self.sessions.put(self.key(&number), Session { until_s, value })
    }

    fn get(&self, number: &[u8]) -> Option<Vec<u8>> {
        let stored = self.sessions.stored.lock().ok()?;
        let found = stored.by_number.get(&self.key(number))?;
        (found.until_s >= now_s()).then(|| found.value.clone())
    }

    fn take(&self, number: &[u8]) -> Option<Vec<u8>> {
        let mut stored = self.sessions.stored.lock().ok()?;
        let found = stored.by_number.remove(&self.key(number))?;
        (found.until_s >= now_s()).then_some(found.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl fmt::Debug for SessionView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions(at most {})", self.sessions.n_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_session_makes_room() {
        let sessions = Arc::new(Sessions::of_bytes(0));
        let (one, other) = (sessions.for_context(b"a", 300), sessions.for_context(b"b", 300));
        for number in 0..17 {
            assert!(one.put(vec![number], vec![1]));
        }
        assert_eq!(one.get(&[0]), None);
        assert_eq!(one.get(&[1]), Some(vec![1]));
        assert_eq!(other.get(&[1]), None);
        assert_eq!(one.take(&[1]), Some(vec![1]));
        assert_eq!(one.get(&[1]), None);
    }
}
