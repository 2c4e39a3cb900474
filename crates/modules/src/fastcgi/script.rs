//! `$fastcgi_script_name`, `$fastcgi_path_info`: which script a URI names, and what follows it.

use foregate_core::{Exchange, Variable};

use super::Settings;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("fastcgi_script_name", script_name),
    Variable::new("fastcgi_path_info", path_info),
];

/// The script: the first group of the split, or the whole URI; with the index where it ends in a slash.
fn script_name(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let cycle = ex.cycle.clone();
    let on = crate::settings(&*cycle, ex.location).fastcgi.as_ref();
    let start = out.len();
    match on.and_then(|on| parts(on, ex)) {
        Some((script, _)) => out.extend_from_slice(&script),
        None => out.extend_from_slice(&ex.uri),
    }
    if let Some(on) = on.filter(|_| out[start..].ends_with(b"/")) {
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
    let split = on.split.as_ref()?;
    let uri = ex.uri.clone();
    // The split is no match of the request's own: what `$1` says stays.
    let before = ex.captures.clone();
    let found = split.matches(ex, &uri).unwrap_or(false);
    let group = |n| ex.captures.get(n).unwrap_or_default().to_vec();
    let parts = found.then(|| (group(1), group(2)));
    ex.captures = before;
    parts
}
