//! Bytes become tokens, by nginx's rules: what ends a word, what a quote and a backslash mean, where comments start.

use crate::error::Error;
use crate::tree::{Span, Word};

/// nginx reads a configuration through a buffer of this size, and a word must end inside it.
pub(crate) const WORD_BYTES_MAX: usize = 4096;

/// What the message about a too long word shows of its beginning.
const WORD_BYTES_SHOWN: usize = 10;

/// What the lexer meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(Word),
    /// From `#` to the end of the line, exclusive.
    Comment(Span),
    /// `;`
    Semicolon(Span),
    /// `{`
    Open(Span),
    /// `}`
    Close(Span),
    End(Span),
}

/// A cursor over one source.
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    file: u32,
    pos: usize,
    line: u32,
    /// The last token was quoted: only a space, `;`, `{` or `)` may follow.
    need_space: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], file: u32) -> Lexer<'a> {
        Lexer { text, file, pos: 0, line: 1, need_space: false }
    }

    /// The next token. `in_directive`: words of the same directive came before, which decides what a brace means.
    pub(crate) fn next(&mut self, in_directive: bool) -> Result<Token, Error> {
        self.after_quote()?;
        while let Some(byte) = self.text.get(self.pos).copied()
            && is_space(byte)
        {
            self.step();
        }
        let Some(byte) = self.text.get(self.pos).copied() else {
            return Ok(Token::End(self.span(self.pos, self.pos)));
        };
        match byte {
            b';' | b'{' if !in_directive => Err(self.unexpected()),
            b'}' if in_directive => Err(self.unexpected()),
            b';' => Ok(Token::Semicolon(self.single())),
            b'{' => Ok(Token::Open(self.single())),
            b'}' => Ok(Token::Close(self.single())),
            b'#' => Ok(Token::Comment(self.comment())),
            b'"' | b'\'' => self.quoted(byte).map(Token::Word),
            _ => self.plain().map(Token::Word),
        }
    }

    /// A place between two offsets, on the line the cursor stands on.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, line: self.line, start: start as u32, end: end as u32 }
    }

    /// Skips Lua code up to the brace that closes its block, knowing Lua's strings and comments; gives the code's
    /// place and the brace's. The cursor must stand behind the opening brace.
    pub(crate) fn lua_block(&mut self) -> Result<(Span, Span), Error> {
        let start = self.pos;
        let mut depth = 0_usize;
        while let Some(byte) = self.text.get(self.pos).copied() {
            match byte {
                b'{' => depth += 1,
                b'}' if depth == 0 => {
                    let code = self.span(start, self.pos);
                    return Ok((code, self.single()));
                }
                b'}' => depth -= 1,
                b'"' | b'\'' => self.lua_string(byte),
                b'-' if self.text[self.pos..].starts_with(b"--") => self.lua_comment(),
                b'[' => drop(self.lua_long_bracket()),
                _ => {}
            }
            self.step();
        }
        let end = self.span(self.pos, self.pos);
        Err(Error::at(end, "unexpected end of file, expecting \"}\""))
    }

    /// What may stand right behind a closing quote.
    fn after_quote(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.need_space) {
            return Ok(());
        }
        match self.text.get(self.pos) {
            None | Some(b';' | b'{' | b')') => Ok(()),
            Some(&byte) if is_space(byte) => Ok(()),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// A word without quotes: ends before a space, `;` or a `{` that does not follow `$`.
    fn plain(&mut self) -> Result<Word, Error> {
        let (start, start_line) = (self.pos, self.line);
        let mut variable = false;
        while let Some(byte) = self.text.get(self.pos).copied() {
            match byte {
                b'{' if variable => {}
                b'\\' => {
                    variable = false;
                    self.step();
                }
                b'$' => variable = true,
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' if self.pos > start => {
                    self.check_length(start, start_line, None)?;
                    let span = self.span(start, self.pos);
                    return Ok(Word::new(unescape(&self.text[start..self.pos]), span, false));
                }
                _ => variable = false,
            }
            self.step();
        }
        Err(self.unended(start, start_line, None))
    }

    /// A word in quotes; the cursor stands on the opening one.
    fn quoted(&mut self, quote: u8) -> Result<Word, Error> {
        let start_line = self.line;
        self.pos += 1;
        let start = self.pos;
        while let Some(byte) = self.text.get(self.pos).copied() {
            if byte == quote {
                self.check_length(start, start_line, Some(quote))?;
                let value = unescape(&self.text[start..self.pos]);
                self.pos += 1;
                self.need_space = true;
                return Ok(Word::new(value, self.span(start - 1, self.pos), true));
            }
            if byte == b'\\' {
                self.step();
            }
            self.step();
        }
        Err(self.unended(start, start_line, Some(quote)))
    }

    /// nginx wants the byte that ends a word inside its buffer too.
    fn check_length(&self, start: usize, start_line: u32, quote: Option<u8>) -> Result<(), Error> {
        if self.pos - start < WORD_BYTES_MAX {
            return Ok(());
        }
        Err(self.too_long(start, start_line, quote))
    }

    fn unended(&self, start: usize, start_line: u32, quote: Option<u8>) -> Error {
        if self.text.len() - start > WORD_BYTES_MAX {
            return self.too_long(start, start_line, quote);
        }
        let mut error = self.unexpected_end();
        if let Some(quote) = quote {
            let advice = format!("the {} opened in line {start_line} is never closed", quote as char);
            error = error.advise(advice);
        }
        error
    }

    /// The text ended inside a directive.
    pub(crate) fn unexpected_end(&self) -> Error {
        let end = self.span(self.text.len(), self.text.len());
        Error::at(end, "unexpected end of file, expecting \";\" or \"}\"")
    }

    fn too_long(&self, start: usize, start_line: u32, quote: Option<u8>) -> Error {
        let shown = &self.text[start..(start + WORD_BYTES_SHOWN).min(self.text.len())];
        let what = match quote {
            Some(quote) => {
                format!("too long parameter, probably missing terminating \"{}\" character", quote as char)
            }
            None => format!("too long parameter \"{}...\" started", String::from_utf8_lossy(shown)),
        };
        let from = start - usize::from(quote.is_some());
        let span = Span { line: start_line, ..self.span(from, from + 1) };
        Error::at(span, what)
    }

    fn unexpected(&self) -> Error {
        let byte = [self.text[self.pos]];
        let what = format!("unexpected \"{}\"", String::from_utf8_lossy(&byte));
        Error::at(self.span(self.pos, self.pos + 1), what)
    }

    fn comment(&mut self) -> Span {
        let start = self.pos;
        while self.pos < self.text.len() && self.text[self.pos] != b'\n' {
            self.pos += 1;
        }
        self.span(start, self.pos)
    }

    fn single(&mut self) -> Span {
        self.pos += 1;
        self.span(self.pos - 1, self.pos)
    }

    /// One byte on, counting lines.
    fn step(&mut self) {
        if let Some(byte) = self.text.get(self.pos) {
            self.line += u32::from(*byte == b'\n');
            self.pos += 1;
        }
    }

    /// On the opening quote of a short Lua string; stops on the closing one.
    fn lua_string(&mut self, quote: u8) {
        self.step();
        while let Some(byte) = self.text.get(self.pos).copied()
            && byte != quote
        {
            if byte == b'\\' {
                self.step();
            }
            self.step();
        }
    }

    /// On the `--` of a Lua comment; stops on its last byte or on the line's end.
    fn lua_comment(&mut self) {
        self.pos += 2;
        if self.lua_long_bracket() {
            return;
        }
        while self.text.get(self.pos).is_some_and(|byte| *byte != b'\n') {
            self.pos += 1;
        }
    }

    /// Where `[[`, `[=[`, ... opens a long string or comment: stops on the last byte of its end. `false`, and no
    /// move, where none opens.
    fn lua_long_bracket(&mut self) -> bool {
        let rest = &self.text[self.pos.min(self.text.len())..];
        let level = rest.iter().skip(1).take_while(|byte| **byte == b'=').count();
        if rest.first() != Some(&b'[') || rest.get(level + 1) != Some(&b'[') {
            return false;
        }
        while self.pos < self.text.len() {
            let rest = &self.text[self.pos..];
            let equals = rest.iter().skip(1).take_while(|byte| **byte == b'=').count();
            if rest[0] == b']' && equals == level && rest.get(level + 1) == Some(&b']') {
                self.pos += level + 1;
                return true;
            }
            self.step();
        }
        true
    }
}

/// nginx's white space.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `\"`, `\'` and `\\` lose the backslash, `\t`, `\r` and `\n` become what they name, every other stays as written.
fn unescape(written: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(written.len());
    let mut bytes = written.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let resolved = match (byte, bytes.peek()) {
            (b'\\', Some(&next @ (b'"' | b'\'' | b'\\'))) => next,
            (b'\\', Some(b't')) => b'\t',
            (b'\\', Some(b'r')) => b'\r',
            (b'\\', Some(b'n')) => b'\n',
            _ => {
                value.push(byte);
                continue;
            }
        };
        bytes.next();
        value.push(resolved);
    }
    value
}
