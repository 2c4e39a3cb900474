//! Finds `<!--# command name="value" … -->` in a stream, in whatever pieces it comes.
//!
//! ```text
//! Text ─<─▶ Opening ─#─▶ Begin ─▶ Command ─blank─▶ Gap ─▶ Name ─=─▶ Quote ─"─▶ Value ─"─▶ Closed
//!   ▲          │                     └──────-───────┴──────────────────────────────────────┴─▶ Dash ─-─▶ Dashes
//!   └──────────┘                                                                                   ─>─▶ Text
//! ```
//! What is wrong in a tag leads to `Wrong`, which passes over the rest of it. No more is held than one tag's command,
//! names and values, each of which has a limit.

use std::ops::Range;

/// How a tag begins.
const OPENING: &[u8; 5] = b"<!--#";
/// As nginx: bytes of a command's name, of a parameter's name, and parameters of one command.
const COMMAND_BYTES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 32;
pub(super) const PARAMS_MAX: usize = 16;

/// Reads a stream; see [`Parser::next`].
pub(super) struct Parser {
    state: State,
    /// Bytes of `<!--#` seen, which are plain text unless the rest follows.
    held: usize,
    value_bytes_max: usize,
    tag: Tag,
}

/// One command as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) command: Vec<u8>,
    /// Names and values; backslashes in values stand as they were. Never more than [`PARAMS_MAX`] and one.
    pub(super) params: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What stands in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// These bytes of the input are plain text.
    Text(Range<usize>),
    /// So many bytes of `<!--`, from this piece or one before it, were plain text.
    Opening(usize),
    /// A command is complete: [`Parser::tag`].
    Command,
    /// Why the tag that is being read is none, as nginx says it. Its end follows.
    Wrong(String),
    /// The end of a tag that was wrong.
    WrongEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    Opening,
    Begin,
    Command,
    Gap,
    Name,
    BeforeEquals,
    BeforeValue,
    Value { quote: u8, escaped: bool },
    Closed,
    Dash,
    Dashes,
    Wrong { dashes: u8 },
}

impl Parser {
    pub(super) fn new(value_bytes_max: usize) -> Self {
        Self { state: State::Text, held: 0, value_bytes_max, tag: Tag::default() }
    }

    /// The command that was read last.
    pub(super) fn tag(&mut self) -> &mut Tag {
        &mut self.tag
    }

