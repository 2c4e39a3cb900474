//! The forms in which a password may be stored, and whether a given one fits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::{constant_time, digest, hmac, rand};
use foregate_core::base64::{self, Alphabet};
use foregate_net::runtime::{Full, Pool};

use super::{des_crypt, md5_crypt, memory_hard, sha_crypt};

/// Nothing is known of this form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

/// Why it is not known whether a password fits.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecided {
    Unknown,
    /// Too many passwords wait to be looked at.
    Busy,
}

/// Passwords that may wait to be looked at, in the whole process.
const WAITING_MAX: usize = 256;
/// Pairs of hash and password that a thread remembers as right, and the process for all threads.
const RIGHT_MAX: usize = 256;

/// Slow hashes have threads of their own, which give way to those that serve: whoever guesses passwords keeps nobody
/// waiting but those who log in.
static POOL: Pool = Pool::computing("passwords", WAITING_MAX);

/// Whether a password fits what is stored. What is found right is remembered, so that a client's next request costs
/// nothing, and many at once cost no more than one.
pub(super) async fn verify(stored: Vec<u8>, password: Vec<u8>) -> Result<bool, Undecided> {
    if let Some(right) = verify_fast(&stored, &password) {
        return Ok(right);
    }
    let seal = seal(&stored, &password);
    if RIGHT.with_borrow(|right| holds(right, &seal)) {
        return Ok(true);
    }
    let work = POOL.run(move || {
        if holds(&shared(), &seal) {
            return Ok(true);
        }
        let right = verify_slow(&stored, &password);
        if right == Ok(true) {
            remember(&mut shared(), seal);
        }
        right
    });
    // Boxed, because few requests come here and every request's future would hold it.
    let work = Box::pin(work.map_err(|Full| Undecided::Busy)?);
    let right = work.await.map_err(|Unknown| Undecided::Unknown)?;
    if right {
        RIGHT.with_borrow_mut(|right| remember(right, seal));
    }
    Ok(right)
}

/// The same at once, for who has nothing else to do.
pub(super) fn verify_now(stored: &[u8], password: &[u8]) -> Result<bool, Unknown> {
    verify_fast(stored, password).map_or_else(|| verify_slow(stored, password), Ok)
}

type Seal = [u8; digest::SHA256_OUTPUT_LEN];

thread_local! {
    static RIGHT: RefCell<VecDeque<Seal>> = const { RefCell::new(VecDeque::new()) };
}

/// What any thread has found right: asked only by who would compute otherwise.
fn shared() -> MutexGuard<'static, VecDeque<Seal>> {
    static SHARED: Mutex<VecDeque<Seal>> = Mutex::new(VecDeque::new());
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn holds(right: &VecDeque<Seal>, seal: &Seal) -> bool {
    right.iter().any(|it| constant_time::verify_slices_are_equal(it, seal).is_ok())
}

fn remember(right: &mut VecDeque<Seal>, seal: Seal) {
    right.truncate(RIGHT_MAX - 1);
    right.push_front(seal);
}

/// Stands for a hash and a password; without this process's key no password can be learned from it.
fn seal(stored: &[u8], password: &[u8]) -> Seal {
    static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
        hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .expect("because the kernel gives random bytes")
    });
    let mut sealed = hmac::Context::with_key(&KEY);
    sealed.update(&stored.len().to_le_bytes());
    sealed.update(stored);
    sealed.update(password);
    let mut seal = Seal::default();
    seal.copy_from_slice(sealed.sign().as_ref());
    seal
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
    if stored.starts_with(b"$argon2") {
        let argon = memory_hard::Argon::parse(stored).ok_or(Unknown)?;
        return argon.compute(password).map(|sum| equal(&sum, &argon.sum)).ok_or(Unknown);
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
    if stored.starts_with(b"$y$") {
        return memory_hard::yescrypt(password, stored);
    }
    des_crypt::crypt(password, stored)
}

fn equal(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digits of crypt(3), least significant first.
pub(super) fn push_digits(mut bits: u32, n: usize, out: &mut Vec<u8>) {
    for _ in 0..n {
        out.push(DIGITS[(bits & 63) as usize]);
        bits >>= 6;
    }
}

pub(super) fn digit(byte: u8) -> Option<u32> {
    DIGITS.iter().position(|it| *it == byte).map(|at| at as u32)
}
