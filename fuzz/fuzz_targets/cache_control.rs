//! Any bytes as Cache-Control: names are tokens, numbers are bounded, and a list says what its parts say.
#![no_main]

use foregate_wire::cache_control::{DELTA_SECONDS_MAX, cache_directives};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    for directive in cache_directives(line) {
        assert!(!directive.name.is_empty() && !directive.name.iter().any(|b| b" ,=\"\t".contains(b)));
        assert!(directive.seconds().is_none_or(|it| (0..=DELTA_SECONDS_MAX).contains(&it)));
        assert!(directive.names().all(|it| !it.is_empty()));
    }
    if line.contains(&b'"') {
        return;
    }
    // Without quotes, a comma always parts.
    let twice = [line, b",", line].concat();
    let (once, all) = (cache_directives(line).count(), cache_directives(&twice).count());
    assert!(all == 2 * once || all >= 128);
    assert_eq!(cache_directives(&[b"no-store,", line].concat()).next().map(|it| it.is("no-store")), Some(true));
});
