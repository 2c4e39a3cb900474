//! `fastcgi_split_path_info`, `fastcgi_index`: which script a URI names, and what follows it.
//!
//! Requests are not passed to FastCGI servers yet: `fastcgi_pass` is refused. What distributions put beside it
//! loads, so that a snippet may stay where it is.

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Regex, Scope, Variable, Variables};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    index: Option<Word>,
    split: Option<Word>,
}

pub struct Settings {
    index: Box<[u8]>,
    split: Option<Regex>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::text("fastcgi_index", Scope::ANY_HTTP, |o| &mut o.index),
        Directive::own("fastcgi_split_path_info", Scope::ANY_HTTP, Args::Exactly(1), split, |o, outer| {
            o.split = o.split.take().or_else(|| outer.split.clone());
        }),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("fastcgi_script_name", script_name),
        Variable::new("fastcgi_path_info", path_info),
    ];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        match (node.name.text.as_str(), node.args.first()) {
            ("fastcgi_split_path_info", Some(pattern)) => Regex::declare(&pattern.text, pattern, variables),
            _ => Ok(()),
        }
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        if options.index.is_none() && options.split.is_none() {
            return Ok(None);
        }
        let split = options.split.map(|pattern| cx.regex(&pattern, false)).transpose()?;
        Ok(Some(Settings { index: options.index.map_or_else(Box::default, |it| it.bytes().into()), split }))
    }
}

fn split(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.split.is_some() {
        return Err(Error::duplicate(node));
    }
    o.split = Some(node.args[0].clone());
    Ok(())
}

/// The script: the first group of the split, or the whole URI with the index where it ends in a slash.
fn script_name(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let cycle = ex.cycle.clone();
    let on = crate::settings(&*cycle, ex.location).fastcgi.as_ref();
    if let Some((script, _)) = on.and_then(|on| parts(on, ex)) {
        out.extend_from_slice(&script);
        return true;
    }
    out.extend_from_slice(&ex.uri);
    if let Some(on) = on.filter(|_| ex.uri.ends_with(b"/")) {
        out.extend_from_slice(&on.index);
    }
    true
}

/// What follows the script: the second group of the split; empty without one.
fn path_info(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let cycle = ex.cycle.clone();
    let on = crate::settings(&*cycle, ex.location).fastcgi.as_ref();
    if let Some((_, info)) = on.and_then(|on| parts(on, ex)) {
        out.extend_from_slice(&info);
    }
    true
}

fn parts(on: &Settings, ex: &mut Exchange) -> Option<(Vec<u8>, Vec<u8>)> {
    let uri = ex.uri.clone();
    // The split is no match of the request's own: what `$1` says stays.
    let before = ex.captures.clone();
    let found = on.split.as_ref()?.matches(ex, &uri).unwrap_or(false);
    let group = |n| ex.captures.get(n).unwrap_or_default().to_vec();
    let parts = found.then(|| (group(1), group(2)));
    ex.captures = before;
    parts
}

#[cfg(test)]
mod tests {
    use crate::testing::Site;

    #[test]
    fn a_uri_is_split_into_script_and_path_info() {
        let site = Site::new("fastcgi_split_path_info ^(.+?\\.php)(/.*)$; fastcgi_index index.php;");
        for (uri, script, info) in
            [("/a.php/b/c", "/a.php", "/b/c"), ("/a.php", "/a.php", ""), ("/d/", "/d/index.php", "")]
        {
            let mut ex = site.exchange(&format!("GET {uri}"));
            let mut got = |name: &str| {
                let mut out = Vec::new();
                let get = crate::variable(name).expect("because it is declared").get;
                get(&mut ex, &mut out);
                String::from_utf8(out).expect("because it is ASCII")
            };
            assert_eq!((got("fastcgi_script_name"), got("fastcgi_path_info")), (script.into(), info.into()));
        }
    }
}
