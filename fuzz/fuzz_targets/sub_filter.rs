//! Any strings to find and replace, in any text: how the text is cut changes nothing, and what comes out is what a
//! plain search for the leftmost match would make of it.
#![no_main]

use foregate_core::Transform;
use libfuzzer_sys::fuzz_target;
use search::{Pair, Search};

/// The file itself: it needs nothing of the modules around it, whose build would take long.
#[path = "../../crates/modules/src/sub_filter/search.rs"]
mod search;

fuzz_target!(|data: &[u8]| {
    let [head, piece, rest @ ..] = data else { return };
    let (once, n_pairs) = (head & 1 == 1, usize::from(head >> 1) % 4 + 1);
    let mut parts = rest.split(|b| *b == 0);
    let mut strings = Vec::new();
    for part in parts.by_ref().take(n_pairs) {
        let (find, replace) = part.split_at(part.len() / 2);
        if !find.is_empty() {
            strings.push((find.to_ascii_lowercase(), replace.to_vec()));
        }
    }
    let text = parts.next().unwrap_or_default();
    if strings.is_empty() {
        return;
    }
    let expected = plainly(&strings, once, text);
    for piece_bytes in [text.len().max(1), usize::from(*piece) % 9 + 1, 1] {
        assert_eq!(replaced(&strings, once, text, piece_bytes), expected);
    }
});

fn replaced(strings: &[(Vec<u8>, Vec<u8>)], once: bool, text: &[u8], piece_bytes: usize) -> Vec<u8> {
    let pair = |(find, replace): &(Vec<u8>, Vec<u8>)| Pair {
        find: find.clone(),
        replace: replace.clone(),
        used: false,
    };
    let mut search = Search::new(strings.iter().map(pair).collect(), once);
    let mut out = Vec::new();
    for piece in text.chunks(piece_bytes) {
        search.feed(piece, &mut out).expect("because a search cannot fail");
    }
    search.end(&mut out).expect("because a search cannot fail");
    out
}

fn plainly(strings: &[(Vec<u8>, Vec<u8>)], once: bool, text: &[u8]) -> Vec<u8> {
    let mut used = vec![false; strings.len()];
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let matches = |n: &usize| {
            let find = &strings[*n].0;
            !(once && used[*n])
                && text[at..].get(..find.len()).is_some_and(|it| it.eq_ignore_ascii_case(find))
        };
        match (0..strings.len()).find(matches) {
            Some(n) => {
                used[n] = true;
                out.extend_from_slice(&strings[n].1);
                at += strings[n].0.len();
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}
