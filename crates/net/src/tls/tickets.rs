//! Session tickets under keys that the configuration gives (nginx: ssl_session_ticket_key), the same on all threads
//! and on all machines that share the files.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use rustls::server::ProducesTickets;

/// Sizes of a key file: OpenSSL's two formats.
const KEY_FILE_BYTES: [usize; 2] = [48, 80];
/// The start of a ticket says under which key it is; so does the start of a key file.
const NAME_BYTES: usize = 16;
/// nginx's ssl_session_timeout.
pub const LIFETIME_S_DEFAULT: u32 = 300;

/// Keys by which tickets are sealed and opened. The first seals; all open.
pub struct TicketKeys {
    keys: Vec<TicketKey>,
    lifetime_s: u32,
}

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: LessSafeKey,
}

impl TicketKeys {
    /// From the contents of key files, each of 48 or 80 bytes; `None` when one has another size, or there is none.
    pub fn new(files: &[Vec<u8>], lifetime_s: u32) -> Option<TicketKeys> {
        let keys = files.iter().map(|file| TicketKey::new(file)).collect::<Option<Vec<_>>>()?;
        (!keys.is_empty()).then_some(TicketKeys { keys, lifetime_s })
    }

    /// From a random key of this process.
    pub fn random(lifetime_s: u32) -> Option<TicketKeys> {
        let mut file = vec![0; KEY_FILE_BYTES[1]];
        aws_lc_rs::rand::fill(&mut file).ok()?;
        TicketKeys::new(&[file], lifetime_s)
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
        Some(TicketKey { name: name.try_into().ok()?, key })
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
        let TicketKey { name, key } = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut body = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut body).ok()?;
        Some([name, &nonce[..], &body].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let TicketKey { name, key } = self.keys.iter().find(|key| key.name == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let len = key.open_in_place(nonce, Aad::from(name), &mut body).ok()?.len();
        body.truncate(len);
        Some(body)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys({} keys)", self.keys.len())
    }
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
}
