//! What parsing gives: words and nodes, each with its place in the sources, and the sources themselves.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

/// The `path` of a source that came from `-g`; errors in it end in `in command line`, as nginx's do.
pub const COMMAND_LINE: &str = "command line";

/// A place in the sources of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Index into [`Tree::sources`].
    pub file: u32,
    /// The line nginx names in a message, counted from 1: the line of the `;`, `{` or `}` that made it judge the
    /// directive, not the line on which the word stands when a directive runs over several lines.
    pub line: u32,
    /// Byte offset of the first byte in that file.
    pub start: u32,
    /// Byte offset behind the last byte in that file.
    pub end: u32,
}

impl Span {
    /// From the start of `self` to the end of `other`, which must stand in the same file.
    pub fn to(self, other: Span) -> Span {
        Span { end: other.end.max(self.start), ..self }
    }
}

/// One token: quotes removed, escapes resolved. Reads as a `str`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// The value; bytes that are not UTF-8 are replaced (see [`Word::bytes`]).
    pub text: String,
    /// The exact bytes, where they are not UTF-8.
    raw: Option<Vec<u8>>,
    /// The token as written, quotes included.
    pub span: Span,
    /// Whether it was written in single or double quotes.
    pub quoted: bool,
}

impl Word {
    /// A word from its resolved bytes.
    pub fn new(bytes: Vec<u8>, span: Span, quoted: bool) -> Word {
        match String::from_utf8(bytes) {
            Ok(text) => Word { text, raw: None, span, quoted },
            Err(error) => {
                let raw = error.into_bytes();
                Word { text: String::from_utf8_lossy(&raw).into_owned(), raw: Some(raw), span, quoted }
            }
        }
    }

    /// The exact bytes of the value.
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }

    /// The word without its first `n` and last `m` bytes; the span follows where the word was written plainly.
    pub fn trimmed(&self, n: usize, m: usize) -> Word {
        let bytes = self.bytes();
        let end = bytes.len().saturating_sub(m);
        let kept = bytes.get(n..end).unwrap_or_default().to_vec();
        let mut span = self.span;
        let plain = span.end.saturating_sub(span.start) as usize == bytes.len();
        if plain && n < end {
            span.start += n as u32;
            span.end -= m as u32;
        }
        Word::new(kept, span, self.quoted)
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        self.text == other
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

/// One directive as written, with no meaning yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub name: Word,
    pub args: Vec<Word>,
    /// `Some` for a block, `None` for a directive ended by `;`.
    pub children: Option<Vec<Node>>,
    /// The head: from the name to the last argument.
    pub span: Span,
    /// The `;` of a directive, the `}` of a block: nginx names its line when a block turns out wrong as a whole.
    pub close: Span,
    /// The code between the braces of a `*_by_lua_block`, which is not in nginx's language; `children` is then empty.
    pub code: Option<Span>,
}

impl Node {
    /// The children of a block; none for a directive ended by `;`.
    pub fn body(&self) -> &[Node] {
        self.children.as_deref().unwrap_or_default()
    }

    /// Whether it is a block.
    pub fn is_block(&self) -> bool {
        self.children.is_some()
    }
}

/// One file of a configuration, or the text of one `-g`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// As nginx names it in messages; [`COMMAND_LINE`] for `-g`.
    pub path: PathBuf,
    pub text: Vec<u8>,
}

/// A whole configuration: the nodes with every include in its place, and each file once, in the order first opened.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub nodes: Vec<Node>,
    pub sources: Vec<Source>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_bytes_that_are_not_utf8() {
        let word = Word::new(vec![b'a', 0xff], Span::default(), false);
        assert_eq!(word.bytes(), [b'a', 0xff]);
        assert_eq!(&*word, "a\u{fffd}");
    }

    #[test]
    fn trimming_moves_the_span_of_a_plain_word() {
        let span = Span { start: 10, end: 14, ..Span::default() };
        let word = Word::new(b"~*ab".to_vec(), span, false).trimmed(2, 1);
        assert_eq!((&*word, word.span.start, word.span.end), ("a", 12, 13));
        assert_eq!(&*Word::new(b"(".to_vec(), span, false).trimmed(1, 1), "");
    }
}
