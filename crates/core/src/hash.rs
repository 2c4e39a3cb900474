//! Tables by bytes: a hash that costs a few multiplications, with a seed that differs from process to process.
//!
//! What is looked up comes from clients, what stands in a table only from the configuration: nobody can fill a table
//! with names that collide. The seed hides which names share a group nevertheless.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// Values by bytes.
pub type ByteMap<V> = HashMap<Box<[u8]>, V, Seed>;

/// Odd numbers without a pattern: the digits of pi, as Blowfish takes them.
const FIRST: u64 = 0x243f_6a88_85a3_08d3;
const SECOND: u64 = 0x1319_8a2e_0370_7345;

/// Makes the hashers of this process.
#[derive(Clone, Copy, Debug)]
pub struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        static SEED: OnceLock<u64> = OnceLock::new();
        Self(*SEED.get_or_init(|| RandomState::new().hash_one(FIRST)))
    }
}

impl BuildHasher for Seed {
    type Hasher = Fold;

    #[inline]
    fn build_hasher(&self) -> Fold {
        Fold { state: self.0 }
    }
}

/// Folds the bytes by multiplying: both halves of each 128-bit product count.
#[derive(Clone, Copy, Debug)]
pub struct Fold {
    state: u64,
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |it| u64::from_le_bytes(*it))
}

impl Hasher for Fold {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while rest.len() > 16 {
            self.state = fold(word(rest) ^ self.state, word(&rest[8..]) ^ SECOND);
            rest = &rest[16..];
        }
        // The last words may overlap: the length, which is hashed too, tells such inputs apart.
        let (a, b) = match rest.len() {
            8.. => (word(rest), word(&rest[rest.len() - 8..])),
            4.. => {
                let half = |it: &[u8]| it.first_chunk().map_or(0, |it| u64::from(u32::from_le_bytes(*it)));
                (half(rest), half(&rest[rest.len() - 4..]))
            }
            1.. => {
                (u64::from(rest[0]) << 8 | u64::from(rest[rest.len() / 2]), u64::from(rest[rest.len() - 1]))
            }
            0 => (0, 0),
        };
        self.state = fold(a ^ self.state, b ^ SECOND);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.state ^= n.wrapping_mul(FIRST);
    }

    #[inline]
    fn finish(&self) -> u64 {
        fold(self.state ^ FIRST, SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn inputs_that_differ_hash_differently() {
        let seed = Seed::default();
        let mut seen = HashSet::new();
        for len in 0..80 {
            let mut bytes = vec![b'a'; len];
            assert!(seen.insert(seed.hash_one(&bytes[..])), "{len}");
            for at in 0..len {
                bytes[at] = b'b';
                assert!(seen.insert(seed.hash_one(&bytes[..])), "{len} {at}");
                bytes[at] = b'a';
            }
        }
    }

    #[test]
    fn names_spread_over_groups_and_tags() {
        // What a table of 1024 groups uses: the low bits for the place, the top seven for the tag.
        let (mut places, mut tags) = (HashSet::new(), HashSet::new());
        for n in 0..1024 {
            let hash = Seed::default().hash_one(format!("n{n}.example.com").as_bytes());
            places.insert(hash % 1024);
            tags.insert(hash >> 57);
        }
        assert!(places.len() > 550, "{}", places.len());
        assert!(tags.len() > 120, "{}", tags.len());
    }
}
