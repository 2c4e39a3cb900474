//! `fastcgi_pass` and its kin: requests passed on to applications that speak FastCGI, such as PHP's.

mod params;
mod request;
mod script;
#[cfg(test)]
mod tests;

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, Regex, Reply, Scope, Variable, Variables,
};
use foregate_upstream::Caching;
use foregate_upstream::draft::read::{invalid, once, whole};
use foregate_upstream::draft::{Draft, Family};

use params::{Line, Params};
pub use request::{Passing, preview};
use request::To;

pub struct Module;

/// Passes the request on and brings the answer, which may be there already where answers are kept (`fastcgi_cache`).
pub async fn run(on: &Passing, cache: Option<&Caching>, ex: &mut Exchange) -> Flow<Reply> {
    // What is stored is not kept twice.
    request::run(on, cache.filter(|_| on.rules.store.is_none()), ex).await
}

#[derive(Clone, Default)]
pub struct Options {
    upstream: Draft,
    pass: Option<Word>,
    params: Option<Vec<Line>>,
    index: Option<Word>,
    split: Option<Word>,
    keep_conn: Option<bool>,
    catch_stderr: Option<Vec<Word>>,
}

pub struct Settings {
    index: Box<[u8]>,
    split: Option<Regex>,
    /// Requests are passed on.
    pub passing: Option<Passing>,
}

const ANY: Scope = Scope::ANY_HTTP;
const PASS: Scope = Scope::LOCATION.or(Scope::LOCATION_IF);
const ONE: Args = Args::Exactly(1);

const FAMILY: Family = Family {
    name: "fastcgi",
    hidden: &[
        "Status",
        "X-Accel-Expires",
        "X-Accel-Redirect",
        "X-Accel-Limit-Rate",
        "X-Accel-Buffering",
        "X-Accel-Charset",
    ],
};

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = foregate_upstream::directives!["fastcgi", upstream;
        Directive::own("fastcgi_pass", PASS, ONE, |o, node, _| once(&mut o.pass, node), |_, _| ()),
        Directive::own("fastcgi_param", ANY, Args::Between(2, 3), param, |o, from| {
            whole(&mut o.params, &from.params)
        }),
        Directive::text("fastcgi_index", ANY, |o| &mut o.index),
        Directive::own("fastcgi_split_path_info", ANY, ONE, |o, node, _| once(&mut o.split, node), |o, from| {
            whole(&mut o.split, &from.split)
        }),
        Directive::flag("fastcgi_keep_conn", ANY, |o| &mut o.keep_conn),
        Directive::own("fastcgi_catch_stderr", ANY, ONE, catch_stderr, |o, from| {
            whole(&mut o.catch_stderr, &from.catch_stderr)
        }),
    ];
    const VARIABLES: &'static [Variable] = script::VARIABLES;

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        match (node.name.text.as_str(), node.args.first()) {
            ("fastcgi_split_path_info", Some(pattern)) => Regex::declare(&pattern.text, pattern, variables),
            _ => Ok(()),
        }
    }

    /// `if` and `limit_except` pass on to where their location does.
    fn inherit_handler(options: &mut Options, outer: &Options) {
        if options.pass.is_none() {
            options.pass.clone_from(&outer.pass);
        }
    }

    fn has_handler(options: &Options) -> bool {
        options.pass.is_some()
    }

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let passing = passing(&o, cx)?;
        if passing.is_none() && o.index.is_none() && o.split.is_none() {
            return Ok(None);
        }
        let split = o.split.map(|pattern| two_groups(&pattern, cx)).transpose()?;
        Ok(Some(Settings { index: o.index.map_or_else(Box::default, |it| it.bytes().into()), split, passing }))
    }
}

fn passing(o: &Options, cx: &mut Compile<'_>) -> Result<Option<Passing>, Error> {
    let sizes = o.upstream.sizes(&FAMILY)?;
    let Some(pass) = &o.pass else { return Ok(None) };
    let lines = o.params.as_deref().unwrap_or_default();
    let passes_fields = o.upstream.pass_request_headers.unwrap_or(true);
    Ok(Some(Passing {
        to: To::compile(pass, cx)?,
        rules: o.upstream.compile(&FAMILY, &sizes, cx)?,
        params: Params::compile(lines, false, passes_fields, cx)?,
        cache_params: Params::compile(lines, true, passes_fields, cx)?,
        keep_conn: o.keep_conn.unwrap_or(false),
        caught: o.catch_stderr.iter().flatten().map(|it| it.bytes().into()).collect(),
    }))
}

/// The script and what follows it.
fn two_groups(pattern: &Word, cx: &mut Compile<'_>) -> Result<Regex, Error> {
    let regex = cx.regex(pattern, false)?;
    if regex.n_groups() != 2 {
        return Err(Error::at(pattern.span, format!("pattern \"{pattern}\" must have 2 captures")));
    }
    Ok(regex)
}

fn param(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let if_not_empty = match node.args.get(2) {
        None => false,
        Some(word) if *word == "if_not_empty" => true,
        Some(word) => return Err(invalid(word)),
    };
    let line = Line { name: node.args[0].clone(), value: node.args[1].clone(), if_not_empty };
    o.params.get_or_insert_default().push(line);
    Ok(())
}

fn catch_stderr(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.catch_stderr.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}
