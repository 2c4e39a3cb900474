//! One way to lay out a configuration: what `foregate fmt` writes.

use crate::error::Error;
use crate::lexer::{Lexer, Token};
use crate::tree::Span;

/// Spaces for each block around a line, and for the lines that continue a directive.
const INDENT_SPACES: usize = 4;

/// Lays out a configuration anew: one directive a line, four spaces a level, comments, quoting and single blank lines
/// kept. Words, their order and their quoting never change; laying out the result again changes nothing.
///
/// # Errors
/// Where the text is not in nginx's grammar.
pub fn format(text: &[u8]) -> Result<Vec<u8>, Error> {
    let mut lexer = Lexer::new(text, 0);
    let mut page = Page::new(text);
    let mut name = Vec::new();
    loop {
        let token = lexer.next(page.in_directive)?;
        let is_open = matches!(token, Token::Open(_));
        match token {
            Token::Word(word) => {
                if !page.in_directive {
                    name = word.bytes().to_vec();
                }
                page.word(word.span);
            }
            Token::Comment(span) => page.comment(span),
            Token::Semicolon(span) => page.semicolon(span),
            Token::Open(span) => page.open(span),
            Token::Close(span) if page.depth == 0 => return Err(Error::at(span, "unexpected \"}\"")),
            Token::Close(span) => page.close(span),
            Token::End(_) if page.in_directive => return Err(lexer.unexpected_end()),
            Token::End(span) if page.depth > 0 => {
                return Err(Error::at(span, "unexpected end of file, expecting \"}\""));
            }
            Token::End(_) => return Ok(page.finish()),
        }
        if is_open && name.ends_with(b"_by_lua_block") {
            let (code, brace) = lexer.lua_block()?;
            page.code(code, brace);
        }
    }
}

/// What stands at the end of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing, or an opening brace: no blank line may follow.
    Edge,
    /// The end of a directive, of a block or of a comment.
    Line,
}

struct Page<'a> {
    text: &'a [u8],
    out: Vec<u8>,
    depth: usize,
    in_directive: bool,
    last: Last,
    /// Offset behind the last token in the text.
    behind: usize,
    /// The line on the page ends with a comment: nothing may be added to it.
    closed: bool,
}

impl<'a> Page<'a> {
    fn new(text: &'a [u8]) -> Page<'a> {
        let out = Vec::with_capacity(text.len() + text.len() / 4);
        Page { text, out, depth: 0, in_directive: false, last: Last::Edge, behind: 0, closed: true }
    }

    fn word(&mut self, span: Span) {
        if !self.in_directive {
            self.begin(span, true);
        } else if self.closed || self.newlines_before(span) > 0 {
            self.new_line(self.depth + 1);
        } else {
            self.out.push(b' ');
        }
        self.put(span);
        self.in_directive = true;
    }

    fn comment(&mut self, span: Span) {
        let same_line = self.newlines_before(span) == 0 && !self.closed;
        if same_line {
            self.out.push(b' ');
        } else if self.in_directive {
            self.new_line(self.depth + 1);
        } else {
            self.begin(span, true);
        }
        self.put(span);
        let kept = self.out.trim_ascii_end().len();
        self.out.truncate(kept);
        self.closed = true;
    }

    fn semicolon(&mut self, span: Span) {
        if self.closed {
            self.new_line(self.depth + 1);
        }
        self.put(span);
        self.in_directive = false;
        self.last = Last::Line;
    }

    fn open(&mut self, span: Span) {
        if self.closed {
            self.new_line(self.depth);
        } else {
            self.out.push(b' ');
        }
        self.put(span);
        self.in_directive = false;
        self.depth += 1;
        self.last = Last::Edge;
    }

    fn close(&mut self, span: Span) {
        self.depth -= 1;
        self.begin(span, false);
        self.put(span);
        self.last = Last::Line;
    }

    /// Code in another language, kept as it is, and the brace behind it.
    fn code(&mut self, code: Span, brace: Span) {
        self.depth -= 1;
        self.put(code);
        self.put(brace);
        self.last = Last::Line;
    }

    fn finish(mut self) -> Vec<u8> {
        if !self.out.is_empty() {
            self.out.push(b'\n');
        }
        self.out
    }

    /// A new line of its own, below a blank one where the text had any.
    fn begin(&mut self, span: Span, blank_allowed: bool) {
        let blank = blank_allowed && self.last == Last::Line && self.newlines_before(span) > 1;
        if blank {
            self.out.push(b'\n');
        }
        self.new_line(self.depth);
        self.last = Last::Line;
    }

    fn new_line(&mut self, depth: usize) {
        if !self.out.is_empty() {
            self.out.push(b'\n');
        }
        self.out.resize(self.out.len() + depth * INDENT_SPACES, b' ');
    }

    fn put(&mut self, span: Span) {
        self.out.extend_from_slice(&self.text[span.start as usize..span.end as usize]);
        self.behind = span.end as usize;
        self.closed = false;
    }

    fn newlines_before(&self, span: Span) -> usize {
        self.text[self.behind..span.start as usize].iter().filter(|byte| **byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let once = format(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(&once), expected, "{text}");
        assert_eq!(String::from_utf8_lossy(&format(&once).unwrap()), expected, "again: {text}");
    }

    #[test]
    fn layouts() {
        check("", "");
        check("\n\n", "");
        check("a  b\tc ;", "a b c;\n");
        check("\n\na;\n\n\n\nb;\nc;", "a;\n\nb;\nc;\n");
        check("http{server{listen 80;}}", "http {\n    server {\n        listen 80;\n    }\n}\n");
        check("a {\n\n  b;\n\n}\n\n\nc { }", "a {\n    b;\n}\n\nc {\n}\n");
        check("a;b; # c\n#d", "a;\nb; # c\n#d\n");
        check("a { # b\n# c\r\n}# d", "a { # b\n    # c\n} # d\n");
        check("# one  \r\n\r\n# two", "# one\n\n# two\n");
        check("a 'b  c'\n  \"d\"\n ;", "a 'b  c'\n    \"d\";\n");
        check("a b # c\n d # e\n; f;", "a b # c\n    d # e\n    ;\nf;\n");
        check("a # b\n{ c; }", "a # b\n{\n    c;\n}\n");
        check("if \"(a\"){}", "if \"(a\" ) {\n}\n");
        check("a ${b}c \\{ d\\ ;", "a ${b}c \\{ d\\ ;\n");
        check(
            "h{x_by_lua_block {\n  if a then b = {} end -- }\n}\nc;}",
            "h {\n    x_by_lua_block {\n  if a then b = {} end -- }\n}\n    c;\n}\n",
        );
    }

    #[test]
    fn what_is_no_configuration_is_left_alone() {
        for (text, what) in [
            ("a", "unexpected end of file, expecting \";\" or \"}\""),
            ("a {", "unexpected end of file, expecting \"}\""),
            ("}", "unexpected \"}\""),
            (";", "unexpected \";\""),
        ] {
            assert_eq!(format(text.as_bytes()).unwrap_err().what, what, "{text}");
        }
    }
}
