//! An error as a person reads it: nginx's line, the place in the text, and what to write instead.

use std::fmt::Write;
use std::path::Path;

use crate::error::Error;
use crate::tree::{COMMAND_LINE, Source, Span};

/// Of a line longer than this, in characters, only the surroundings of the mistake are shown.
const LINE_CHARS_SHOWN: usize = 160;

/// Characters kept before the mistake in such a line.
const LINE_CHARS_BEFORE: usize = 60;

const RED: &str = "\x1b[1;31m";
const BLUE: &str = "\x1b[1;34m";
const GREEN: &str = "\x1b[1;32m";
const PLAIN: &str = "\x1b[0m";

/// The message, with a newline behind each line. The first is what nginx would print behind `nginx: [emerg] `.
pub fn render(error: &Error, sources: &[Source], colour: bool) -> String {
    let paint = |with: &'static str| if colour { with } else { "" };
    let plain = paint(PLAIN);
    let mut out = message(error, sources);
    out.push('\n');
    let source = error.span.and_then(|span| Some((span, sources.get(span.file as usize)?)));
    let mut width = 0;
    if let Some((span, source)) = source {
        let shown = Excerpt::new(span, source);
        let number = shown.number.map(|number| number.to_string()).unwrap_or_default();
        width = number.len();
        let (blue, red) = (paint(BLUE), paint(RED));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{blue}{:width$} |{plain}", "");
        let _ = writeln!(out, "{blue}{number} |{plain} {}", shown.line);
        let _ = writeln!(out, "{blue}{:width$} |{plain} {}{red}{}{plain}", "", shown.pad, shown.carets);
    }
    if let Some(advice) = &error.advice {
        let _ = writeln!(out, "{:width$}{}help:{plain} {advice}", "", paint(GREEN));
    }
    out
}

/// nginx's line: what, and where.
fn message(error: &Error, sources: &[Source]) -> String {
    let what = printable(&error.what);
    let source = error.span.and_then(|span| Some((span, sources.get(span.file as usize)?)));
    match source {
        Some((_, source)) if is_command_line(source) => format!("{what} in command line"),
        Some((span, source)) => format!("{what} in {}:{}", source.path.display(), span.line),
        None => what,
    }
}

fn is_command_line(source: &Source) -> bool {
    source.path == Path::new(COMMAND_LINE)
}

/// One line of a source, ready to print, and the carets below it.
struct Excerpt {
    /// The line on which the span starts; nginx's, in the message, may be a later one. None on the command line.
    number: Option<usize>,
    line: String,
    pad: String,
    carets: String,
}

impl Excerpt {
    fn new(span: Span, source: &Source) -> Excerpt {
        let text = &source.text;
        let start = (span.start as usize).min(text.len());
        let end = (span.end as usize).clamp(start, text.len());
        let from = text[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let to = text[start..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| start + at);
        let number = 1 + text[..from].iter().filter(|byte| **byte == b'\n').count();
        let before = characters(&text[from..start]);
        let marked = characters(&text[start..end.min(to)]);
        let after = characters(text[end.min(to)..to].trim_ascii_end());
        let long = before.len() + marked.len() + after.len() > LINE_CHARS_SHOWN;
        let skipped = if long { before.len().saturating_sub(LINE_CHARS_BEFORE) } else { 0 };
        let before = &before[skipped..];
        let dots = if skipped > 0 { "..." } else { "" };
        let room = LINE_CHARS_SHOWN.saturating_sub(before.len());
        let shown = marked.iter().chain(&after).take(if long { room } else { usize::MAX });
        let line = dots.chars().chain(before.iter().copied()).chain(shown.copied()).collect();
        let n_carets = marked.len().min(if long { room } else { usize::MAX }).max(1);
        let blank = |letter: &char| if *letter == '\t' { '\t' } else { ' ' };
        let pad = " ".repeat(dots.len()) + &before.iter().map(blank).collect::<String>();
        let number = (!is_command_line(source)).then_some(number);
        Excerpt { number, line, pad, carets: "^".repeat(n_carets) }
    }
}

/// Nothing in a configuration may steer the terminal it is printed on.
fn characters(bytes: &[u8]) -> Vec<char> {
    String::from_utf8_lossy(bytes).chars().map(visible).collect()
}

fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(letter: char) -> char {
    if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Strings, load};

    fn source(text: &str) -> [Source; 1] {
        [Source { path: "/etc/nginx/nginx.conf".into(), text: text.into() }]
    }

    #[test]
    fn a_message_shows_the_line_and_the_place() {
        let text = "http {\n    prox_pass http://x;\n}\n";
        let span = Span { file: 0, line: 2, start: 11, end: 20 };
        let error = Error::at(span, "unknown directive \"prox_pass\"").advise("did you mean \"proxy_pass\"?");
        let expected = "\
unknown directive \"prox_pass\" in /etc/nginx/nginx.conf:2
  |
2 |     prox_pass http://x;
  |     ^^^^^^^^^
 help: did you mean \"proxy_pass\"?
";
        assert_eq!(render(&error, &source(text), false), expected);
        assert!(render(&error, &source(text), true).contains("\x1b[1;31m^^^^^^^^^\x1b[0m"));
    }

    #[test]
    fn the_command_line_has_no_numbers() {
        let files = Strings::new([("a", "")]);
        let (error, sources) = load(Path::new("a"), &["daemon off".into()], &files).unwrap_err();
        let expected = "\
unexpected end of parameter, expecting \";\" in command line
 |
 | daemon off
 |           ^
";
        assert_eq!(render(&error, &sources, false), expected);
    }

    #[test]
    fn an_error_without_a_place_is_one_line() {
        assert_eq!(render(&Error::plain("no \"events\" section"), &[], false), "no \"events\" section\n");
    }

    #[test]
    fn long_lines_and_control_characters_are_tamed() {
        let text = format!("{}bad\x1b[2J{}", "a".repeat(500), "b".repeat(500));
        let error = Error::at(Span { file: 0, line: 1, start: 500, end: 504 }, "x\ny");
        let shown = render(&error, &source(&text), false);
        assert!(shown.lines().all(|line| line.chars().count() < 180), "{shown}");
        assert!(shown.contains("bad\u{fffd}[2J") && shown.starts_with("x\u{fffd}y in "), "{shown}");
    }
}
