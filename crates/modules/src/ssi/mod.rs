//! `ssi`: pages that include others, show variables and decide (`<!--# include virtual="/menu.html" -->`).

mod command;
mod condition;
mod family;
mod page;
mod parser;
#[cfg(test)]
mod tests;
mod value;

use foregate_conf::{Error, Node};
use foregate_core::{
    Args, BodyError, BoxFuture, Compile, Directive, Exchange, Method, Reply, Scope, Types, Variable, time,
};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    on: Option<bool>,
    silent_errors: Option<bool>,
    last_modified: Option<bool>,
    types: Option<Types>,
    value_bytes_max: Option<u64>,
    /// `subrequest_output_buffer_size`
    set_bytes_max: Option<u64>,
    /// Only tune what is done otherwise here.
    min_file_chunk: Option<u64>,
    ignore_recycled: Option<bool>,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

pub struct Settings {
    /// Where this is off, the rest counts for what pages elsewhere include from here.
    on: bool,
    silent_errors: bool,
    last_modified: bool,
    types: Types,
    value_bytes_max: usize,
    set_bytes_max: usize,
}

/// Types that are processed, whatever `ssi_types` says.
const TYPES: [&str; 1] = ["text/html"];
/// nginx's default for `ssi_value_length`.
const VALUE_BYTES_MAX: usize = 255;
/// nginx's default for `subrequest_output_buffer_size`: a page of memory.
const SET_BYTES_MAX: usize = 4 << 10;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("ssi", Scope::ANY_HTTP_IF, |o| &mut o.on),
        Directive::flag("ssi_silent_errors", Scope::ANY_HTTP, |o| &mut o.silent_errors),
        Directive::flag("ssi_last_modified", Scope::ANY_HTTP, |o| &mut o.last_modified),
        Directive::own("ssi_types", Scope::ANY_HTTP, Args::AtLeast(1), types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
        Directive::size("ssi_value_length", Scope::ANY_HTTP, |o| &mut o.value_bytes_max),
        Directive::size("ssi_min_file_chunk", Scope::ANY_HTTP, |o| &mut o.min_file_chunk),
        Directive::flag("ssi_ignore_recycled_buffers", Scope::ANY_HTTP, |o| &mut o.ignore_recycled),
        Directive::size("subrequest_output_buffer_size", Scope::ANY_HTTP, |o| &mut o.set_bytes_max),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("date_local", |ex, out| date(ex, false, out)),
        Variable::new("date_gmt", |ex, out| date(ex, true, out)),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        let on = options.on.unwrap_or(false);
        if !on && options.set_bytes_max.is_none() {
            return Ok(None);
        }
        let size = |it: Option<u64>, default| it.map_or(default, |it| it as usize);
        Ok(Some(Settings {
            on,
            silent_errors: options.silent_errors.unwrap_or(false),
            last_modified: options.last_modified.unwrap_or(false),
            types: options.types.unwrap_or_else(|| Types::of(&TYPES)),
            value_bytes_max: size(options.value_bytes_max, VALUE_BYTES_MAX),
            set_bytes_max: size(options.set_bytes_max, SET_BYTES_MAX),
        }))
    }
}

/// Whether an answer is a page to process.
pub fn fits(on: &Settings, reply: &Reply) -> bool {
    on.on && reply.content_length() != Some(0) && on.types.fit(&reply.fields)
}

/// Header and body filter; the answer [`fits`]. The head waits for the first byte of the page's output, as it does in
/// nginx where it would fill no packet.
///
/// # Errors
/// The page failed before anything of it could be sent: the connection is closed.
pub fn filter<'a>(
    on: &Settings,
    ex: &'a mut Exchange,
    reply: &'a mut Reply,
) -> BoxFuture<'a, Result<(), BodyError>> {
    let is_main = ex.subrequest_depth == 0;
    if is_main {
        reply.body_changes();
        if on.last_modified {
            reply.weaken_etag();
        } else {
            reply.fields.remove(b"Last-Modified");
            reply.fields.remove(b"ETag");
            reply.mtime = None;
        }
    }
    let rules = page::Rules { silent_errors: on.silent_errors, value_bytes_max: on.value_bytes_max };
    let mut page = page::Page::new(rules, ex, reply);
    let waits = is_main && ex.method != Method::Head;
    Box::pin(async move {
        let begun = if waits { page.begin().await } else { Ok(()) };
        reply.body = foregate_core::Body::Source(page);
        begun
    })
}

/// The largest answer that `include set="…"` takes from where the exchange is, bytes.
fn set_bytes_max(ex: &Exchange) -> usize {
    let cycle = ex.cycle.clone();
    crate::settings(&*cycle, ex.location).ssi.as_ref().map_or(SET_BYTES_MAX, |it| it.set_bytes_max)
}

/// A note: how `config timefmt="…"` wants dates to look.
struct TimeFormat(String);

const TIME_FORMAT: &str = "%A, %d-%b-%Y %H:%M:%S %Z";
/// As nginx: a longer date is none.
const DATE_BYTES_MAX: usize = 2048;

fn date(ex: &mut Exchange, gmt: bool, out: &mut Vec<u8>) -> bool {
    let how = ex.notes.get::<TimeFormat>().map_or(TIME_FORMAT, |it| &it.0);
    let text = time::strftime(time::now_s(), how, gmt).unwrap_or_default();
    if text.is_empty() || text.len() >= DATE_BYTES_MAX {
        return false;
    }
    out.extend_from_slice(text.as_bytes());
    true
}

fn types(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    Types::read(&mut o.types, &TYPES, node, &mut o.warnings);
    Ok(())
}
