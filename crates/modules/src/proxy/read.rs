//! Readers of the directives with a shape of their own.

use foregate_conf::{Error, Node, Word};
use foregate_core::{Scope, duplicate};
pub(super) use foregate_upstream::draft::read::{invalid, whole};

use super::options::{Options, PassDraft, RedirectDraft};

type Done = Result<(), Error>;

pub(super) fn own_block_only(_: &mut Options, _: &Options) {}

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

pub(super) fn set_header(o: &mut Options, node: &Node, _: Scope) -> Done {
    o.headers.get_or_insert_default().push((node.args[0].clone(), node.args[1].clone()));
    Ok(())
}
