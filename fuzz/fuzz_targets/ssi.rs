//! Any bytes as a page with commands: pieces do not change what is read, no more is held than the limits allow, and
//! a page without `<!--#` passes as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parser::{Event, Parser, opening};

/// The file itself: it needs nothing of the rest, whose build would take long.
#[path = "../../crates/modules/src/ssi/parser.rs"]
mod parser;

const COMMAND_BYTES_MAX: usize = 32;
const PARAMS_MAX: usize = 17;

#[derive(Debug, Default, PartialEq)]
struct Read {
    text: Vec<u8>,
    /// What is no text, with where in the text it stood.
    others: Vec<(usize, String)>,
}

fuzz_target!(|data: &[u8]| {
    let [limit, piece, page @ ..] = data else { return };
    let value_bytes_max = usize::from(*limit);
    let whole = read(page, page.len().max(1), value_bytes_max);
    assert_eq!(whole, read(page, usize::from(*piece) % 7 + 1, value_bytes_max));
    if !page.windows(5).any(|it| it == b"<!--#") {
        assert_eq!(whole.text, page);
        assert!(whole.others.is_empty());
    }
});

fn read(page: &[u8], piece_bytes: usize, value_bytes_max: usize) -> Read {
    let mut parser = Parser::new(value_bytes_max);
    let mut read = Read::default();
    for piece in page.chunks(piece_bytes) {
        let mut at = 0;
        while let Some(event) = parser.next(piece, &mut at) {
            take(&mut parser, piece, event, value_bytes_max, &mut read);
        }
        assert_eq!(at, piece.len());
    }
    if let Some(event) = parser.end() {
        take(&mut parser, b"", event, value_bytes_max, &mut read);
    }
    read
}

fn take(parser: &mut Parser, piece: &[u8], event: Event, value_bytes_max: usize, read: &mut Read) {
    let at = read.text.len();
    match event {
        Event::Text(range) => {
            assert!(!range.is_empty());
            read.text.extend_from_slice(&piece[range]);
        }
        Event::Opening(held) => read.text.extend_from_slice(opening(held)),
        Event::Command => {
            let tag = parser.tag();
            assert!((1..=COMMAND_BYTES_MAX).contains(&tag.command.len()) && tag.params.len() <= PARAMS_MAX);
            for (name, value) in &tag.params {
                assert!((1..=COMMAND_BYTES_MAX).contains(&name.len()) && value.len() <= value_bytes_max);
            }
            read.others.push((at, format!("{tag:?}")));
        }
        other => read.others.push((at, format!("{other:?}"))),
    }
}
