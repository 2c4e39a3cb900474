//! Finds strings in a stream, in whatever pieces it comes.

use foregate_core::{BodyError, Transform};

/// A string to find and its replacement.
pub(super) struct Pair {
    /// Lower case, not empty.
    pub(super) find: Vec<u8>,
    pub(super) replace: Vec<u8>,
    /// It has been replaced before.
    pub(super) used: bool,
}

/// Replaces the leftmost match; where several strings match, the one written first.
pub(super) struct Search {
    pairs: Vec<Pair>,
    once: bool,
    /// Bytes with which a string may begin.
    begins: [bool; 256],
    /// The beginning of what may become a match.
    held: Vec<u8>,
}

/// What stands at one place.
enum Seen {
    Nothing,
    /// This pair's string.
    Match(usize),
    /// The beginning of a string, as far as the input goes.
    Perhaps,
}

impl Search {
    pub(super) fn new(pairs: Vec<Pair>, once: bool) -> Self {
        let mut search = Self { pairs, once, begins: [false; 256], held: Vec::new() };
        search.mark();
        search
    }

    /// Notes with which bytes the strings still looked for begin.
    fn mark(&mut self) {
        self.begins = [false; 256];
        for pair in self.pairs.iter().filter(|it| !(self.once && it.used)) {
            let first = pair.find[0];
            self.begins[usize::from(first)] = true;
            self.begins[usize::from(first.to_ascii_uppercase())] = true;
        }
    }

    /// Replaces in `text`; gives where it must go on with more input.
    fn run(&mut self, text: &[u8], last: bool, out: &mut Vec<u8>) -> usize {
        let (mut at, mut copied) = (0, 0);
        while let Some(step) = text[at..].iter().position(|b| self.begins[usize::from(*b)]) {
            at += step;
            match self.look(&text[at..], last) {
                Seen::Nothing => at += 1,
                Seen::Perhaps => {
                    out.extend_from_slice(&text[copied..at]);
                    return at;
                }
                Seen::Match(n) => {
                    out.extend_from_slice(&text[copied..at]);
                    let pair = &mut self.pairs[n];
                    out.extend_from_slice(&pair.replace);
                    at += pair.find.len();
                    copied = at;
                    if self.once {
                        pair.used = true;
                        self.mark();
                    }
                }
            }
        }
        out.extend_from_slice(&text[copied..]);
        text.len()
    }

    fn look(&self, text: &[u8], last: bool) -> Seen {
        for (n, pair) in self.pairs.iter().enumerate() {
            let seen = text.len().min(pair.find.len());
            if self.once && pair.used || !text[..seen].eq_ignore_ascii_case(&pair.find[..seen]) {
                continue;
            }
            if seen == pair.find.len() {
                return Seen::Match(n);
            }
            if !last {
                return Seen::Perhaps;
            }
        }
        Seen::Nothing
    }
}

impl Transform for Search {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        if self.held.is_empty() {
            let end = self.run(input, false, out);
            self.held.extend_from_slice(&input[end..]);
            return Ok(());
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(input);
        let end = self.run(&text, false, out);
        text.drain(..end);
        self.held = text;
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let text = std::mem::take(&mut self.held);
        self.run(&text, true, out);
        Ok(())
    }
}
