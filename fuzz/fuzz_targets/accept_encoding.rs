//! Any bytes as an Accept-Encoding field: weights stay in their range, case means nothing, and a refusal holds.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The file alone, which needs nothing else: with the modules around it came compressors and TLS, minutes to build.
#[path = "../../crates/modules/src/encoding/accept.rs"]
mod accept;
use accept::{is_msie6, takes_gzip, weight_of};

fuzz_target!(|value: &[u8]| {
    let _ = is_msie6(value);
    let lower = value.to_ascii_lowercase();
    for coding in [&b"gzip"[..], b"br", b"zstd", b"identity"] {
        let weight = weight_of(value, coding);
        assert!(weight <= 1000);
        assert_eq!(weight, weight_of(&lower, coding));
        assert_eq!(weight_of(&[value, b",", coding, b";q=0"].concat(), coding), 0);
        assert!(weight_of(&[value, b",*"].concat(), coding) >= weight);
        if value.iter().all(|b| *b != b'*') && !contains(&lower, coding) {
            assert_eq!(weight, 0, "what is not named is not taken");
        }
    }
    assert!(!takes_gzip(value) || contains(&lower, b"gzip"));
});

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|it| it == part)
}
