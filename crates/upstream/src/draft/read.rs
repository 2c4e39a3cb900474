//! Readers of the shared directives that have a shape of their own.

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{TempPath, duplicate, file_access};

use super::Draft;
use crate::fields::Ignored;
use crate::rules::{Conditions, bind_address};

type Done = Result<(), Error>;

/// A value is inherited as a whole, if this block wrote none.
pub fn whole<T: Clone>(slot: &mut Option<T>, outer: &Option<T>) {
    if slot.is_none() {
        slot.clone_from(outer);
    }
}

/// A word that stands once in a block, for directives that are inherited in a way of their own.
pub fn once(slot: &mut Option<Word>, node: &Node) -> Done {
    if slot.is_some() {
        return Err(duplicate(node));
    }
    *slot = Some(node.args[0].clone());
    Ok(())
}

pub fn store(o: &mut Draft, node: &Node) -> Done {
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

pub fn store_access(o: &mut Draft, node: &Node) -> Done {
    if o.store_access.is_some() {
        return Err(duplicate(node));
    }
    o.store_access = Some(file_access(node)?);
    Ok(())
}

pub fn bind(o: &mut Draft, node: &Node) -> Done {
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
    if !address.contains('$') && bind_address(address).is_none() {
        return Err(Error::at(address.span, format!("invalid address \"{address}\"")));
    }
    o.bind = Some(Some((address.clone(), transparent)));
    Ok(())
}

pub fn buffers(o: &mut Draft, node: &Node) -> Done {
    if o.buffers.is_some() {
        return Err(duplicate(node));
    }
    let bad = || Error::at(node.span, format!("\"{}\" directive invalid value", node.name));
    let n = value::number(&node.args[0]).filter(|it| *it > 0).ok_or_else(bad)?;
    let size = value::size(&node.args[1]).filter(|it| *it > 0).ok_or_else(bad)?;
    o.buffers = Some((n, size));
    Ok(())
}

pub fn temp_path(o: &mut Draft, node: &Node) -> Done {
    if o.temp_path.is_some() {
        return Err(duplicate(node));
    }
    o.temp_path = Some(TempPath::read(node)?);
    Ok(())
}

pub fn next_upstream(o: &mut Draft, node: &Node) -> Done {
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
            Error::at(word.span, format!("invalid value \"{word}\""))
                .advise(format!("one of: {}, off", names.join(", ")))
        })?;
        set = set.and(*condition);
    }
    o.next = Some(if off { Conditions::OFF } else { set });
    Ok(())
}

pub fn pass_header(o: &mut Draft, node: &Node) -> Done {
    o.pass_header.get_or_insert_default().push(node.args[0].text.clone());
    Ok(())
}

pub fn hide_header(o: &mut Draft, node: &Node) -> Done {
    o.hide_header.get_or_insert_default().push(node.args[0].text.clone());
    Ok(())
}

pub fn ignore_headers(o: &mut Draft, node: &Node) -> Done {
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

/// A word that a directive does not know.
pub fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid parameter \"{word}\""))
}
