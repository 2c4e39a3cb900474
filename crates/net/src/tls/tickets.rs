//! Session tickets under keys of the configuration (nginx: ssl_session_ticket_key), the same on all threads and on all
//! machines that share the files, or under random keys that are changed from time to time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use rustls::server::ProducesTickets;

/// Sizes of a key file: OpenSSL's two formats.
const KEY_FILE_BYTES: [usize; 2] = [48, 80];
/// The start of a ticket says under which key it is; so does the start of a key file.
const NAME_BYTES: usize = 16;
/// Before the session in a ticket: when it was made, seconds since 1970.
const TIME_BYTES: usize = 8;
/// Behind that: the length of the session.
const LENGTH_BYTES: usize = 2;
/// What is sealed has a multiple of this length, lest it tell more of the session than it must.
const PADDED_BYTES: usize = 32;
/// nginx's ssl_session_timeout.
pub const LIFETIME_S_DEFAULT: u32 = 300;
/// Keys by which tickets are sealed and opened, for servers that take each other's tickets.
#[derive(Clone)]
pub struct TicketKeys {
    keys: Keys,
    lifetime_s: u32,
    /// Goes into every seal: tickets of another context do not open.
    context: Vec<u8>,
}

#[derive(Clone)]
enum Keys {
    /// The first seals; all open.
    Given(Arc<[TicketKey]>),
    Random(Arc<Rotation>),
}

/// A random key, and the one before it.
struct Rotation {
    keys: RwLock<Pair>,
    /// A key seals for so long, and opens for as long again; no ticket under it lives longer.
    period_s: AtomicU64,
}

struct Pair {
    now: TicketKey,
    before: Option<TicketKey>,
    since_s: u64,
}

#[derive(Clone)]
struct TicketKey {
    name: [u8; NAME_BYTES],
    key: Arc<LessSafeKey>,
}

impl TicketKeys {
    /// From the contents of key files, each of 48 or 80 bytes; `None` when one has another size, or there is none.
    pub fn new(files: &[Vec<u8>], lifetime_s: u32) -> Option<TicketKeys> {
        let keys = files.iter().map(|file| TicketKey::new(file)).collect::<Option<Vec<_>>>()?;
        let keys = (!keys.is_empty()).then(|| Keys::Given(keys.into()))?;
        Some(TicketKeys { keys, lifetime_s, context: Vec::new() })
    }

    /// From random keys of this process, each of which seals for as long as a ticket lives.
    pub fn random(lifetime_s: u32) -> Option<TicketKeys> {
        let pair = Pair { now: TicketKey::random()?, before: None, since_s: now_s() };
        let period_s = AtomicU64::new(u64::from(lifetime_s).max(1));
        let rotation = Rotation { keys: RwLock::new(pair), period_s };
        Some(TicketKeys { keys: Keys::Random(Arc::new(rotation)), lifetime_s, context: Vec::new() })
    }

    /// The same keys for servers of one context, which alone take each other's tickets.
    pub fn for_context(&self, context: &[u8], lifetime_s: u32) -> TicketKeys {
        if let Keys::Random(rotation) = &self.keys {
            rotation.period_s.fetch_max(u64::from(lifetime_s), Relaxed);
        }
        TicketKeys { keys: self.keys.clone(), lifetime_s, context: context.to_vec() }
    }

    fn aad(&self, name: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([name, &self.context].concat())
    }
}

impl Keys {
    fn sealing(&self) -> Option<TicketKey> {
        match self {
            Keys::Given(keys) => keys.first().cloned(),
            Keys::Random(rotation) => rotation.current(now_s()),
        }
    }

    fn opening(&self, name: &[u8]) -> Option<TicketKey> {
        match self {
            Keys::Given(keys) => keys.iter().find(|key| key.name == name).cloned(),
            Keys::Random(rotation) => {
                rotation.current(now_s())?;
                let keys = rotation.keys.read().ok()?;
                [Some(&keys.now), keys.before.as_ref()]
                    .into_iter()
                    .flatten()
                    .find(|it| it.name == name)
                    .cloned()
            }
        }
    }
}

