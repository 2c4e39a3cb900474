//! Any bytes as a dictionary of structured fields (RFC 9651): what is read can be written and read again.
#![no_main]

use foregate_wire::structured::{Bare, dictionary};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let Some(members) = dictionary([line].into_iter()) else { return };
    let mut text = Vec::new();
    for (key, value) in &members {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(key);
        match value {
            Bare::Boolean(true) => (),
            Bare::Boolean(false) => text.extend_from_slice(b"=?0"),
            Bare::Integer(n) => text.extend_from_slice(format!("={n}").as_bytes()),
            Bare::Token(token) => text.extend_from_slice(&[b"=", &token[..]].concat()),
            Bare::String(string) => {
                text.extend_from_slice(b"=\"");
                for byte in string {
                    if matches!(byte, b'"' | b'\\') {
                        text.push(b'\\');
                    }
                    text.push(*byte);
                }
                text.push(b'"');
            }
            Bare::Other => text.extend_from_slice(b"=()"),
        }
    }
    assert_eq!(dictionary([&text[..]].into_iter()), Some(members));
});
