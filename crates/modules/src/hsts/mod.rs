//! `hsts`: browsers are told to come by TLS alone from now on (RFC 6797).

use foregate_conf::{Error, Node, value};
use foregate_core::{Args, Compile, Directive, Exchange, Reply, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// The field's value; empty: off.
    field: Option<Box<str>>,
}

pub struct Settings(Box<str>);

/// Two years, as browsers' lists want it.
const MAX_AGE_S: u64 = 63_072_000;
/// Browsers take no site into their lists that says less.
const PRELOAD_MAX_AGE_S: u64 = 31_536_000;
const NAME: &[u8] = b"Strict-Transport-Security";

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::own("hsts", Scope::ANY_HTTP, Args::Between(1, 3), read, |o, outer| {
            o.field = o.field.take().or_else(|| outer.field.clone());
        })];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.field.filter(|it| !it.is_empty()).map(Settings))
    }
}

/// `hsts on|off|TIME [includeSubDomains] [preload]`.
fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.field.is_some() {
        return Err(Error::duplicate(node));
    }
    let first = &node.args[0];
    let max_age_s = match first.text.as_str() {
        "off" => {
            o.field = Some("".into());
            return if node.args.len() == 1 { Ok(()) } else { Err(Error::arity(node)) };
        }
        "on" => MAX_AGE_S,
        text => value::time_s(text).ok_or_else(|| {
            Error::at(first.span, format!("invalid value \"{first}\" in \"hsts\" directive"))
                .advise("hsts on; or the time that browsers shall remember it: hsts 365d includeSubDomains;")
        })?,
    };
    let mut field = format!("max-age={max_age_s}");
    for word in &node.args[1..] {
        match word.to_ascii_lowercase().as_str() {
            "includesubdomains" => field += "; includeSubDomains",
            "preload" => field += "; preload",
            _ => return Err(Error::at(word.span, format!("invalid parameter \"{word}\""))),
        }
    }
    let preload = field.ends_with("preload");
    if preload && (max_age_s < PRELOAD_MAX_AGE_S || !field.contains("includeSubDomains")) {
        return Err(Error::at(node.span, "\"preload\" needs includeSubDomains and at least a year"));
    }
    o.field = Some(field.into());
    Ok(())
}

/// Header filter, for every status. A field that is there already stays the only one.
pub fn filter(on: &Settings, ex: &Exchange, reply: &mut Reply) {
    if ex.conn.tls.is_some() && ex.subrequest_depth == 0 && !reply.fields.contains(NAME) {
        reply.fields.push(NAME, on.0.as_bytes());
    }
}
