//! SHA-crypt (`$5$`: SHA-256, `$6$`: SHA-512), by Ulrich Drepper's specification of 2008.

use aws_lc_rs::digest::{Algorithm, Context, SHA256, SHA512};
use foregate_core::push_number;

use super::hash::push_digits;

const SALT_BYTES_MAX: usize = 16;
const ROUNDS: u64 = 5000;
const ROUNDS_MIN: u64 = 1000;
const ROUNDS_MAX: u64 = 999_999_999;

/// The whole stored text that the password would have under the prefix, rounds and salt of `stored`.
pub(super) fn crypt(password: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    let algorithm = if stored.starts_with(b"$5$") { &SHA256 } else { &SHA512 };
    let mut out = stored[..3].to_vec();
    let mut rest = &stored[3..];
    let mut rounds = ROUNDS;
    if let Some(text) = rest.strip_prefix(b"rounds=") {
        let end = text.iter().position(|b| *b == b'$')?;
        rounds = foregate_conf::value::number(std::str::from_utf8(&text[..end]).ok()?)?;
        rounds = Some(rounds).filter(|it| (ROUNDS_MIN..=ROUNDS_MAX).contains(it))?;
        rest = &text[end + 1..];
        out.extend_from_slice(b"rounds=");
        push_number(rounds, &mut out);
        out.push(b'$');
    }
    let salt = rest.split(|b| *b == b'$').next()?;
    let salt = &salt[..salt.len().min(SALT_BYTES_MAX)];
    out.extend_from_slice(salt);
    out.push(b'$');
    push_sum(&sum(algorithm, password, salt, rounds), &mut out);
    Some(out)
}

fn sum(algorithm: &'static Algorithm, password: &[u8], salt: &[u8], rounds: u64) -> Vec<u8> {
    let mut sum = start(algorithm, password, salt);
    let p = spread(&repeated(algorithm, password, password.len()), password.len());
    let s = spread(&repeated(algorithm, salt, 16 + usize::from(sum[0])), salt.len());
    for round in 0..rounds {
        let (first, last) = if round % 2 == 1 { (&p, &sum) } else { (&sum, &p) };
        let mut sha = Context::new(algorithm);
        sha.update(first);
        if round % 3 != 0 {
            sha.update(&s);
        }
        if round % 7 != 0 {
            sha.update(&p);
        }
        sha.update(last);
        sum = sha.finish().as_ref().to_vec();
    }
    sum
}

fn start(algorithm: &'static Algorithm, password: &[u8], salt: &[u8]) -> Vec<u8> {
    let mut sha = Context::new(algorithm);
    for part in [password, salt, password] {
        sha.update(part);
    }
    let alternate = sha.finish();
    let alternate = alternate.as_ref();
    let mut sha = Context::new(algorithm);
    sha.update(password);
    sha.update(salt);
    for chunk in password.chunks(alternate.len()) {
        sha.update(&alternate[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        sha.update(if bits & 1 == 1 { alternate } else { password });
        bits >>= 1;
    }
    sha.finish().as_ref().to_vec()
}

fn repeated(algorithm: &'static Algorithm, bytes: &[u8], times: usize) -> Vec<u8> {
    let mut sha = Context::new(algorithm);
    (0..times).for_each(|_| sha.update(bytes));
    sha.finish().as_ref().to_vec()
}

/// A sum, repeated or cut to a length.
fn spread(sum: &[u8], len: usize) -> Vec<u8> {
    sum.iter().copied().cycle().take(len).collect()
}

/// The specification's order of bytes: three columns, turned by one place in every line.
fn push_sum(sum: &[u8], out: &mut Vec<u8>) {
    let third = sum.len() / 3;
    let (mut a, mut b, mut c) = (0, third, 2 * third);
    for _ in 0..third {
        let bits = u32::from(sum[a]) << 16 | u32::from(sum[b]) << 8 | u32::from(sum[c]);
        push_digits(bits, 4, out);
        (a, b, c) = if sum.len() == 64 { (b + 1, c + 1, a + 1) } else { (c + 1, a + 1, b + 1) };
    }
    match sum {
        [.., last] if sum.len() == 64 => push_digits(u32::from(*last), 2, out),
        [.., low, high] => push_digits(u32::from(*high) << 8 | u32::from(*low), 3, out),
        _ => (),
    }
}
