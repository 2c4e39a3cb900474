//! The forms in which a password may be stored, and whether a given one fits.

use std::cell::RefCell;
use std::collections::VecDeque;

use aws_lc_rs::{constant_time, digest, hmac, rand};
use foregate_core::base64::{self, Alphabet};
use foregate_net::runtime;

use super::{des_crypt, md5_crypt, sha_crypt};

/// Nothing is known of this form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

/// Whether a password fits what is stored. Slow hashes are computed on helper threads, and a thread remembers
/// what it found right, so that the next request of the same client costs nothing.
pub(super) async fn verify(stored: Vec<u8>, password: Vec<u8>) -> Result<bool, Unknown> {
    if let Some(right) = verify_fast(&stored, &password) {
        return Ok(right);
    }
    let seal = seal(&stored, &password);
    if RIGHT.with_borrow(|right| right.iter().any(|it| constant_time::verify_slices_are_equal(it, &seal).is_ok())) {
        return Ok(true);
    }
    // Boxed, because few requests come here and every request's future would hold it.
    let right = Box::pin(runtime::blocking(move || verify_slow(&stored, &password))).await?;
    if right {
        RIGHT.with_borrow_mut(|right| {
            right.truncate(RIGHT_MAX - 1);
            right.push_front(seal);
        });
    }
    Ok(right)
}

/// Pairs of hash and password that one thread remembers as right.
const RIGHT_MAX: usize = 256;

type Seal = [u8; digest::SHA256_OUTPUT_LEN];

thread_local! {
    static RIGHT: RefCell<VecDeque<Seal>> = const { RefCell::new(VecDeque::new()) };
    /// No password can be learned from a seal without this thread's key.
    static KEY: hmac::Key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
        .expect("because the kernel gives random bytes");
}

fn seal(stored: &[u8], password: &[u8]) -> Seal {
    KEY.with(|key| {
        let mut sealed = hmac::Context::with_key(key);
        sealed.update(&stored.len().to_le_bytes());
        sealed.update(stored);
        sealed.update(password);
        let mut seal = Seal::default();
        seal.copy_from_slice(sealed.sign().as_ref());
        seal
    })
}

/// `{PLAIN}`, `{SHA}`, `{SSHA}`; `None`: another form.
fn verify_fast(stored: &[u8], password: &[u8]) -> Option<bool> {
    if let Some(plain) = stored.strip_prefix(b"{PLAIN}") {
        return Some(equal(plain, password));
    }
    if let Some(text) = stored.strip_prefix(b"{SHA}") {
        return Some(equal(text, &encoded(sha1(&[password]).as_ref())));
    }
    let text = stored.strip_prefix(b"{SSHA}")?;
    let decoded = base64::decode(text, Alphabet::Standard).unwrap_or_default();
    let salt = decoded.get(digest::SHA1_OUTPUT_LEN..).unwrap_or_default();
    Some(equal(text, &encoded(&[sha1(&[password, salt]).as_ref(), salt].concat())))
}

fn sha1(parts: &[&[u8]]) -> digest::Digest {
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| sha1.update(part));
    sha1.finish()
}

fn encoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    base64::encode(bytes, Alphabet::Standard, &mut out);
    out
}

/// What crypt(3) knows, and Apache's variant of its MD5.
fn verify_slow(stored: &[u8], password: &[u8]) -> Result<bool, Unknown> {
    if let Some(made) = crypt(stored, password) {
        return Ok(equal(&made, stored));
    }
    let is_bcrypt = [b"$2a$", b"$2b$", b"$2y$", b"$2x$"].iter().any(|it| stored.starts_with(*it));
    match std::str::from_utf8(stored) {
        Ok(text) if is_bcrypt => bcrypt::verify(password, text).map_err(|_| Unknown),
        _ => Err(Unknown),
    }
}

fn crypt(stored: &[u8], password: &[u8]) -> Option<Vec<u8>> {
    if stored.starts_with(b"$apr1$") || stored.starts_with(b"$1$") {
        return md5_crypt::crypt(password, stored);
    }
    if stored.starts_with(b"$5$") || stored.starts_with(b"$6$") {
        return sha_crypt::crypt(password, stored);
    }
    des_crypt::crypt(password, stored)
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// The digits of crypt(3), least significant first.
pub(super) fn push_digits(mut bits: u32, n: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..n {
        out.push(DIGITS[(bits & 63) as usize]);
        bits >>= 6;
    }
}
