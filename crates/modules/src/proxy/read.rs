//! Readers of the directives with a shape of their own.

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Scope, TempPath, duplicate, file_access};
use foregate_upstream::{Conditions, Ignored};

use super::options::{Options, PassDraft, RedirectDraft};

type Done = Result<(), Error>;

pub(super) fn own_block_only(_: &mut Options, _: &Options) {}

/// A value is inherited as a whole, if this block wrote none.
pub(super) fn whole<T: Clone>(slot: &mut Option<T>, outer: &Option<T>) {
    if slot.is_none() {
        slot.clone_from(outer);
    }
}

pub(super) fn pass(o: &mut Options, node: &Node, scope: Scope) -> Done {
    if o.pass.is_some() {
        return Err(duplicate(node));
    }
    o.pass = Some(PassDraft { url: node.args[0].clone(), nameless: scope != Scope::LOCATION });
    Ok(())
}

pub(super) fn redirect(o: &mut Options, node: &Node, _: Scope) -> Done {
    let draft = match &*node.args {
        [word] if *word == "off" => return off(&mut o.redirects, node),
        [word] if *word == "default" => {
            let Some(pass) = &o.pass else {
                let what = "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive";
                return Err(Error::at(node.span, what));
            };
            if pass.url.contains('$') {
                let what = "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables";
                return Err(Error::at(node.span, what));
            }
            RedirectDraft::Default
        }
        [word] => return Err(invalid(word)),
        [pattern, replacement, ..] => {
            RedirectDraft::To { pattern: pattern.clone(), replacement: replacement.clone() }
        }
        [] => return Ok(()),
    };
    push(&mut o.redirects, draft, node)
}

/// `off` stands alone in its block.
fn off<T>(slot: &mut Option<Vec<T>>, node: &Node) -> Done {
    if slot.is_some() {
        return Err(duplicate(node));
    }
    *slot = Some(Vec::new());
    Ok(())
}

fn push<T>(slot: &mut Option<Vec<T>>, item: T, node: &Node) -> Done {
    if slot.as_ref().is_some_and(Vec::is_empty) {
        return Err(duplicate(node));
    }
    slot.get_or_insert_default().push(item);
    Ok(())
}

pub(super) fn cookie_domain(o: &mut Options, node: &Node, _: Scope) -> Done {
    pair(&mut o.cookie_domains, node)
}

pub(super) fn cookie_path(o: &mut Options, node: &Node, _: Scope) -> Done {
    pair(&mut o.cookie_paths, node)
}

fn pair(slot: &mut Option<Vec<(Word, Word)>>, node: &Node) -> Done {
    match &*node.args {
        [word] if *word == "off" => off(slot, node),
        [word] => Err(invalid(word)),
        [pattern, replacement, ..] => push(slot, (pattern.clone(), replacement.clone()), node),
        [] => Ok(()),
    }
}

pub(super) fn cookie_flags(o: &mut Options, node: &Node, _: Scope) -> Done {
    match &*node.args {
        [word] if *word == "off" => off(&mut o.cookie_flags, node),
        [word] => Err(invalid(word)),
        [cookie, flags @ ..] => push(&mut o.cookie_flags, (cookie.clone(), flags.to_vec()), node),
        [] => Ok(()),
    }
}

pub(super) fn store(o: &mut Options, node: &Node, _: Scope) -> Done {
    if o.store.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    if word.is_empty() {
        return Err(Error::at(word.span, "empty path"));
    }
    o.store = Some((*word != "off").then(|| word.clone()));
    Ok(())
}

pub(super) fn store_access(o: &mut Options, node: &Node, _: Scope) -> Done {
    if o.store_access.is_some() {
        return Err(duplicate(node));
    }
    o.store_access = Some(file_access(node)?);
    Ok(())
}

pub(super) fn bind(o: &mut Options, node: &Node, _: Scope) -> Done {
    if o.bind.is_some() {
        return Err(duplicate(node));
    }
    let transparent = match node.args.get(1) {
        None if node.args[0] == "off" => {
            o.bind = Some(None);
            return Ok(());
        }
        None => false,
        Some(word) if *word == "transparent" => true,
        Some(word) => return Err(invalid(word)),
    };
    let address = &node.args[0];
    if !address.contains('$') && foregate_upstream::bind_address(address).is_none() {
        return Err(Error::at(address.span, format!("invalid address \"{address}\"")));
    }
    o.bind = Some(Some((address.clone(), transparent)));
    Ok(())
}

pub(super) fn set_header(o: &mut Options, node: &Node, _: Scope) -> Done {
    o.headers.get_or_insert_default().push((node.args[0].clone(), node.args[1].clone()));
    Ok(())
}

pub(super) fn buffers(o: &mut Options, node: &Node, _: Scope) -> Done {
    if o.buffers.is_some() {
        return Err(duplicate(node));
    }
    let bad = || Error::at(node.span, "\"proxy_buffers\" directive invalid value");
    let n = value::number(&node.args[0]).filter(|it| *it > 0).ok_or_else(bad)?;
    let size = value::size(&node.args[1]).filter(|it| *it > 0).ok_or_else(bad)?;
    o.buffers = Some((n, size));
    Ok(())
}

pub(super) fn temp_path(o: &mut Options, node: &Node, _: Scope) -> Done {
    if o.temp_path.is_some() {
        return Err(duplicate(node));
    }
    o.temp_path = Some(TempPath::read(node)?);
    Ok(())
}

pub(super) fn next_upstream(o: &mut Options, node: &Node, _: Scope) -> Done {
    if o.next.is_some() {
        return Err(duplicate(node));
    }
    let mut set = Conditions::OFF;
    let mut off = false;
    for word in &node.args {
        if *word == "off" {
            off = true;
            continue;
        }
        let known = Conditions::NAMES.iter().find(|(name, _)| *word == *name);
        let (_, condition) = known.ok_or_else(|| {
            let names: Vec<_> = Conditions::NAMES.iter().map(|(name, _)| *name).collect();
            Error::at(word.span, format!("invalid value \"{word}\"")).advise(format!("one of: {}, off", names.join(", ")))
        })?;
        set = set.and(*condition);
    }
    o.next = Some(if off { Conditions::OFF } else { set });
    Ok(())
}

pub(super) fn pass_header(o: &mut Options, node: &Node, _: Scope) -> Done {
    o.pass_header.get_or_insert_default().push(node.args[0].text.clone());
    Ok(())
}

pub(super) fn hide_header(o: &mut Options, node: &Node, _: Scope) -> Done {
    o.hide_header.get_or_insert_default().push(node.args[0].text.clone());
    Ok(())
}

pub(super) fn ignore_headers(o: &mut Options, node: &Node, _: Scope) -> Done {
    // Several of one block add up.
    let mut set = o.ignored.unwrap_or_default();
    for word in &node.args {
        let known = Ignored::NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
        let (_, header) = known.ok_or_else(|| Error::at(word.span, format!("invalid value \"{word}\"")))?;
        set = set.and(*header);
    }
    o.ignored = Some(set);
    Ok(())
}

pub(super) fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid parameter \"{word}\""))
}