impl Rotation {
    /// The key that seals now, a new one where the old one has had its time.
    fn current(&self, now_s: u64) -> Option<TicketKey> {
        let period_s = self.period_s.load(Relaxed);
        {
            let keys = self.keys.read().ok()?;
            if now_s < keys.since_s.saturating_add(period_s) {
                return Some(keys.now.clone());
            }
        }
        let mut keys = self.keys.write().ok()?;
        let age_s = now_s.saturating_sub(keys.since_s);
        if age_s >= period_s {
            let old = std::mem::replace(&mut keys.now, TicketKey::random()?);
            keys.before = (age_s < 2 * period_s).then_some(old);
            keys.since_s = now_s;
        }
        Some(keys.now.clone())
    }
}

impl TicketKey {
    fn new(file: &[u8]) -> Option<TicketKey> {
        if !KEY_FILE_BYTES.contains(&file.len()) {
            return None;
        }
        let (name, secret) = file.split_at(NAME_BYTES);
        let secret = digest::digest(&digest::SHA256, secret);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret.as_ref()).ok()?);
        Some(TicketKey { name: name.try_into().ok()?, key: Arc::new(key) })
    }

    fn random() -> Option<TicketKey> {
        let mut file = vec![0; KEY_FILE_BYTES[1]];
        aws_lc_rs::rand::fill(&mut file).ok()?;
        TicketKey::new(&file)
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let TicketKey { name, key } = self.keys.sealing()?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let length = u16::try_from(plain.len()).ok()?.to_be_bytes();
        let mut body = [&now_s().to_be_bytes()[..], &length, plain].concat();
        body.resize(body.len().next_multiple_of(PADDED_BYTES), 0);
        let aad = self.aad(&name);
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body).ok()?;
        Some([&name[..], &nonce, &body].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let TicketKey { key, .. } = self.keys.opening(name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let plain = key.open_in_place(nonce, self.aad(name), &mut body).ok()?;
        let (made, rest) = plain.split_first_chunk::<TIME_BYTES>()?;
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        let session = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        let age_s = now_s().saturating_sub(u64::from_be_bytes(*made));
        (age_s <= u64::from(self.lifetime_s)).then(|| session.to_vec())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.keys {
            Keys::Given(keys) => format!("{} keys", keys.len()),
            Keys::Random(_) => "random keys".to_string(),
        };
        write!(f, "TicketKeys({what})")
    }
}

pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_under_an_older_key_and_under_no_other() {
        let old = TicketKeys::new(&[vec![1; 48]], 300).unwrap();
        let new = TicketKeys::new(&[vec![2; 80], vec![1; 48]], 300).unwrap();
        let ticket = old.encrypt(b"session").unwrap();
        assert_eq!(new.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(old.decrypt(&new.encrypt(b"session").unwrap()), None);
        assert_eq!(TicketKeys::random(300).unwrap().decrypt(&ticket), None);
        for end in 0..ticket.len() {
            assert_eq!(old.decrypt(&ticket[..end]), None);
        }
        assert!(TicketKeys::new(&[vec![1; 47]], 300).is_none());
    }

    #[test]
    fn a_ticket_opens_in_its_own_context_only() {
        let keys = TicketKeys::random(300).unwrap();
        let (one, other) = (keys.for_context(b"a", 300), keys.for_context(b"b", 300));
        let ticket = one.encrypt(b"session").unwrap();
        assert!(one.decrypt(&ticket).is_some() && keys.for_context(b"a", 300).decrypt(&ticket).is_some());
        assert!(other.decrypt(&ticket).is_none());
    }

    #[test]
    fn random_keys_are_changed_and_the_last_one_still_opens() {
        let keys = TicketKeys::random(300).unwrap();
        let Keys::Random(rotation) = &keys.keys else { panic!("not random") };
        let start = now_s();
        let first = rotation.current(start).unwrap().name;
        assert_eq!(rotation.current(start + 299).unwrap().name, first);
        assert_ne!(rotation.current(start + 300).unwrap().name, first);
        assert!(rotation.keys.read().unwrap().before.as_ref().is_some_and(|it| it.name == first));
        rotation.current(start + 1200).unwrap();
        assert!(rotation.keys.read().unwrap().before.is_none());
    }
}
