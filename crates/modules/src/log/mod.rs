//! `access_log` and `log_format`: one line per request.

mod buffer;
mod escape;
mod files;
mod format;
mod target;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Node, Word, value as values};
use foregate_core::{Args, Compile, Directive, Exchange, Scope, Template, duplicate};

pub use buffer::{flush, flush_lines};
use files::Cache;
use format::Format;
use target::{Access, Buffering};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    formats: Vec<format::Written>,
    /// Each `access_log` as written, but `off`.
    logs: Option<Vec<Vec<Word>>>,
    off: bool,
    cache: Option<Option<Cache>>,
    subrequest: Option<bool>,
    /// Blocks around this one: http has 1, a server 2.
    depth: u32,
}

/// The logs of one place.
pub struct Settings {
    logs: Box<[Access]>,
    cache: Option<Cache>,
    /// `log_subrequest`.
    subrequest: bool,
}

/// What the logs of one configuration share.
#[derive(Default)]
struct Known {
    formats: HashMap<String, Arc<Format>>,
    /// Files that are written with `buffer=`: the same file cannot have two buffers.
    buffered: HashMap<PathBuf, Buffering>,
}

const SERVER_DEPTH: u32 = 2;
/// Debian's place for the log of a configuration without any, and nginx's own below another prefix.
const DEFAULT_PREFIX: &str = "/usr/share/nginx";
const DEFAULT_PATH: &str = "/var/log/nginx/access.log";
const PATH_IN_PREFIX: &str = "logs/access.log";

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("log_format", Scope::HTTP, Args::AtLeast(2), log_format, |_, _| ()),
        Directive::own(
            "access_log",
            Scope::ANY_HTTP_IF.or(Scope::LIMIT_EXCEPT),
            Args::AtLeast(1),
            access_log,
            inherit_logs,
        ),
        Directive::own(
            "open_log_file_cache",
            Scope::ANY_HTTP,
            Args::Between(1, 4),
            open_log_file_cache,
            inherit_cache,
        ),
        Directive::flag("log_subrequest", Scope::ANY_HTTP, |o| &mut o.subrequest),
    ];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        let mut formats = HashMap::new();
        formats.insert("combined".to_owned(), Arc::new(Format::combined(cx)?));
        for written in &options.formats {
            let format = Format::compile(written, cx)?;
            // Names differ by case where they are made, and do not where they are used: the first one is meant.
            formats.entry(written.name.to_ascii_lowercase()).or_insert_with(|| Arc::new(format));
        }
        cx.shared.get_or_default::<Known>().formats = formats;
        Ok(())
    }

    fn inherit(options: &mut Options, outer: &Options) {
        let mut from = outer.clone();
        for directive in Self::DIRECTIVES {
            directive.inherit(options, &mut from);
        }
        options.depth = outer.depth + 1;
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let logs = match options.logs {
            _ if options.off => return Ok(None),
            Some(logs) => logs.iter().map(|it| Access::compile(it, cx)).collect::<Result<_, _>>()?,
            None if options.depth >= SERVER_DEPTH => Box::new([default_log(cx)?]) as Box<[_]>,
            // No request is ever out here: the built-in log is opened only where a server needs it.
            None => return Ok(None),
        };
        let (cache, subrequest) = (options.cache.flatten(), options.subrequest.unwrap_or(false));
        Ok(Some(Settings { logs, cache, subrequest }))
    }
}

/// Writes the lines of an exchange that is over.
pub fn write(on: &Settings, ex: &mut Exchange) {
    if ex.subrequest_depth > 0 && !on.subrequest {
        return;
    }
    for log in &on.logs {
        if log.only_if.as_ref().is_none_or(|condition| holds(condition, ex)) {
            log.write(on.cache.as_ref(), ex);
        }
    }
}

fn holds(condition: &Template, ex: &mut Exchange) -> bool {
    !matches!(&*condition.fill_new(ex), b"" | b"0")
}

fn default_log(cx: &mut Compile<'_>) -> Result<Access, Error> {
    let is_default = cx.prefix.as_os_str().to_string_lossy().trim_end_matches('/') == DEFAULT_PREFIX;
    let path = if is_default { DEFAULT_PATH } else { PATH_IN_PREFIX };
    let word = Word::new(path.into(), foregate_conf::Span::default(), false);
    Access::compile(&[word], cx)
}

fn log_format(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let name = &node.args[0];
    if *name == "combined" || o.formats.iter().any(|it| it.name.text == name.text) {
        return Err(Error::at(name.span, format!("duplicate \"log_format\" name \"{name}\"")));
    }
    o.formats.push(format::Written::read(name, &node.args[1..])?);
    Ok(())
}

fn access_log(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if node.args[0] == "off" {
        o.off = true;
        return match node.args.get(1) {
            Some(word) => Err(Error::at(word.span, format!("invalid parameter \"{word}\""))),
            None => Ok(()),
        };
    }
    o.logs.get_or_insert_default().push(node.args.clone());
    Ok(())
}

/// A block with a log of its own, or with `off`, has nothing of the block around it.
fn inherit_logs(o: &mut Options, outer: &Options) {
    if o.logs.is_none() && !o.off {
        o.logs.clone_from(&outer.logs);
        o.off = outer.off;
    }
}

fn inherit_cache(o: &mut Options, outer: &Options) {
    if o.cache.is_none() {
        o.cache = outer.cache;
    }
}

fn open_log_file_cache(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.cache.is_some() {
        return Err(duplicate(node));
    }
    let (mut max, mut off) = (0, false);
    let mut cache = Cache::default();
    let seconds = |text: &str| values::time_s(text).map(Duration::from_secs);
    for word in &node.args {
        let bad = || Error::at(word.span, format!("invalid \"open_log_file_cache\" parameter \"{word}\""));
        match word.split_once('=') {
            Some(("max", value)) => max = values::number(value).ok_or_else(bad)?,
            Some(("inactive", value)) => cache.inactive = seconds(value).ok_or_else(bad)?,
            Some(("min_uses", value)) => cache.min_uses = values::number(value).ok_or_else(bad)?,
            Some(("valid", value)) => cache.valid = seconds(value).ok_or_else(bad)?,
            None if *word == "off" => off = true,
            _ => return Err(bad()),
        }
    }
    if max == 0 && !off {
        let what = "\"open_log_file_cache\" must have \"max\" parameter";
        return Err(Error::at(node.span, what));
    }
    cache.files_max = max as usize;
    o.cache = Some((!off).then_some(cache));
    Ok(())
}
