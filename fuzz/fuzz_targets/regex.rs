//! Any lines as patterns, the first as their subject: what compiles matches without a panic and within its limit, its
//! groups lie inside the subject, and many patterns together answer as they do one by one.
#![no_main]

use foregate_core::{Regex, Regexes};
use libfuzzer_sys::fuzz_target;

/// More than this, and nothing new is tried.
const PATTERNS_MAX: usize = 24;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|b| *b == b'\n');
    let subject = lines.next().unwrap_or_default();
    let patterns = lines.take(PATTERNS_MAX).filter_map(|it| std::str::from_utf8(it).ok());
    let mut together = Regexes::default();
    let mut alone = Vec::new();
    for pattern in patterns {
        let Ok(regex) = Regex::nameless(pattern) else { continue };
        together.push(regex.clone(), alone.len());
        alone.push(regex);
    }
    together.finish();
    let mut first = Some(None);
    for (n, regex) in alone.iter().enumerate() {
        match (regex.is_match(subject), regex.groups(subject)) {
            (Ok(matches), Ok(groups)) => {
                assert_eq!(matches, groups.is_some(), "{:?} on {subject:?}", regex.pattern());
                if matches && first == Some(None) {
                    first = Some(Some(n));
                }
                for group in groups.into_iter().flatten().filter_map(|(_, it)| it) {
                    let within = subject.as_ptr_range();
                    assert!(group.is_empty() || within.contains(&group.as_ptr()));
                }
            }
            // Too hard: which one is first cannot be told.
            _ if first == Some(None) => first = None,
            _ => (),
        }
    }
    if let Some(first) = first {
        let found = together.candidates(subject).find(|(regex, _)| regex.is_match(subject).unwrap_or(false));
        assert_eq!(found.map(|(_, n)| *n), first, "on {subject:?}");
    }
});
