//! Runs the program of a server or a location over an exchange.

use std::borrow::Cow;
use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Word};
use foregate_core::{
    Compile, Exchange, Flow, Level, Regex, Reply, Stop, Template, log,
    variable::Target,
};
use foregate_wire::{Buf, uri};

use super::condition::Condition;
use super::{Line, Settings, compile, is_url};

/// One compiled step.
pub(super) enum Op {
    Set { target: Target, value: Template },
    Rewrite(Box<Rewrite>),
    Return { status: u16, text: Option<Template> },
    Break,
    If { condition: Condition, ops: Box<[Op]>, place: Option<u32> },
}

/// `rewrite PATTERN REPLACEMENT FLAG`.
pub(super) struct Rewrite {
    regex: Regex,
    path: Template,
    /// Behind a `?` in the replacement.
    args: Option<Template>,
    /// No `?` at the end: the request's own query string is kept.
    keep_args: bool,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    GoOn,
    Last,
    Break,
    Redirect(u16),
}

/// What a step asks of the steps behind it.
enum Step {
    Next,
    Leave,
}

/// Somebody who hears of every step that is taken. Requests that are served have nobody, at no cost.
pub trait Watch {
    /// The line at this position of its block's program has been taken.
    fn took(&mut self, _at: usize, _step: Taken<'_>, _ex: &Exchange) {}
    /// The lines of the true `if` at this position follow, until [`Watch::leave`] or the end.
    fn enter(&mut self, _at: usize) {}
    fn leave(&mut self) {}
}

impl Watch for () {}

/// What a step has come to.
pub enum Taken<'a> {
    Set(&'a [u8]),
    Rewrite { matched: bool },
    Return,
    Break,
    If { holds: bool },
}

/// Rewrite phases. Leaves `ex.uri_changed` set where the location must be looked for again.
pub fn run(on: &Settings, ex: &mut Exchange) -> Flow {
    run_watched(on, ex, &mut ())
}

/// As [`run`], with somebody who hears of it.
pub fn run_watched(on: &Settings, ex: &mut Exchange, watch: &mut impl Watch) -> Flow {
    steps(&on.ops, on.log, ex, watch).map_continue(|_| ())
}

fn steps(ops: &[Op], logs: bool, ex: &mut Exchange, watch: &mut impl Watch) -> Flow<Step> {
    for (at, op) in ops.iter().enumerate() {
        let step = match op {
            Op::Set { target, value } => {
                let value = value.fill_new(ex);
                watch.took(at, Taken::Set(&value), ex);
                target.put(ex, value);
                Step::Next
            }
            Op::Rewrite(rewrite) => {
                let told = |ex: &Exchange, matched| watch.took(at, Taken::Rewrite { matched }, ex);
                rewrite.run(logs, ex, told)?
            }
            Op::Return { status, text } => {
                watch.took(at, Taken::Return, ex);
                return Break(answer(*status, text.as_ref(), ex));
            }
            Op::Break => {
                watch.took(at, Taken::Break, ex);
                ex.location_holds &= !ex.uri_changed;
                ex.uri_changed = false;
                Step::Leave
            }
            Op::If { condition, ops, place } => match condition.holds(ex, logs) {
                Err(_) => return too_hard(ex),
                Ok(false) => {
                    watch.took(at, Taken::If { holds: false }, ex);
                    Step::Next
                }
                Ok(true) => {
                    watch.took(at, Taken::If { holds: true }, ex);
                    if let Some(place) = *place {
                        enter(place, ex);
                    }
                    watch.enter(at);
                    let step = steps(ops, logs, ex, watch)?;
                    watch.leave();
                    step
                }
            },
        };
        if matches!(step, Step::Leave) {
            return Continue(Step::Leave);
        }
    }
    Continue(Step::Next)
}

/// A note: an `if` that passes requests on was followed by another one that holds now and does not. nginx keeps the
/// handler of the first and the settings of the second, which cannot go together.
pub struct Unhandled {
    /// The place of the second.
    place: u32,
}

impl Unhandled {
    /// Whether it holds where the exchange is now.
    pub fn holds(ex: &Exchange) -> bool {
        ex.notes.get::<Self>().is_some_and(|it| it.place == ex.location)
    }
}

/// From now on the settings of an `if` hold.
fn enter(place: u32, ex: &mut Exchange) {
    let cycle = ex.cycle.clone();
    let passes = |place| crate::settings(&*cycle, place).proxy.is_some();
    if (passes(ex.location) || Unhandled::holds(ex)) && !passes(place) {
        ex.notes.put(Unhandled { place });
    }
    ex.location = place;
}

fn answer(status: u16, text: Option<&Template>, ex: &mut Exchange) -> Stop {
    if status == 444 {
        return Stop::Close;
    }
    let Some(text) = text else {
        let mut reply = Reply::status(status);
        reply.bare = status >= 300;
        reply.type_by_uri = status < 300;
        return reply.into();
    };
    // The text may say what the status is, though nothing has been sent.
    let before = std::mem::replace(&mut ex.sent.status, status);
    let text = text.fill_new(ex);
    ex.sent.status = before;
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        let mut reply = Reply::status(status);
        reply.fields.push(b"Location", &text);
        return reply.into();
    }
    let mut reply = Reply::bytes(status, b"", Buf::from_vec(text));
    reply.type_by_uri = true;
    reply.into()
}

fn too_hard(ex: &Exchange) -> Flow<Step> {
    log!(ex, Level::Error, "pcre2_match() failed: match limit exceeded");
    Break(Stop::status(500))
}

