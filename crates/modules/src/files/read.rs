//! Reads the directives of this room that have a shape of their own.

use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Node, value as values};
use foregate_core::{Scope, duplicate};

use super::{Options, cache, path, symlinks};

/// What only tunes how nginx reads files and fills packets: read, checked, and nothing else.
#[derive(Clone, Default)]
pub(super) struct Tuning {
    pub(super) cache_events: Option<bool>,
    pub(super) tcp_nopush: Option<bool>,
    pub(super) aio_write: Option<bool>,
    pub(super) directio_alignment: Option<u64>,
    pub(super) read_ahead: Option<u64>,
    pub(super) postpone_output: Option<u64>,
    aio: bool,
    directio: bool,
    output_buffers: bool,
}

/// nginx's default for `inactive=`.
const INACTIVE: Duration = Duration::from_secs(60);

/// `root PATH;` and `alias PATH;`
pub(super) fn root(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let is_alias = node.name == "alias";
    if let Some(before) = &o.root {
        if before.is_alias() == is_alias {
            return Err(duplicate(node));
        }
        let earlier = if is_alias { "root" } else { "alias" };
        let what = format!("is duplicate, \"{earlier}\" directive was specified earlier");
        return Err(Error::directive(node, what).advise("a path is mapped by one of them"));
    }
    if is_alias && o.place.is_named() {
        let what = "the \"alias\" directive cannot be used inside the named location";
        return Err(Error::at(node.name.span, what));
    }
    let word = &node.args[0];
    for name in ["document_root", "realpath_root"] {
        if word.text.contains(&format!("${name}")) || word.text.contains(&format!("${{{name}}}")) {
            let what = format!("the ${name} variable cannot be used in the \"{}\" directive", node.name);
            return Err(Error::at(word.span, what).advise("it is made of this directive"));
        }
    }
    o.root = Some(path::Written::new(word, is_alias.then(|| o.place.clone())));
    Ok(())
}

/// `index NAME …;` Several at one level add up.
pub(super) fn index(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    for (n, word) in node.args.iter().enumerate() {
        if word.text.starts_with('/') && n + 1 != node.args.len() {
            let what = "only the last index in \"index\" directive should be absolute";
            o.warnings.push(Error::at(word.span, what).warn());
        }
        if word.text.is_empty() {
            let what = format!("index \"{word}\" in \"index\" directive is invalid");
            return Err(Error::at(word.span, what));
        }
    }
    o.index.get_or_insert_default().extend_from_slice(&node.args);
    Ok(())
}

/// `try_files NAME … LAST;`
pub(super) fn try_files(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.try_files.is_some() {
        return Err(duplicate(node));
    }
    let last = &node.args[node.args.len() - 1];
    if let Some(code) = last.text.strip_prefix('=')
        && values::number(code).is_none_or(|code| code > super::try_files::STATUS_MAX)
    {
        return Err(Error::at(last.span, format!("invalid code \"{last}\"")));
    }
    o.try_files = Some(node.args.clone());
    Ok(())
}

/// `disable_symlinks off | on | if_not_owner [from=PART];`
pub(super) fn disable_symlinks(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.symlinks.is_some() {
        return Err(duplicate(node));
    }
    let mut rule = None;
    let mut from = None;
    for word in &node.args {
        match (symlinks::Rule::named(word), word.text.starts_with("from=")) {
            (Some(named), _) => rule = Some(named),
            (None, true) => from = Some(word.trimmed("from=".len(), 0)),
            (None, false) => return Err(Error::at(word.span, format!("invalid parameter \"{word}\""))),
        }
    }
    let Some(rule) = rule else {
        let what = "must have \"off\", \"on\" or \"if_not_owner\" parameter";
        return Err(Error::at(node.span, format!("\"{}\" {what}", node.name)));
    };
    if let [one, other] = &*node.args {
        if from.is_none() {
            return Err(Error::at(other.span, format!("duplicate parameters \"{one} {other}\"")));
        }
        if rule == symlinks::Rule::Off {
            return Err(Error::at(node.span, "\"from=\" cannot be used with \"off\" parameter"));
        }
    }
    o.symlinks = Some(symlinks::Written { rule, from });
    Ok(())
}

/// `open_file_cache off;` or `open_file_cache max=N [inactive=TIME];`
pub(super) fn open_file_cache(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.cache.is_some() {
        return Err(duplicate(node));
    }
    let (mut max, mut inactive, mut off) = (None, INACTIVE, false);
    for word in &node.args {
        let invalid = || Error::at(word.span, format!("invalid \"open_file_cache\" parameter \"{word}\""));
        match word.text.split_once('=') {
            Some(("max", n)) => {
                max = Some(values::number(n).filter(|n| *n > 0).ok_or_else(invalid)? as usize);
            }
            Some(("inactive", time)) => {
                inactive = Duration::from_secs(values::time_s(time).ok_or_else(invalid)?);
            }
            None if word == "off" => off = true,
            _ => return Err(invalid()),
        }
    }
    o.cache = Some(match (off, max) {
        (true, _) => None,
        (false, Some(max)) => Some(Arc::new(cache::Spec { max, inactive })),
        (false, None) => {
            let what = "\"open_file_cache\" must have the \"max\" parameter";
            return Err(Error::at(node.span, what).advise("how many files may be kept open: max=1000"));
        }
    });
    Ok(())
}

/// `aio on | off | threads[=POOL];`
pub(super) fn aio(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word = node.args[0].text.as_str();
    let fits = matches!(word, "on" | "off" | "threads") || word.starts_with("threads=");
    once(&mut o.tuning.aio, node, fits)
}

/// `directio SIZE | off;`
pub(super) fn directio(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word = node.args[0].text.as_str();
    once(&mut o.tuning.directio, node, word == "off" || values::offset(word).is_some())
}

/// `output_buffers NUMBER SIZE;`
pub(super) fn output_buffers(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let positive = |it: Option<u64>| it.is_some_and(|it| it > 0);
    let fits = positive(values::number(&node.args[0])) && positive(values::size(&node.args[1]));
    once(&mut o.tuning.output_buffers, node, fits)
}

fn once(seen: &mut bool, node: &Node, fits: bool) -> Result<(), Error> {
    if std::mem::replace(seen, true) {
        return Err(duplicate(node));
    }
    if fits { Ok(()) } else { Err(Error::directive(node, "invalid value")) }
}
