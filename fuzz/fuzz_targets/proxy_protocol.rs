//! Any bytes as a PROXY protocol header: less of a good one asks for more, and what is written is read back.
#![no_main]

use foregate_wire::proxy_protocol::{TlvName, V2_BYTES_MAX, read, write_v1, write_v2};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 8] =
    ["alpn", "authority", "unique_id", "ssl", "ssl_cn", "ssl_verify", "ssl_0x21", "0xea"];

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    let Ok(Some((len, header))) = whole else {
        if let Err(error) = whole {
            assert!(!error.text().is_empty());
        }
        return;
    };
    assert!(len <= bytes.len() && len <= V2_BYTES_MAX);
    assert_eq!(read(&bytes[..len]), Ok(Some((len, header.clone()))));
    for end in 0..len {
        assert_eq!(read(&bytes[..end]), Ok(None));
    }
    for name in NAMES.into_iter().filter_map(TlvName::parse) {
        let _ = name.value(&header.tlvs);
    }

    let mut out = Vec::new();
    write_v1(header.addresses, &mut out);
    // Families may differ in version 1, in which the client's names both.
    let again = read(&out).expect("because it was just written").expect("because it is complete");
    assert_eq!(again.1.addresses, header.addresses);
    out.clear();
    write_v2(header.addresses, None, &mut out);
    let again = read(&out).expect("because it was just written").expect("because it is complete");
    let ports = |pair: Option<(std::net::SocketAddr, std::net::SocketAddr)>| {
        pair.map(|(source, target)| {
            let canonical = |addr: std::net::SocketAddr| (addr.ip().to_canonical(), addr.port());
            (canonical(source), canonical(target))
        })
    };
    assert_eq!(ports(again.1.addresses), ports(header.addresses));
});
