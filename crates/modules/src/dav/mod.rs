//! WebDAV's methods that change files (`dav_methods`): `PUT`, `DELETE`, `MKCOL`, `COPY`, `MOVE`.

mod remove;
#[cfg(test)]
mod tests;
mod transfer;
mod write;

use std::borrow::Cow;
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;

use foregate_conf::{Error, Node};
use foregate_core::{
    Args, Compile, Directive, Exchange, FILE_ACCESS, Flow, Level, Method, Reply, Scope, Stop, duplicate,
    file_access, log,
};
use foregate_net::sys::errno_text;
use foregate_wire::uri;
use rustix::io::Errno;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    methods: Option<Vec<Method>>,
    create_full_put_path: Option<bool>,
    min_delete_depth: Option<u64>,
    access: Option<u32>,
    warnings: Vec<Error>,
}

pub struct Settings {
    methods: Box<[Method]>,
    create_full_put_path: bool,
    /// Parts that a path must have so that `DELETE` removes it; 0 is no limit.
    min_delete_depth: u64,
    /// Permission bits of new files.
    access: u32,
}

const METHODS: [Method; 5] = [Method::Put, Method::Delete, Method::Mkcol, Method::Copy, Method::Move];

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("dav_methods", Scope::ANY_HTTP, Args::AtLeast(1), methods, |o, outer| {
            o.methods = o.methods.take().or_else(|| outer.methods.clone());
        }),
        Directive::flag("create_full_put_path", Scope::ANY_HTTP, |o| &mut o.create_full_put_path),
        Directive::number("min_delete_depth", Scope::ANY_HTTP, |o| &mut o.min_delete_depth),
        Directive::own("dav_access", Scope::ANY_HTTP, Args::Between(1, 3), access, |o, outer| {
            o.access = o.access.or(outer.access);
        }),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.iter().for_each(|it| cx.warn(it.clone()));
        let methods: Box<[_]> = options.methods.unwrap_or_default().into();
        Ok((!methods.is_empty()).then(|| Settings {
            methods,
            create_full_put_path: options.create_full_put_path.unwrap_or(false),
            min_delete_depth: options.min_delete_depth.unwrap_or(0),
            access: options.access.unwrap_or(FILE_ACCESS),
        }))
    }
}

impl Settings {
    /// Whether requests of this method are answered here.
    pub fn takes(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }
}

/// The content handler for the methods that [`Settings::takes`].
pub async fn serve(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    let status = match ex.method {
        Method::Put => write::put(on, ex).await,
        Method::Mkcol => write::make_folder(on, ex),
        Method::Delete => remove::delete(on, ex),
        _ => transfer::copy_or_move(on, ex),
    };
    match status {
        Ok(reply) => Continue(reply),
        Err(status) => Break(Stop::status(status)),
    }
}

/// Several directives at one level add up.
fn methods(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let methods = o.methods.get_or_insert_default();
    for word in &node.args {
        match Method::named(word).filter(|it| METHODS.contains(it)) {
            Some(method) if methods.contains(&method) => {
                o.warnings.push(Error::at(word.span, format!("duplicate value \"{word}\"")).warn());
            }
            Some(method) => methods.push(method),
            None if word.eq_ignore_ascii_case("off") => (),
            None => {
                let error = Error::at(word.span, format!("invalid value \"{word}\""));
                return Err(error.advise("off, or some of: PUT, DELETE, MKCOL, COPY, MOVE"));
            }
        }
    }
    Ok(())
}

fn access(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.access.is_some() {
        return Err(duplicate(node));
    }
    o.access = Some(file_access(node)?);
    Ok(())
}

/// A file or folder that is new: where it is found.
fn created(ex: &Exchange) -> Reply {
    let mut to = Vec::new();
    uri::escape(&ex.uri, uri::Escape::Uri, &mut to);
    let mut reply = done(201);
    reply.fields.push(b"Location", &to);
    reply
}

fn done(status: u16) -> Reply {
    Reply { status, ..Reply::default() }
}

/// The path that a URI of this location stands for, without a slash at its end; 500 where there is none, which has
/// been logged.
fn path_of(ex: &mut Exchange) -> Result<Vec<u8>, u16> {
    let cycle = ex.cycle.clone();
    let files = crate::settings(&*cycle, ex.location).files.as_ref();
    let mut path = files.and_then(|it| it.path_of(ex)).ok_or(500_u16)?;
    // Two slashes are one, so that paths can be compared.
    path.dedup_by(|next, before| (*next, *before) == (b'/', b'/'));
    if path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    Ok(path)
}

/// Whether the request has a body, announced or in chunks.
fn has_body(ex: &Exchange) -> bool {
    ex.body.exists() && ex.body.length != Some(0)
}

/// The value of `Depth`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
    Invalid,
}

fn depth(ex: &Exchange, by_default: Depth) -> Depth {
    match ex.field(b"depth") {
        None => by_default,
        Some(b"0") => Depth::Zero,
        Some(b"1") => Depth::One,
        Some(b"infinity") => Depth::Infinity,
        Some(other) => {
            log!(ex, Level::Error, "client sent invalid \"Depth\" header: \"{}\"", text(other));
            Depth::Invalid
        }
    }
}

/// Logs why a call failed. The status that says so; `missing` where there is nothing of that name.
fn fail(ex: &Exchange, why: &io::Error, missing: u16, call: &str, path: &Path) -> u16 {
    let (level, status) = match Errno::from_io_error(why) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => (Level::Error, missing),
        Some(Errno::ACCESS | Errno::PERM) => (Level::Error, 403),
        Some(Errno::EXIST) => (Level::Error, 405),
        Some(Errno::NOSPC) => (Level::Crit, 507),
        _ => (Level::Crit, 500),
    };
    log!(ex, level, "{call} \"{}\" failed ({})", path.display(), errno_text(why));
    status
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