    /// What comes next in `input` from `at` on, and moves `at` behind it. `None`: nothing more without more input.
    pub(super) fn next(&mut self, input: &[u8], at: &mut usize) -> Option<Event> {
        while *at < input.len() {
            if self.state == State::Text {
                let rest = &input[*at..];
                let long = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
                let start = *at;
                *at += long;
                if long < rest.len() {
                    *at += 1;
                    self.state = State::Opening;
                    self.held = 1;
                }
                if long > 0 {
                    return Some(Event::Text(start..start + long));
                }
                continue;
            }
            let byte = input[*at];
            if self.state == State::Opening && byte != OPENING[self.held] && byte != b'<' {
                // The byte itself is text again.
                self.state = State::Text;
                return Some(Event::Opening(std::mem::take(&mut self.held)));
            }
            *at += 1;
            let event = self.step(byte);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The input has ended: bytes of `<!--` that were held are text.
    pub(super) fn end(&mut self) -> Option<Event> {
        match self.state {
            State::Opening => {
                self.state = State::Text;
                Some(Event::Opening(std::mem::take(&mut self.held)))
            }
            _ => None,
        }
    }

    fn step(&mut self, byte: u8) -> Option<Event> {
        let blank = matches!(byte, b' ' | b'\r' | b'\n' | b'\t');
        match self.state {
            State::Text => None,
            State::Opening => self.opening(byte),
            State::Begin => {
                if !blank {
                    self.tag.command.push(byte);
                    self.state = State::Command;
                }
                None
            }
            State::Command => self.command(byte, blank),
            State::Gap => {
                match byte {
                    _ if blank => (),
                    b'-' => self.state = State::Dash,
                    _ => self.begin_param(byte),
                }
                None
            }
            State::Name => self.name(byte, blank),
            State::BeforeEquals => self.before_equals(byte, blank),
            State::BeforeValue => self.before_value(byte, blank),
            State::Value { quote, escaped } => self.value(byte, quote, escaped),
            State::Closed => self.closed(byte, blank),
            State::Dash if byte == b'-' => {
                self.state = State::Dashes;
                None
            }
            State::Dashes if byte == b'>' => {
                self.state = State::Text;
                Some(Event::Command)
            }
            State::Dash | State::Dashes => {
                let what = format!("unexpected \"{}\" symbol in \"{}\" SSI command", text(&[byte]), self.name_of());
                self.wrong(0, what)
            }
            State::Wrong { dashes } => self.pass_over(byte, dashes),
        }
    }

    fn opening(&mut self, byte: u8) -> Option<Event> {
        if byte != OPENING[self.held] {
            // Another `<`: what was held is text, and this may be the beginning.
            let held = std::mem::replace(&mut self.held, 1);
            return Some(Event::Opening(held));
        }
        self.held += 1;
        if self.held == OPENING.len() {
            self.held = 0;
            self.tag.command.clear();
            self.tag.params.clear();
            self.state = State::Begin;
        }
        None
    }

    fn command(&mut self, byte: u8, blank: bool) -> Option<Event> {
        match byte {
            _ if blank => self.state = State::Gap,
            b'-' => self.state = State::Dash,
            _ if self.tag.command.len() == COMMAND_BYTES_MAX => {
                let what = format!("the \"{}{}...\" SSI command is too long", self.name_of(), text(&[byte]));
                return self.wrong(0, what);
            }
            _ => self.tag.command.push(byte),
        }
        None
    }

    /// What is too much takes the last place, and is counted as too much.
    fn begin_param(&mut self, byte: u8) {
        self.tag.params.truncate(PARAMS_MAX);
        self.tag.params.push((vec![byte], Vec::new()));
        self.state = State::Name;
    }

    fn name(&mut self, byte: u8, blank: bool) -> Option<Event> {
        let name = self.param().0.len();
        match byte {
            _ if blank => self.state = State::BeforeEquals,
            b'=' => self.state = State::BeforeValue,
            b'-' => return self.unexpected(byte, "after"),
            _ if name == NAME_BYTES_MAX => {
                let (command, byte) = (self.name_of(), text(&[byte]));
                let name = text(&self.param().0);
                let what = format!("too long \"{name}{byte}...\" parameter in \"{command}\" SSI command");
                return self.wrong(0, what);
            }
            _ => self.param().0.push(byte),
        }
        None
    }

    fn before_equals(&mut self, byte: u8, blank: bool) -> Option<Event> {
        match byte {
            _ if blank => None,
            b'=' => {
                self.state = State::BeforeValue;
                None
            }
            _ => self.unexpected(byte, "after"),
        }
    }

    fn before_value(&mut self, byte: u8, blank: bool) -> Option<Event> {
        match byte {
            _ if blank => None,
            b'"' | b'\'' => {
                self.state = State::Value { quote: byte, escaped: false };
                None
            }
            _ => self.unexpected(byte, "before value of"),
        }
    }

    fn value(&mut self, byte: u8, quote: u8, escaped: bool) -> Option<Event> {
        if byte == quote && !escaped {
            self.state = State::Closed;
            return None;
        }
        if self.param().1.len() == self.value_bytes_max {
            let command = self.name_of();
            let (name, value) = self.param();
            let (name, value, byte) = (text(name), text(value), text(&[byte]));
            let what =
                format!("too long \"{value}{byte}...\" value of \"{name}\" parameter in \"{command}\" SSI command");
            return self.wrong(0, what);
        }
        self.param().1.push(byte);
        self.state = State::Value { quote, escaped: byte == b'\\' && !escaped };
        None
    }

    fn closed(&mut self, byte: u8, blank: bool) -> Option<Event> {
        match byte {
            _ if blank => self.state = State::Gap,
            b'-' => self.state = State::Dash,
            _ => {
                let command = self.name_of();
                let (name, value) = self.param();
                let (name, value, byte) = (text(name), text(value), text(&[byte]));
                let what = format!(
                    "unexpected \"{byte}\" symbol after \"{value}\" value of \"{name}\" parameter in \"{command}\" SSI command"
                );
                return self.wrong(0, what);
            }
        }
        None
    }

    fn pass_over(&mut self, byte: u8, dashes: u8) -> Option<Event> {
        let dashes = match (byte, dashes) {
            (b'>', 2) => {
                self.state = State::Text;
                return Some(Event::WrongEnd);
            }
            (b'-', 0 | 1) => dashes + 1,
            _ => 0,
        };
        self.state = State::Wrong { dashes };
        None
    }

    /// A symbol that cannot stand where it does; a dash may be the first of the tag's end.
    fn unexpected(&mut self, byte: u8, place: &str) -> Option<Event> {
        let (command, symbol) = (self.name_of(), text(&[byte]));
        let name = text(&self.param().0);
        let what =
            format!("unexpected \"{symbol}\" symbol {place} \"{name}\" parameter in \"{command}\" SSI command");
        self.wrong(u8::from(byte == b'-'), what)
    }

    fn wrong(&mut self, dashes: u8, what: String) -> Option<Event> {
        self.state = State::Wrong { dashes };
        Some(Event::Wrong(what))
    }

    fn param(&mut self) -> &mut (Vec<u8>, Vec<u8>) {
        self.tag.params.last_mut().expect("because these states come behind a parameter's first byte")
    }

    fn name_of(&self) -> String {
        text(&self.tag.command)
    }
}

/// So many bytes of how a tag begins.
pub(super) fn opening(held: usize) -> &'static [u8] {
    &OPENING[..held.min(OPENING.len())]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream as read in pieces of every size: text, `[command|name=value|…]`, `{what is wrong}` and `{}`.
    fn check(input: &str, value_bytes_max: usize) -> String {
        let mut seen: Option<String> = None;
        for n in 1..=input.len().max(1) {
            let mut parser = Parser::new(value_bytes_max);
            let mut out = String::new();
            for piece in input.as_bytes().chunks(n) {
                let mut at = 0;
                while let Some(event) = parser.next(piece, &mut at) {
                    show(&mut parser, piece, event, &mut out);
                }
                assert_eq!(at, piece.len());
            }
            if let Some(event) = parser.end() {
                show(&mut parser, b"", event, &mut out);
            }
            assert!(seen.as_ref().is_none_or(|it| *it == out), "pieces of {n}: {out}");
            seen = Some(out);
        }
        seen.unwrap()
    }

    fn show(parser: &mut Parser, piece: &[u8], event: Event, out: &mut String) {
        match event {
            Event::Text(range) => out.push_str(&text(&piece[range])),
            Event::Opening(held) => out.push_str(&text(opening(held))),
            Event::Wrong(what) => out.push_str(&format!("{{{what}}}")),
            Event::WrongEnd => out.push_str("{}"),
            Event::Command => {
                let tag = parser.tag();
                out.push_str(&format!("[{}", text(&tag.command)));
                for (name, value) in &tag.params {
                    out.push_str(&format!("|{}={}", text(name), text(value)));
                }
                out.push(']');
            }
        }
    }

    #[test]
    fn tags_are_found_wherever_they_break() {
        for (input, want) in [
            ("plain", "plain"),
            ("", ""),
            ("a<!--#endif-->b", "a[endif]b"),
            ("<!--# include virtual=\"/x\" -->", "[include|virtual=/x]"),
            ("<!--#echo\r\n\tvar = 'a' default=''-->", "[echo|var=a|default=]"),
            ("<!--#set var=\"a\" value='b\"c' -->", "[set|var=a|value=b\"c]"),
            (r#"<!--#set value="a\"b\\" -->"#, r#"[set|value=a\"b\\]"#),
            ("<!-- comment --><b><<!--#x--><", "<!-- comment --><b><[x]<"),
            ("<!<!-<!--<!--#x --><!--", "<!<!-<!--[x]<!--"),
            ("<!---#x-->", "<!---#x-->"),
        ] {
            assert_eq!(check(input, 255), want, "{input}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_passed_over() {
        let long = "x".repeat(33);
        for (input, want) in [
            (
                "a<!--#x -y -->b",
                "a{unexpected \"y\" symbol in \"x\" SSI command}{}b".to_owned(),
            ),
            ("<!--#x a- -->b", "{unexpected \"-\" symbol after \"a\" parameter in \"x\" SSI command}{}b".into()),
            ("<!--#x a-->b", "{unexpected \"-\" symbol after \"a\" parameter in \"x\" SSI command}{}b".into()),
            ("<!--#x a b-->c", "{unexpected \"b\" symbol after \"a\" parameter in \"x\" SSI command}{}c".into()),
            (
                "<!--#x a=b-->c",
                "{unexpected \"b\" symbol before value of \"a\" parameter in \"x\" SSI command}{}c".into(),
            ),
            (
                "<!--#x a='b'c ->--->d",
                "{unexpected \"c\" symbol after \"b\" value of \"a\" parameter in \"x\" SSI command}".into(),
            ),
            (
                "<!--#x a='12345' -->d",
                "{too long \"12345...\" value of \"a\" parameter in \"x\" SSI command}{}d".into(),
            ),
            (&*format!("<!--#{long} -->d"), format!("{{the \"{long}...\" SSI command is too long}}{{}}d")),
            (
                &*format!("<!--#x {long}='' -->d"),
                format!("{{too long \"{long}...\" parameter in \"x\" SSI command}}{{}}d"),
            ),
        ] {
            assert_eq!(check(input, 4), want, "{input}");
        }
    }

    #[test]
    fn no_more_parameters_are_kept_than_too_many() {
        let mut parser = Parser::new(9);
        let tag = format!("<!--#x {}-->", "a='b' ".repeat(100));
        let mut at = 0;
        assert_eq!(parser.next(tag.as_bytes(), &mut at), Some(Event::Command));
        assert_eq!(parser.tag().params.len(), PARAMS_MAX + 1);
    }
}
