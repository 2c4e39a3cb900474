//! MD5-crypt, as FreeBSD made it (`$1$`) and Apache took it over (`$apr1$`).

use md5::{Digest, Md5};

use super::hash::push_digits;

const ROUNDS: usize = 1000;
const SALT_BYTES_MAX: usize = 8;

/// The whole stored text that the password would have under the prefix and salt of `stored`.
pub(super) fn crypt(password: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    let magic: &[u8] = if stored.starts_with(b"$apr1$") { b"$apr1$" } else { b"$1$" };
    let salt = stored.strip_prefix(magic)?;
    let salt = salt.split(|b| *b == b'$').next()?;
    let salt = &salt[..salt.len().min(SALT_BYTES_MAX)];
    let mut sum = start(magic, salt, password);
    for round in 0..ROUNDS {
        let (first, last) = if round % 2 == 1 { (password, &sum[..]) } else { (&sum[..], password) };
        let mut md5 = Md5::new();
        md5.update(first);
        if round % 3 != 0 {
            md5.update(salt);
        }
        if round % 7 != 0 {
            md5.update(password);
        }
        md5.update(last);
        sum = md5.finalize().into();
    }
    let mut out = [magic, salt, b"$"].concat();
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let bits = u32::from(sum[a]) << 16 | u32::from(sum[b]) << 8 | u32::from(sum[c]);
        push_digits(bits, 4, &mut out);
    }
    push_digits(u32::from(sum[11]), 2, &mut out);
    Some(out)
}

fn start(magic: &[u8], salt: &[u8], password: &[u8]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in [password, salt, password] {
        md5.update(part);
    }
    let alternate: [u8; 16] = md5.finalize().into();
    let mut md5 = Md5::new();
    for part in [password, magic, salt] {
        md5.update(part);
    }
    for chunk in password.chunks(alternate.len()) {
        md5.update(&alternate[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // A clear bit takes the password's first byte; so the original has it.
        md5.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    md5.finalize().into()
}
