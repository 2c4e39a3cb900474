//! Variables whose names are made by the user: `$http_…`, `$cookie_…`, `$arg_…`, `$sent_http_…`.

use foregate_core::Exchange;
use foregate_wire::{AsName, Fields, Name};

/// All `Cookie` fields, joined as a browser would have written them.
pub(super) fn cookies(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_joined(&ex.fields, Name::Cookie, b"; ", out)
}

// What logs and upstreams are told most: found by number, not by comparing texts.

pub(super) fn host(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_joined(&ex.fields, Name::Host, b", ", out)
}

pub(super) fn referer(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_joined(&ex.fields, Name::Referer, b", ", out)
}

pub(super) fn user_agent(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_joined(&ex.fields, Name::UserAgent, b", ", out)
}

pub(super) fn via(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_joined(&ex.fields, Name::Via, b", ", out)
}

pub(super) fn forwarded_for(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_joined(&ex.fields, Name::XForwardedFor, b", ", out)
}

pub(super) fn http(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    push_named(&ex.fields, name, out)
}

pub(super) fn sent_http(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    push_named(&ex.sent.fields, name, out)
}

/// Known behind the body.
pub(super) fn sent_trailer(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    push_named(&ex.sent.trailers, name, out)
}

/// All fields of this name, joined.
pub(super) fn push_joined(fields: &Fields, name: impl AsName, between: &[u8], out: &mut Vec<u8>) -> bool {
    join(fields.get_all(name), between, out)
}

/// All fields whose name is this one when its dashes are written as underscores.
fn push_named(fields: &Fields, name: &str, out: &mut Vec<u8>) -> bool {
    let same = |field: &[u8]| {
        field.len() == name.len()
            && field.iter().zip(name.as_bytes()).all(|(sent, wanted)| match sent {
                b'-' => *wanted == b'_',
                _ => sent.to_ascii_lowercase() == *wanted,
            })
    };
    join(fields.iter().filter(|(field, _)| same(field)).map(|(_, value)| value), b", ", out)
}

fn join<'a>(values: impl Iterator<Item = &'a [u8]>, between: &[u8], out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for value in values {
        if found {
            out.extend_from_slice(between);
        }
        out.extend_from_slice(value);
        found = true;
    }
    found
}

/// The first parameter of this name in the query string, as sent. Case does not count.
pub(super) fn arg(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    if name.is_empty() {
        return false;
    }
    let value = ex.args.split(|b| *b == b'&').find_map(|pair| {
        let (found, value) = pair.split_at_checked(name.len())?;
        value.strip_prefix(b"=").filter(|_| found.eq_ignore_ascii_case(name.as_bytes()))
    });
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

/// The first cookie of this name. Case does not count, spaces around `=` neither.
pub(super) fn cookie(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let value = ex.fields.get_all(b"cookie").find_map(|line| {
        line.split(|b| *b == b';').find_map(|pair| {
            let (found, rest) = pair.trim_ascii_start().split_at_checked(name.len())?;
            let value = trim_spaces(rest).strip_prefix(b"=")?;
            found.eq_ignore_ascii_case(name.as_bytes()).then_some(trim_spaces(value))
        })
    });
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

fn trim_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}
