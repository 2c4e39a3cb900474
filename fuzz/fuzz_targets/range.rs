//! Any bytes as a Range field: parts lie inside the body, are not empty, and are not more than allowed.
#![no_main]

use foregate_wire::range::{Ranges, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[max, a, b, c], spec)) = data.split_first_chunk::<4>() else {
        return;
    };
    let parts_max = (max < 128).then_some(usize::from(max));
    let length = match c % 4 {
        0 => u64::from(a),
        1 => u64::from(a) << 8 | u64::from(b),
        2 => i64::MAX as u64 - u64::from(a),
        _ => (u64::from(a) << 32) + u64::from(b),
    };
    let _ = parse(spec, length, parts_max);
    let value = [b"bytes=", spec].concat();
    if let Ranges::Parts(parts) = parse(&value, length, parts_max) {
        assert!(!parts.is_empty() && parts_max.is_none_or(|max| parts.len() <= max));
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
        let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
        assert!(total <= length, "several parts never cost more than the whole");
    }
});
