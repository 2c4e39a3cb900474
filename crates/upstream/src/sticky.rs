//! Keeping a client with the peer that it met first (nginx: sticky).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foregate_core::{Exchange, Template, push_number};
use foregate_net::clock;
use md5::{Digest, Md5};

/// How a client's peer is known again.
pub struct Sticky {
    /// The first that has a value says which peer, or which session.
    pub lookup: Vec<Template>,
    pub how: How,
}

pub enum How {
    /// `sticky cookie`: we give the client a cookie that names the peer.
    Cookie(Cookie),
    /// `sticky route`: somebody else names the peer.
    Route,
    /// `sticky learn`: sessions that upstreams make are remembered.
    Learn {
        create: Vec<Template>,
        sessions: Arc<Sessions>,
        /// With the answer's head; otherwise once the answer is whole.
        at_head: bool,
    },
}

/// The cookie that names a peer.
pub struct Cookie {
    pub name: String,
    pub expires: Option<Expires>,
    pub domain: Option<Template>,
    pub path: Option<String>,
    pub http_only: bool,
    pub secure: bool,
    pub same_site: Option<Template>,
}

#[derive(Clone, Copy)]
pub enum Expires {
    /// Seconds from the answer on.
    In(u64),
    Max,
}

/// What a cookie that never expires says: the last second of a signed 32-bit clock, as nginx has it.
const NEVER: &[u8] = b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000";

impl Sticky {
    /// The peer that this request asks for, by its id.
    pub(crate) fn hint(&self, ex: &mut Exchange) -> Option<Vec<u8>> {
        let id = first(&self.lookup, ex)?;
        match &self.how {
            How::Learn { sessions, .. } => sessions.find(&id),
            _ => Some(id),
        }
    }

    /// What is to be remembered of an answer. `None`: nothing, or it has been done already.
    pub(crate) fn learn(&self, ex: &mut Exchange, peer: &str) -> Option<Lesson> {
        let How::Learn { create, sessions, at_head } = &self.how else { return None };
        let made = first(create, ex);
        let makes = made.is_some();
        let id = made.or_else(|| first(&self.lookup, ex))?;
        let lesson = Lesson { sessions: sessions.clone(), id, peer: peer.into(), makes };
        (!at_head).then_some(lesson)
    }

    /// The value of `Set-Cookie` that names the peer.
    pub(crate) fn set_cookie(&self, ex: &mut Exchange, peer: &str) -> Option<Vec<u8>> {
        let How::Cookie(cookie) = &self.how else { return None };
        let mut out = format!("{}={peer}", cookie.name).into_bytes();
        match cookie.expires {
            None => (),
            Some(Expires::Max) => out.extend_from_slice(NEVER),
            Some(Expires::In(seconds)) => {
                out.extend_from_slice(b"; expires=");
                let at = (clock::unix_ms() / 1000 + seconds) as i64;
                out.extend_from_slice(cookie_date(at).as_bytes());
                out.extend_from_slice(b"; max-age=");
                push_number(seconds, &mut out);
            }
        }
        attribute(b"; domain=", cookie.domain.as_ref().map(|it| it.fill_new(ex)), &mut out);
        out.extend_from_slice(if cookie.http_only { b"; httponly" } else { b"" });
        out.extend_from_slice(if cookie.secure { b"; secure" } else { b"" });
        let same_site = cookie.same_site.as_ref().map(|it| it.fill_new(ex));
        let known = |it: &Vec<u8>| it.is_empty() || is_same_site(it);
        let same_site = same_site.map(|it| if known(&it) { it } else { b"strict".to_vec() });
        attribute(b"; samesite=", same_site, &mut out);
        attribute(b"; path=", cookie.path.as_ref().map(|it| it.clone().into_bytes()), &mut out);
        Some(out)
    }
}

/// A session that is remembered, or goes on, when this value goes.
pub(crate) struct Lesson {
    sessions: Arc<Sessions>,
    id: Vec<u8>,
    peer: Box<str>,
    makes: bool,
}

impl Drop for Lesson {
    fn drop(&mut self) {
        self.sessions.put(&self.id, &self.peer, clock::unix_ms(), self.makes);
    }
}

/// Whether a cookie's `SameSite` may have this value.
pub fn is_same_site(value: &[u8]) -> bool {
    [&b"strict"[..], b"lax", b"none"].iter().any(|it| value.eq_ignore_ascii_case(it))
}

