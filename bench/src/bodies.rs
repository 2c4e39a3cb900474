//! What backends send and visitors must receive, byte for byte: bodies that can be made again from their size.

/// `n` bytes of text that no shift of itself equals for long, so that a lost or doubled piece shows.
pub(crate) fn pattern(n: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            b'a' + (state % 26) as u8
        })
        .collect()
}

/// A list of records as an API would send it, cut to exactly `n` bytes.
pub(crate) fn json(n: usize) -> Vec<u8> {
    const CITIES: [&str; 8] =
        ["Aachen", "Bergen", "Cork", "Delft", "Espoo", "Faro", "Graz", "Lisbon, old town"];
    let (mut text, mut state) = (String::from("["), 12345_u64);
    while text.len() < n {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (id, city) = (state >> 40, CITIES[(state >> 33) as usize % CITIES.len()]);
        text.push_str(&format!(
            "{{\"id\":{id},\"city\":\"{city}\",\"price\":{}.{:02},\"stock\":{},\"tags\":[\"a{}\",\"b{}\"],\"active\":{}}},\n",
            state >> 54,
            state % 100,
            (state >> 20) % 1000,
            (state >> 12) % 50,
            (state >> 25) % 50,
            state & 1 == 0
        ));
    }
    text.truncate(n - 1);
    text.push(']');
    text.into_bytes()
}

/// The answer to an upload: how many bytes came, always of the same length.
pub(crate) fn receipt(n: usize) -> Vec<u8> {
    format!("{n:>15}\n").into_bytes()
}

/// The bytes of one WebSocket message of `n` bytes as a client sends it: binary, masked with zeros, so that
/// the payload reads the same on both sides (RFC 6455, 5.2).
pub(crate) fn frame(n: usize) -> Vec<u8> {
    let mut bytes = vec![0x82];
    match n {
        0..126 => bytes.push(0x80 | n as u8),
        126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(pattern(n));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_asked_size() {
        assert_eq!((pattern(1024).len(), json(65536).len(), receipt(1 << 20).len()), (1024, 65536, 16));
        assert_eq!((frame(128).len(), frame(65536).len()), (128 + 8, 65536 + 14));
        assert_ne!(pattern(64)[..32], pattern(64)[32..]);
    }
}
