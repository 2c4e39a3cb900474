//! Hashes that take memory besides time: Argon2 (RFC 9106) in PHC's form, and yescrypt (`$y$`), Debian's own.

use argon2::{Algorithm, Argon2, Params, Version};
use foregate_core::base64::{self, Alphabet};

/// KiB that one hash may take: who writes the file decides, but a slip of the pen must not take all memory.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const SUM_BYTES_MAX: usize = 64;

/// A stored Argon2 hash: `$argon2id$v=19$m=65536,t=3,p=4$salt$sum`.
pub(super) struct Argon {
    algorithm: Algorithm,
    params: Params,
    salt: Vec<u8>,
    pub(super) sum: Vec<u8>,
}

impl Argon {
    pub(super) fn parse(stored: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(stored).ok()?.strip_prefix('$')?.split('$');
        let algorithm = match parts.next()? {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            "argon2d" => Algorithm::Argon2d,
            _ => return None,
        };
        if parts.next()? != "v=19" {
            return None;
        }
        let (mut memory, mut time, mut lanes) = (None, None, None);
        for pair in parts.next()?.split(',') {
            let (name, value) = pair.split_once('=')?;
            let slot = match name {
                "m" => &mut memory,
                "t" => &mut time,
                "p" => &mut lanes,
                _ => return None,
            };
            *slot = Some(value.parse::<u32>().ok()?);
        }
        let bytes = |text: &str| base64::decode(text.as_bytes(), Alphabet::Standard);
        let (salt, sum) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
        let fits = parts.next().is_none() && sum.len() <= SUM_BYTES_MAX && memory? <= MEMORY_KIB_MAX;
        let params = Params::new(memory?, time?, lanes?, Some(sum.len())).ok().filter(|_| fits)?;
        Some(Self { algorithm, params, salt, sum })
    }

    /// The sum that this password would have.
    pub(super) fn compute(&self, password: &[u8]) -> Option<Vec<u8>> {
        let mut sum = vec![0; self.sum.len()];
        let argon = Argon2::new(self.algorithm, Version::V0x13, self.params.clone());
        argon.hash_password_into(password, &self.salt, &mut sum).ok().map(|()| sum)
    }
}

/// Argon2id as RFC 9106 (4) recommends it where memory is short.
pub(super) fn make_argon(password: &[u8], salt: &[u8]) -> Option<String> {
    const MEMORY_KIB: u32 = 1 << 16;
    const PASSES: u32 = 3;
    const LANES: u32 = 4;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).ok()?;
    let argon = Argon { algorithm: Algorithm::Argon2id, params, salt: salt.to_vec(), sum: vec![0; 32] };
    let text = |bytes: &[u8]| {
        let mut out = Vec::new();
        base64::encode(bytes, Alphabet::Standard, &mut out);
        String::from_utf8_lossy(&out).trim_end_matches('=').to_owned()
    };
    let sum = argon.compute(password)?;
    Some(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}", text(salt), text(&sum)))
}

/// Bytes of yescrypt's sum, as crypt(3) has it.
const YESCRYPT_BYTES: usize = 32;

/// The whole stored text that the password would have under the parameters and salt of `stored`.
pub(super) fn yescrypt(password: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(stored).ok()?;
    let mut parts = text.strip_prefix("$y$")?.split('$');
    let (how, salt) = (parts.next()?, parts.next()?);
    let params: yescrypt::Params = how.parse().ok()?;
    let kib = params.n().checked_mul(u64::from(params.r()))? / 8;
    if kib > u64::from(MEMORY_KIB_MAX) {
        return None;
    }
    let mut sum = [0; YESCRYPT_BYTES];
    yescrypt::yescrypt(password, &undigits(salt.as_bytes())?, &params, &mut sum).ok()?;
    let mut out = format!("$y${how}${salt}$").into_bytes();
    push_digits(&sum, &mut out);
    Some(out)
}

/// As Debian's `passwd` makes them: 16 MiB.
pub(super) fn make_yescrypt(password: &[u8], salt: &[u8]) -> Option<String> {
    let mut digits = Vec::new();
    push_digits(salt, &mut digits);
    let stored = [b"$y$j9T$", &digits[..], b"$"].concat();
    String::from_utf8(yescrypt(password, &stored)?).ok()
}

/// The digits of crypt(3), three bytes at a time, the least significant bits first.
fn push_digits(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let bits = group.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        super::hash::push_digits(bits, group.len() + 1, out);
    }
}

fn undigits(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for group in text.chunks(4) {
        let mut bits = 0;
        for digit in group.iter().rev() {
            bits = bits << 6 | super::hash::digit(*digit)?;
        }
        let bytes = group.len() - 1;
        if bytes == 0 || bits >> (8 * bytes) != 0 {
            return None;
        }
        out.extend_from_slice(&bits.to_le_bytes()[..bytes]);
    }
    Some(out)
}