fn attribute(name: &[u8], value: Option<Vec<u8>>, out: &mut Vec<u8>) {
    if let Some(value) = value.filter(|it| !it.is_empty()) {
        out.extend_from_slice(name);
        out.extend_from_slice(&value);
    }
}

/// `Thu, 31-Dec-37 23:55:55 GMT`: the old form that every browser reads; four digits from 2038 on.
fn cookie_date(unix_s: i64) -> String {
    let date = foregate_wire::date::format(unix_s);
    let date =
        String::from_utf8_lossy(&date).replacen(' ', "_", 1).replacen(' ', "-", 2).replacen('_', " ", 1);
    // `Thu, 31-Dec-2037 …`
    match date.get(12..16).and_then(|it| it.parse::<u32>().ok()) {
        Some(year) if year <= 2037 => format!("{}{}", &date[..12], &date[14..]),
        _ => date,
    }
}

fn first(templates: &[Template], ex: &mut Exchange) -> Option<Vec<u8>> {
    templates.iter().map(|it| it.fill_new(ex)).find(|it| !it.is_empty())
}

/// The id of a peer without a `route`: the MD5 of its address as printed.
pub(crate) fn peer_id(name: &str) -> String {
    let mut hex = Vec::with_capacity(32);
    foregate_core::push_hex(&Md5::digest(name.as_bytes()), &mut hex);
    String::from_utf8(hex).expect("because hexadecimal digits are text")
}

/// Sessions of one `sticky learn` zone, shared by all threads.
pub struct Sessions {
    pub zone: String,
    pub timeout: Duration,
    max: usize,
    known: Mutex<HashMap<[u8; 16], Session>>,
}

struct Session {
    peer: Box<str>,
    last_ms: u64,
}

/// nginx's estimate: 1m holds about 8000 sessions.
const SESSION_BYTES: u64 = 128;

impl Sessions {
    pub fn new(zone: &str, bytes: u64, timeout: Duration) -> Self {
        let max = (bytes / SESSION_BYTES).max(1) as usize;
        Self { zone: zone.to_owned(), timeout, max, known: Mutex::default() }
    }

    /// Whether what the other has learned may go on here.
    pub fn is_same(&self, other: &Self) -> bool {
        self.zone == other.zone && self.timeout == other.timeout && self.max == other.max
    }

    fn find(&self, id: &[u8]) -> Option<Vec<u8>> {
        let known = self.lock();
        let session = known.get(&key(id))?;
        let alive = session.last_ms + self.timeout.as_millis() as u64 > clock::unix_ms();
        alive.then(|| session.peer.as_bytes().to_vec())
    }

    fn put(&self, id: &[u8], peer: &str, now_ms: u64, create: bool) {
        let key = key(id);
        let mut known = self.lock();
        let fresh = |it: &Session| it.last_ms + self.timeout.as_millis() as u64 > now_ms;
        if !create && !known.get(&key).is_some_and(fresh) {
            return;
        }
        if !known.contains_key(&key) && known.len() >= self.max {
            known.retain(|_, it| fresh(it));
            if known.len() >= self.max
                && let Some(oldest) = known.iter().min_by_key(|(_, it)| it.last_ms).map(|(key, _)| *key)
            {
                known.remove(&oldest);
            }
        }
        known.insert(key, Session { peer: peer.into(), last_ms: now_ms });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Session>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(id: &[u8]) -> [u8; 16] {
    Md5::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_old_form() {
        assert_eq!(cookie_date(0), "Thu, 01-Jan-70 00:00:00 GMT");
        assert_eq!(cookie_date(4_102_444_800), "Fri, 01-Jan-2100 00:00:00 GMT");
    }

    #[test]
    fn sessions_are_remembered_up_to_their_number() {
        let sessions = Sessions::new("z", 2 * SESSION_BYTES, Duration::from_secs(10));
        let now = clock::unix_ms();
        sessions.put(b"a", "1", now, true);
        sessions.put(b"b", "2", now + 1, true);
        sessions.put(b"x", "9", now, false);
        assert_eq!((sessions.find(b"a"), sessions.find(b"x")), (Some(b"1".to_vec()), None));
        sessions.put(b"c", "3", now + 2, true);
        assert_eq!((sessions.find(b"a"), sessions.find(b"c")), (None, Some(b"3".to_vec())));
    }
}
