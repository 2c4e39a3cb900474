//! The crypt(3) of 1979: DES (FIPS 46), 25 times over a block of zeros, two salt characters. Old password files hold it.

/// Bits of one half of a block.
const HALF: usize = 32;

/// The whole stored text that the password would have under the salt of `stored`; `None`: another form.
pub(super) fn crypt(password: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    let [first, second, ..] = *stored else { return None };
    let salt = [digit(first)?, digit(second)?];
    let mut key = [0; 64];
    for (at, byte) in password.iter().take_while(|b| **b != 0).take(8).enumerate() {
        for bit in 0..7 {
            key[at * 8 + bit] = byte >> (6 - bit) & 1;
        }
    }
    let keys = schedule(&key);
    let expansion = salted(salt);
    let mut block = [0; 64];
    for _ in 0..25 {
        encrypt(&mut block, &keys, &expansion);
    }
    let mut out = vec![first, second];
    for at in 0..11 {
        let bits = (0..6).map(|bit| block.get(at * 6 + bit).copied().unwrap_or(0));
        out.push(DIGITS[usize::from(bits.fold(0, |sum, bit| sum << 1 | bit))]);
    }
    Some(out)
}

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn digit(byte: u8) -> Option<u8> {
    DIGITS.iter().position(|it| *it == byte).map(|at| at as u8)
}

/// The sixteen round keys.
fn schedule(key: &[u8; 64]) -> [[u8; 48]; 16] {
    let mut bits = PC1.map(|at| key[usize::from(at) - 1]);
    SHIFTS.map(|shift| {
        bits[..28].rotate_left(shift);
        bits[28..].rotate_left(shift);
        PC2.map(|at| bits[usize::from(at) - 1])
    })
}

/// The salt's bits exchange entries of the expansion's halves.
fn salted(salt: [u8; 2]) -> [u8; 48] {
    let mut table = E;
    for (n, value) in salt.into_iter().enumerate() {
        for bit in (0..6).filter(|bit| value >> bit & 1 == 1) {
            table.swap(6 * n + bit, 6 * n + bit + 24);
        }
    }
    table
}

fn encrypt(block: &mut [u8; 64], keys: &[[u8; 48]; 16], expansion: &[u8; 48]) {
    let mixed = IP.map(|at| block[usize::from(at) - 1]);
    let (mut left, mut right) = ([0; HALF], [0; HALF]);
    left.copy_from_slice(&mixed[..HALF]);
    right.copy_from_slice(&mixed[HALF..]);
    for key in keys {
        let f = feistel(&right, key, expansion);
        let next = std::array::from_fn(|at| left[at] ^ f[usize::from(P[at]) - 1]);
        left = right;
        right = next;
    }
    // The halves change places at the end.
    let mut joined = [0; 64];
    joined[..HALF].copy_from_slice(&right);
    joined[HALF..].copy_from_slice(&left);
    *block = FP.map(|at| joined[usize::from(at) - 1]);
}

fn feistel(right: &[u8; HALF], key: &[u8; 48], expansion: &[u8; 48]) -> [u8; HALF] {
    let mut out = [0; HALF];
    for (n, table) in S.iter().enumerate() {
        let bit = |at: usize| right[usize::from(expansion[6 * n + at]) - 1] ^ key[6 * n + at];
        let row = bit(0) << 1 | bit(5);
        let column = bit(1) << 3 | bit(2) << 2 | bit(3) << 1 | bit(4);
        let value = table[usize::from(row * 16 + column)];
        for at in 0..4 {
            out[4 * n + at] = value >> (3 - at) & 1;
        }
    }
    out
}

const SHIFTS: [usize; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];

#[rustfmt::skip]
const IP: [u8; 64] = [
    58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4,
    62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
    57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3,
    61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
];

#[rustfmt::skip]
const FP: [u8; 64] = [
    40, 8, 48, 16, 56, 24, 64, 32, 39, 7, 47, 15, 55, 23, 63, 31,
    38, 6, 46, 14, 54, 22, 62, 30, 37, 5, 45, 13, 53, 21, 61, 29,
    36, 4, 44, 12, 52, 20, 60, 28, 35, 3, 43, 11, 51, 19, 59, 27,
    34, 2, 42, 10, 50, 18, 58, 26, 33, 1, 41, 9, 49, 17, 57, 25,
];

#[rustfmt::skip]
const PC1: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18,
    10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
    63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22,
    14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];

#[rustfmt::skip]
const PC2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10,
    23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
    41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48,
    44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];

#[rustfmt::skip]
const E: [u8; 48] = [
    32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9,
    8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17,
    16, 17, 18, 19, 20, 21, 20, 21, 22, 23, 24, 25,
    24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
];

#[rustfmt::skip]
const P: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
    2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
];

#[rustfmt::skip]
const S: [[u8; 64]; 8] = [
    [14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
     4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13],
    [15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
     0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9],
    [10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
     13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12],
    [7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
     10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14],
    [2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
     4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3],
    [12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
     9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13],
    [4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
     1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12],
    [13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
     7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11],
];
