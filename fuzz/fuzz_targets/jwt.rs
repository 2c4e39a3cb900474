//! Any bytes as a token, a set of keys or JSON: what is read is written and read again alike, nothing is believed that
//! no key has signed, and no two texts are one token.
#![no_main]

use foregate_jose::{Keys, Times, Token, decode, encode, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = decode(data) {
        assert_eq!(encode(&bytes).as_bytes(), data, "one text for each sequence of bytes");
    }
    if let Ok(value) = json::parse(data) {
        assert_eq!(json::parse(value.to_string().as_bytes()), Ok(value), "what is written is what was read");
    }
    let keys = Keys::parse(data);
    // The parts of a token as plain text, so that the fuzzer need not find base64url by itself.
    let parts: Vec<&[u8]> = data.splitn(3, |b| *b == 0).collect();
    let made = parts.iter().map(|it| encode(it)).collect::<Vec<_>>().join(".");
    for text in [data, made.as_bytes()] {
        let Ok(token) = Token::parse(text) else { continue };
        assert!(token.verify(&Keys::default()).is_err(), "no key, no token");
        if let Ok(keys) = &keys {
            let _ = token.verify(keys);
        }
        if let Ok(claims) = token.claims() {
            let _ = Times { now: 1_700_000_000, leeway: 60 }.check(&claims);
        }
    }
});
