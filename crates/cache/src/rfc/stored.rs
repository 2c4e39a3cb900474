//! The head of an answer as it is stored (RFC 9111, section 3.1), and as a later answer changes it (section 3.2).

use foregate_wire::h1::ResponseHead;
use foregate_wire::{Name, NameSet, date};

use crate::freshness::Freshness;

/// Names that are about one hop, or that the cache says itself at every hit.
const NEVER: NameSet = NameSet::of(&[
    Name::Age,
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyAuthorization,
    Name::ProxyConnection,
    Name::Te,
    Name::TransferEncoding,
    Name::Upgrade,
]);

/// The same among names that have no number. `Warning` is a thing of the past (section 5.5).
const NEVER_OTHERS: [&[u8]; 3] = [b"proxy-authenticate", b"proxy-authentication-info", b"warning"];

/// Names that say how the stored body reads and which request it belongs to: what finds it good again leaves them.
const BODY_S: NameSet =
    NameSet::of(&[Name::ContentEncoding, Name::ContentLength, Name::ContentRange, Name::Vary]);

/// An answer's head without what must not be stored, and with a date.
pub fn storable_head(bytes: &[u8], head: &ResponseHead, said: &Freshness) -> Vec<u8> {
    let mut out = status_line(bytes, head);
    let listed = listed(bytes, head);
    for field in &head.fields {
        let name = field.name.of(bytes);
        if is_stored(field.known, name, &listed) && !is_in(&said.left_out, name) {
            push(&mut out, name, field.value.of(bytes));
        }
    }
    if head.find(Name::Date).is_none() {
        // Who has no clock leaves it to who has one (RFC 9110, section 6.6.1).
        push(&mut out, b"Date", &date::format(said.date_s.unwrap_or_default()));
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// A stored head with the fields of an answer that found it good again (304, or 200 to HEAD). `None`: it is the same.
pub fn merge(
    stored: (&[u8], &ResponseHead),
    fresh: (&[u8], &ResponseHead),
    said: &Freshness,
) -> Option<Vec<u8>> {
    let ((old_bytes, old), (new_bytes, new)) = (stored, fresh);
    let listed = listed(new_bytes, new);
    let changes = |known: Name, name: &[u8]| {
        !BODY_S.has(known) && is_stored(known, name, &listed) && !is_in(&said.left_out, name)
    };
    let fresh: Vec<(Name, &[u8], &[u8])> = new
        .fields
        .iter()
        .map(|it| (it.known, it.name.of(new_bytes), it.value.of(new_bytes)))
        .filter(|it| changes(it.0, it.1))
        .collect();
    let mut out = status_line(old_bytes, old);
    for field in &old.fields {
        let name = field.name.of(old_bytes);
        let replaced = fresh.iter().any(|it| it.1.eq_ignore_ascii_case(name));
        if !replaced && !is_in(&said.left_out, name) {
            push(&mut out, name, field.value.of(old_bytes));
        }
    }
    fresh.iter().for_each(|it| push(&mut out, it.1, it.2));
    out.extend_from_slice(b"\r\n");
    (out != old_bytes).then_some(out)
}

fn status_line(bytes: &[u8], head: &ResponseHead) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    out.extend_from_slice(b"HTTP/1.1 ");
    match head.status_line.of(bytes) {
        b"" => out.extend_from_slice(format!("{} ", head.status).as_bytes()),
        line => out.extend_from_slice(line),
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Names in `Connection`, which are about this hop as well (RFC 9110, section 7.6.1).
fn listed<'a>(bytes: &'a [u8], head: &'a ResponseHead) -> Vec<Vec<u8>> {
    let lines = head.fields.iter().filter(|it| it.known == Name::Connection);
    let names = lines.flat_map(|it| it.value.of(bytes).split(|b| matches!(b, b',' | b' ' | b'\t')));
    names.filter(|it| !it.is_empty()).map(<[u8]>::to_ascii_lowercase).collect()
}

fn is_stored(known: Name, name: &[u8], listed: &[Vec<u8>]) -> bool {
    !NEVER.has(known) && !NEVER_OTHERS.iter().any(|it| it.eq_ignore_ascii_case(name)) && !is_in(listed, name)
}

fn is_in(names: &[Vec<u8>], name: &[u8]) -> bool {
    names.iter().any(|it| it.eq_ignore_ascii_case(name))
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use foregate_wire::h1::{ResponseRules, parse_response};

    fn head(fields: &str) -> (Vec<u8>, ResponseHead) {
        let bytes = format!("HTTP/1.1 200 Fine\r\n{}\r\n", fields.replace('\n', "\r\n")).into_bytes();
        let mut head = ResponseHead::new();
        parse_response(&bytes, &ResponseRules::default(), &mut head).expect("because it is an answer");
        (bytes, head)
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace("\r\n", "\n")
    }

    #[test]
    fn what_belongs_to_one_hop_is_not_stored() {
        let (bytes, parsed) = head(
            "Date: d\nConnection: close, X-Hop\nX-Hop: 1\nx-other: 2\nKeep-Alive: 5\nUpgrade: h2c\nAge: 7\n\
             Proxy-Authenticate: Basic\nProxy-Authentication-Info: a\nWarning: 110 - stale\nTransfer-Encoding: chunked\n",
        );
        let stored = storable_head(&bytes, &parsed, &Freshness::default());
        assert_eq!(text(&stored), "HTTP/1.1 200 Fine\nDate: d\nx-other: 2\n\n");
    }

    #[test]
    fn fields_named_by_directives_are_not_stored() {
        let (bytes, parsed) = head("Date: d\nSet-Cookie: a=b\nX-A: 1\nX-B: 2\n");
        let said =
            Freshness { left_out: vec![b"set-cookie".to_vec(), b"x-b".to_vec()], ..Freshness::default() };
        assert_eq!(text(&storable_head(&bytes, &parsed, &said)), "HTTP/1.1 200 Fine\nDate: d\nX-A: 1\n\n");
    }

    #[test]
    fn what_has_no_date_gets_one() {
        let (bytes, parsed) = head("X-A: 1\n");
        let said = Freshness { date_s: Some(0), ..Freshness::default() };
        let want = "HTTP/1.1 200 Fine\nX-A: 1\nDate: Thu, 01 Jan 1970 00:00:00 GMT\n\n";
        assert_eq!(text(&storable_head(&bytes, &parsed, &said)), want);
    }

    #[test]
    fn a_304_brings_its_fields_along() {
        let (old_bytes, old) =
            head("Date: d\nX-A: 1\nX-A: 2\nContent-Length: 10\nContent-Encoding: gzip\nX-B: 3\n");
        let (new_bytes, new) = head(
            "Date: e\nX-A: 4\nX-C: 5\nContent-Length: 0\nContent-Encoding: br\nConnection: X-Hop\nX-Hop: 6\nVary: X\n",
        );
        let merged = merge((&old_bytes, &old), (&new_bytes, &new), &Freshness::default());
        let want = "HTTP/1.1 200 Fine\nContent-Length: 10\nContent-Encoding: gzip\nX-B: 3\nDate: e\nX-A: 4\nX-C: 5\n\n";
        assert_eq!(merged.map(|it| text(&it)).as_deref(), Some(want));
        let (none_bytes, none) = head("");
        assert_eq!(merge((&old_bytes, &old), (&none_bytes, &none), &Freshness::default()), None);
    }
}