pub(super) fn log_match(ex: &Exchange, pattern: &str, subject: &[u8], matched: bool) {
    let says = if matched { "matches" } else { "does not match" };
    log!(ex, Level::Notice, "\"{pattern}\" {says} \"{}\"", text(subject));
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl Rewrite {
    /// `told` hears whether it matched, when the URI is the new one.
    fn run(&self, logs: bool, ex: &mut Exchange, mut told: impl FnMut(&Exchange, bool)) -> Flow<Step> {
        let subject = ex.uri.clone();
        let Ok(matched) = self.regex.matches(ex, &subject) else { return too_hard(ex) };
        if logs {
            log_match(ex, self.regex.pattern(), &subject, matched);
        }
        if !matched {
            ex.captures.clear();
            told(ex, false);
            return Continue(Step::Next);
        }
        ex.internal = true;
        ex.target_holds = false;
        if self.end == End::Break {
            ex.location_holds = false;
        }
        ex.uri_changed = self.end != End::Break;
        match self.end {
            End::Redirect(status) => {
                told(ex, true);
                Break(self.redirect(status, logs, ex))
            }
            _ => {
                let step = self.replace(logs, ex)?;
                told(ex, true);
                Continue(step)
            }
        }
    }

    fn redirect(&self, status: u16, logs: bool, ex: &mut Exchange) -> Stop {
        let written = self.fill_quoted(&self.path, ex);
        let mut to = Vec::new();
        let read = uri::unescape(&written, uri::Unescape::Redirect, &mut to);
        to.extend_from_slice(&written[read..]);
        if self.keep_args && !ex.args.is_empty() {
            to.push(if to.contains(&b'?') { b'&' } else { b'?' });
            to.extend_from_slice(&ex.args);
        }
        if logs {
            log!(ex, Level::Notice, "rewritten redirect: \"{}\"", text(&to));
        }
        let mut reply = Reply::status(status);
        reply.fields.push(b"Location", &to);
        reply.into()
    }

    fn replace(&self, logs: bool, ex: &mut Exchange) -> Flow<Step> {
        let path = self.path.fill_new(ex);
        if let Some(args) = &self.args {
            let mut args = self.fill_quoted(args, ex);
            if self.keep_args && !ex.args.is_empty() {
                args.push(b'&');
                args.extend_from_slice(&ex.args);
            }
            ex.args = args;
        } else if !self.keep_args {
            ex.args.clear();
        }
        if logs {
            log!(ex, Level::Notice, "rewritten data: \"{}\", args: \"{}\"", text(&path), text(&ex.args));
        }
        if path.is_empty() {
            log!(ex, Level::Error, "the rewritten URI has a zero length");
            return Break(Stop::status(500));
        }
        ex.uri = path;
        match self.end {
            End::GoOn => Continue(Step::Next),
            _ => Continue(Step::Leave),
        }
    }

    /// Captures come from the decoded path: where they go into a query string or a `Location`, they are
    /// escaped again, if the request had anything escaped.
    fn fill_quoted(&self, template: &Template, ex: &mut Exchange) -> Vec<u8> {
        let path = ex.target.split(|b| *b == b'?').next().unwrap_or_default();
        if path.iter().any(|b| matches!(b, b'%' | b'+')) {
            let mut out = Vec::new();
            template.fill_captures(ex, &mut out, |capture, out| uri::escape(capture, uri::Escape::Args, out));
            return out;
        }
        template.fill_new(ex)
    }
}

impl Op {
    pub(super) fn compile(line: &Line, cx: &mut Compile<'_>) -> Result<Self, Error> {
        match line {
            Line::Set { name, value } => {
                let target = Target::of(name, cx.variables)?;
                Ok(Self::Set { target, value: cx.template(value)? })
            }
            Line::Rewrite { pattern, replacement, flag } => {
                compile_rewrite(pattern, replacement, flag.as_ref(), cx).map(|it| Self::Rewrite(Box::new(it)))
            }
            Line::Return { code, text } => match (code.text.parse(), text) {
                (Ok(status), Some(text)) => Ok(Self::Return { status, text: Some(cx.template(text)?) }),
                (Ok(status), None) => Ok(Self::Return { status, text: None }),
                (Err(_), _) => Ok(Self::Return { status: 302, text: Some(cx.template(code)?) }),
            },
            Line::Break => Ok(Self::Break),
            Line::If { condition, lines, place } => {
                let condition = Condition::compile(condition, cx)?;
                Ok(Self::If { condition, ops: compile(lines, cx)?, place: *place })
            }
        }
    }
}

fn compile_rewrite(
    pattern: &Word,
    replacement: &Word,
    flag: Option<&Word>,
    cx: &mut Compile<'_>,
) -> Result<Rewrite, Error> {
    let regex = cx.regex(pattern, false)?;
    let end = match flag.map(|it| it.text.as_str()) {
        Some("permanent") => End::Redirect(301),
        Some("redirect") => End::Redirect(302),
        _ if is_url(replacement) => End::Redirect(302),
        Some("last") => End::Last,
        Some("break") => End::Break,
        _ => End::GoOn,
    };
    let bytes = replacement.bytes();
    let keep_args = !bytes.ends_with(b"?");
    let bytes = bytes.strip_suffix(b"?").unwrap_or(bytes);
    let split = bytes.iter().position(|b| *b == b'?').filter(|_| !matches!(end, End::Redirect(_)));
    let (path, args) = match split {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let mut part =
        |bytes: &[u8]| cx.template(&Word::new(bytes.to_vec(), replacement.span, replacement.quoted));
    Ok(Rewrite { regex, path: part(path)?, args: args.map(&mut part).transpose()?, keep_args, end })
}
