//! The hashes by which nginx spreads keys over peers: their values are seen by caches behind, so they are its own.

/// CRC-32 (IEEE 802.3, reflected), as `cksum -o3` and zlib compute it.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

pub(crate) const CRC_START: u32 = 0xffff_ffff;

pub(crate) fn crc_update(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !crc_update(CRC_START, bytes)
}

/// Points of one unit of weight on the ring of `hash … consistent`.
const POINTS_PER_WEIGHT: u32 = 160;

/// The ring of `hash … consistent`: sorted points, each with the server (by its place in `servers`) it stands for.
/// Compatible with Cache::Memcached::Fast: crc32(HOST \0 PORT PREVIOUS).
pub(crate) fn ring<'a>(servers: impl Iterator<Item = (&'a str, u32)>) -> Vec<(u32, u32)> {
    let mut points = Vec::new();
    for (idx, (server, weight)) in servers.enumerate() {
        let (host, port) = host_and_port(server);
        let mut base = crc_update(CRC_START, host.as_bytes());
        base = crc_update(base, b"\0");
        base = crc_update(base, port.as_bytes());
        let mut previous = 0_u32;
        for _ in 0..weight * POINTS_PER_WEIGHT {
            previous = !crc_update(base, &previous.to_le_bytes());
            points.push((previous, idx as u32));
        }
    }
    points.sort_by_key(|point| point.0);
    points.dedup_by_key(|point| point.0);
    points
}

fn host_and_port(server: &str) -> (&str, &str) {
    if let Some(path) = server.get(..5).filter(|it| it.eq_ignore_ascii_case("unix:")).map(|_| &server[5..]) {
        return (path, "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}

/// The next hash of `ip_hash`; `previous` begins at [`IP_START`].
pub(crate) fn ip(previous: u32, address: &[u8]) -> u32 {
    address.iter().fold(previous, |hash, byte| (hash * 113 + u32::from(*byte)) % 6271)
}

pub(crate) const IP_START: u32 = 89;

/// The next value of plain `hash`: compatible with Cache::Memcached.
pub(crate) fn key(previous: u32, rehash: u32, key: &[u8]) -> u32 {
    let mut crc = CRC_START;
    if rehash > 0 {
        crc = crc_update(crc, rehash.to_string().as_bytes());
    }
    crc = !crc_update(crc, key);
    previous.wrapping_add((crc >> 16) & 0x7fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_common_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_ring_is_sorted_and_has_no_doubles() {
        let points = ring([("127.0.0.1:8081", 1), ("127.0.0.1:8082", 2)].into_iter());
        assert!(points.len() > 470 && points.windows(2).all(|it| it[0].0 < it[1].0));
        assert_eq!(host_and_port("[::1]:80"), ("[::1]", "80"));
        assert_eq!(host_and_port("unix:/a:1"), ("/a:1", ""));
    }
}
