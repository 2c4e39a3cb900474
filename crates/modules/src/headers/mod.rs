//! `add_header`, `add_trailer`, `expires`: fields that the configuration adds to answers.

mod expires;
#[cfg(test)]
mod tests;
mod trailers;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Reply, Scope, Template};
use foregate_net::clock;
use foregate_wire::date;

use expires::Expires;
pub use trailers::{make_room, trailers};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    expires: Option<expires::Written>,
    headers: Option<Vec<Line>>,
    trailers: Option<Vec<Line>>,
    headers_inherit: Option<usize>,
    trailers_inherit: Option<usize>,
}

/// `NAME VALUE [always]` as written.
#[derive(Clone)]
struct Line {
    name: Word,
    value: Word,
    always: bool,
}

pub struct Settings {
    expires: Option<Expires>,
    headers: Box<[Added]>,
    trailers: Box<[Added]>,
}

/// A field to add; an empty value adds none.
struct Added {
    name: Box<[u8]>,
    value: Template,
    always: bool,
    special: Special,
}

/// Names that do more than stand in a line of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    None,
    /// Takes the place of what is there and moves what `expires modified` starts from; empty removes.
    LastModified,
    /// Takes the place of what is there; empty removes.
    Etag,
}

/// Values of `add_header_inherit` and `add_trailer_inherit`, by position.
const INHERIT: [&str; 3] = ["off", "on", "merge"];
const OFF: usize = 0;
const MERGE: usize = 2;

/// Header filter. Runs once the conditions of the request have been judged.
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    if ex.subrequest_depth > 0 {
        return;
    }
    let safe = is_safe(reply.status);
    if let Some(expires) = on.expires.as_ref().filter(|_| safe) {
        expires.apply(ex, reply, clock::unix_ms() as i64 / 1000);
    }
    let mut value = Vec::new();
    for added in on.headers.iter().filter(|it| safe || it.always) {
        value.clear();
        ex.seeing(reply, |ex| added.value.fill(ex, &mut value));
        added.apply(&value, reply);
    }
}

/// Statuses whose answers get fields that are not marked `always`.
fn is_safe(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}

impl Added {
    fn apply(&self, value: &[u8], reply: &mut Reply) {
        match (self.special, value) {
            (Special::None, b"") => return,
            (Special::None, _) => reply.fields.push(&*self.name, value),
            (_, b"") => _ = reply.fields.remove(&*self.name),
            (_, _) => {
                reply.fields.remove(&*self.name);
                reply.fields.push(&*self.name, value);
            }
        }
        if self.special == Special::LastModified {
            reply.mtime = date::parse(value);
        }
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("expires", Scope::ANY_HTTP_IF, Args::Between(1, 2), expires::read, |o, outer| {
            o.expires = o.expires.take().or_else(|| outer.expires.clone());
        }),
        // Before the lists: how those are inherited is itself inherited.
        Directive::choice("add_header_inherit", Scope::ANY_HTTP_IF, &INHERIT, |o| &mut o.headers_inherit),
        Directive::choice("add_trailer_inherit", Scope::ANY_HTTP_IF, &INHERIT, |o| &mut o.trailers_inherit),
        Directive::own("add_header", Scope::ANY_HTTP_IF, Args::Between(2, 3), header, |o, outer| {
            inherit(&mut o.headers, outer.headers.as_ref(), o.headers_inherit);
        }),
        Directive::own("add_trailer", Scope::ANY_HTTP_IF, Args::Between(2, 3), trailer, |o, outer| {
            inherit(&mut o.trailers, outer.trailers.as_ref(), o.trailers_inherit);
        }),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let expires = options.expires.map(|it| it.compile(cx)).transpose()?.flatten();
        let headers = compile(options.headers, cx)?;
        let trailers = compile(options.trailers, cx)?;
        if expires.is_none() && headers.is_empty() && trailers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Settings { expires, headers, trailers }))
    }
}

fn header(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.headers.get_or_insert_default().push(line(node)?);
    Ok(())
}

fn trailer(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.trailers.get_or_insert_default().push(line(node)?);
    Ok(())
}

fn line(node: &Node) -> Result<Line, Error> {
    if let Some(word) = node.args.get(2).filter(|it| **it != "always") {
        let error = Error::at(word.span, format!("invalid parameter \"{word}\""));
        return Err(error.advise("quote the value, if it holds spaces"));
    }
    Ok(Line { name: node.args[0].clone(), value: node.args[1].clone(), always: node.args.len() == 3 })
}

/// A block's own lines stand in the place of the outer ones, unless they are to be merged.
fn inherit(own: &mut Option<Vec<Line>>, outer: Option<&Vec<Line>>, how: Option<usize>) {
    match (own, outer) {
        (_, None) => (),
        _ if how == Some(OFF) => (),
        (own @ None, Some(outer)) => *own = Some(outer.clone()),
        (Some(own), Some(outer)) if how == Some(MERGE) => own.extend_from_slice(outer),
        _ => (),
    }
}

fn compile(lines: Option<Vec<Line>>, cx: &mut Compile<'_>) -> Result<Box<[Added]>, Error> {
    let added = |line: Line| {
        let special = match line.name.text.to_ascii_lowercase().as_str() {
            "last-modified" => Special::LastModified,
            "etag" => Special::Etag,
            _ => Special::None,
        };
        let value = cx.template(&line.value)?;
        Ok(Added { name: line.name.bytes().into(), value, always: line.always, special })
    };
    lines.unwrap_or_default().into_iter().map(added).collect()
}
