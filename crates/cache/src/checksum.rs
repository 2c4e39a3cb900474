//! A checksum for headers of files: against what a crash leaves behind, not against an enemy.

/// Odd numbers without a pattern: the digits of pi.
const FIRST: u64 = 0x243f_6a88_85a3_08d3;
const SECOND: u64 = 0x1319_8a2e_0370_7345;

/// Folds the bytes by multiplying: both halves of each 128-bit product count. The same on every machine.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut state = fold(FIRST ^ bytes.len() as u64, SECOND);
    for chunk in &mut chunks {
        state = fold(state ^ chunk.first_chunk().map_or(0, |it| u64::from_le_bytes(*it)), SECOND);
    }
    let rest = chunks.remainder().iter().fold(1, |all, byte| all << 8 | u64::from(*byte));
    fold(state ^ rest, FIRST)
}

fn fold(a: u64, b: u64) -> u64 {
    // A state of zero would stay zero for ever.
    let product = u128::from(a | u64::from(a == 0)) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        let bytes: Vec<u8> = (0..100).collect();
        let whole = checksum(&bytes);
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_ne!(checksum(&torn), whole, "byte {at}");
            assert_ne!(checksum(&bytes[..at]), whole, "{at} bytes");
        }
        assert_ne!(checksum(&[0; 8]), checksum(&[0; 16]));
    }
}
