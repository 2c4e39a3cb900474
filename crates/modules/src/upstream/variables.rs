//! `$upstream_…`: every try of an exchange, with `, ` between the peers of a group and ` : ` between groups.

use std::cell::RefCell;

use foregate_core::{Exchange, Prefix, Variable, push_number, push_seconds};
use foregate_upstream::{Asked, Attempt, AttemptsNote};

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("upstream_addr", |ex, out| {
        join(ex, out, |it, out| out.extend_from_slice(it.peer.as_ref().map_or("", Asked::name).as_bytes()))
    }),
    Variable::plain("upstream_status", |ex, out| {
        join(ex, out, |it, out| match it.status {
            0 => out.push(b'-'),
            status => push_number(u64::from(status), out),
        })
    }),
    Variable::plain("upstream_connect_time", |ex, out| join(ex, out, |it, out| time(it.connect_ms, out))),
    Variable::plain("upstream_header_time", |ex, out| join(ex, out, |it, out| time(it.header_ms, out))),
    Variable::plain("upstream_response_time", |ex, out| join(ex, out, |it, out| time(it.response_ms, out))),
    Variable::plain("upstream_response_length", |ex, out| {
        join(ex, out, |it, out| push_number(it.response_bytes, out))
    }),
    Variable::plain("upstream_bytes_received", |ex, out| {
        join(ex, out, |it, out| push_number(it.bytes_received, out))
    }),
    Variable::plain("upstream_queue_time", |ex, out| match ex.notes.get::<AttemptsNote>() {
        Some(attempts) => {
            push_seconds(attempts.borrow().queued_ms, out);
            true
        }
        None => false,
    }),
    Variable::plain("upstream_bytes_sent", |ex, out| join(ex, out, |it, out| push_number(it.bytes_sent, out))),
];

pub(super) const PREFIXES: &[Prefix] = &[
    Prefix { name: "upstream_http_", get: http },
    Prefix { name: "upstream_trailer_", get: trailer },
    Prefix { name: "upstream_cookie_", get: cookie },
];

fn join(ex: &mut Exchange, out: &mut Vec<u8>, value: impl Fn(&Attempt, &mut Vec<u8>)) -> bool {
    let list = ex.notes.get::<AttemptsNote>().map(|it| it.borrow().list()).unwrap_or_default();
    let mut tries = list.iter().enumerate();
    while let Some((at, attempt)) = tries.next() {
        value(attempt, out);
        let Some(next) = list.get(at + 1) else { break };
        if next.peer.is_some() {
            out.extend_from_slice(b", ");
        } else {
            out.extend_from_slice(b" : ");
            tries.next();
        }
    }
    !list.is_empty()
}

fn time(ms: Option<u64>, out: &mut Vec<u8>) {
    match ms {
        Some(ms) => push_seconds(ms, out),
        None => out.push(b'-'),
    }
}

/// Names match with `-` for `_`; values of repeated fields are joined.
fn http(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(attempts) = ex.notes.get::<AttemptsNote>().map(RefCell::borrow) else { return false };
    let mut found = false;
    for (field, value) in attempts.fields() {
        if is_named(field, name) {
            if std::mem::replace(&mut found, true) {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(value);
        }
    }
    found
}

fn trailer(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let name = name.replace('_', "-");
    let value = ex.notes.get::<AttemptsNote>().and_then(|it| it.borrow().trailer(name.as_bytes()));
    value.is_some_and(|value| {
        out.extend_from_slice(&value);
        true
    })
}

/// The value of the cookie that the last answer sets under this name.
fn cookie(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(attempts) = ex.notes.get::<AttemptsNote>().map(RefCell::borrow) else { return false };
    let cookies = attempts.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"set-cookie"));
    for (_, value) in cookies {
        let Some(rest) = value.get(name.len()..) else { continue };
        if !value[..name.len()].eq_ignore_ascii_case(name.as_bytes()) {
            continue;
        }
        // Blanks around the `=` do not count; tabs do.
        let Some(rest) = blanks_off(rest).strip_prefix(b"=") else { continue };
        let rest = blanks_off(rest);
        let end = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        out.extend_from_slice(&rest[..end]);
        return true;
    }
    false
}

fn blanks_off(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

fn is_named(field: &[u8], name: &str) -> bool {
    let lower = |byte: &u8| if *byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    field.len() == name.len() && field.iter().map(lower).eq(name.bytes())
}
