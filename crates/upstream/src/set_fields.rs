//! What `*_set_header` says of a request's fields: what is set, and which of the client's own give way to it.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Template};
use foregate_wire::h2::client::{Draft, FOREIGN};
use foregate_wire::{Name, NameSet};

use crate::fields::Hidden;

/// Compiled lines.
pub struct SetFields {
    /// `Host`; unset: what is passed to says it.
    pub host: Option<Template>,
    /// The others that have a value, in the order written.
    pub others: Box<[(Box<[u8]>, Template)]>,
    /// The client's fields of these names stay behind.
    pub replaced: Hidden,
}

impl SetFields {
    /// `ours` are names that never pass as the client sent them.
    ///
    /// # Errors
    /// A value with a variable that nobody knows.
    pub fn compile(written: &[(Word, Word)], ours: &[&str], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let (mut host, mut others) = (None, Vec::new());
        for (name, value) in written {
            if name.eq_ignore_ascii_case("host") {
                host = Some(cx.template(value)?);
            } else if !value.is_empty() {
                others.push((name.bytes().into(), cx.template(value)?));
            }
        }
        let names: Vec<String> = written.iter().map(|(name, _)| name.text.clone()).collect();
        Ok(Self { host, others: others.into(), replaced: Hidden::new(ours, &names, &[]) })
    }

    /// Nothing is written of a name, so that it is ours to say.
    pub fn leaves(written: &[(Word, Word)], name: &str) -> bool {
        !written.iter().any(|(it, _)| it.eq_ignore_ascii_case(name))
    }

    /// Appends `:authority` and what is set. A `Host` without a value gives way to `authority`.
    pub fn draft(&self, authority: &str, ex: &mut Exchange, out: &mut Vec<u8>) {
        let open = Draft::open(b":authority", out);
        let start = out.len();
        if let Some(host) = &self.host {
            host.fill(ex, out);
        }
        if out.len() == start {
            out.extend_from_slice(authority.as_bytes());
        }
        open.close(out);
        // What configurations say for HTTP/1.1 (`Connection upgrade`) would make servers refuse the request.
        for (name, value) in self.others.iter().filter(|(name, _)| !FOREIGN.has(Name::of(name))) {
            let open = Draft::open(name, out);
            value.fill(ex, out);
            open.close_unless_empty(out);
        }
    }

    /// Appends the client's fields that pass; those named in `besides` do not either.
    pub fn draft_clients(&self, besides: NameSet, ex: &Exchange, out: &mut Vec<u8>) {
        let replaced = self.replaced.known().or(besides);
        for (known, name, value) in ex.fields.iter_known() {
            let is_replaced = replaced.has(known) || known == Name::Other && self.replaced.has_other(name);
            if !is_replaced {
                Draft::field(name, value, out);
            }
        }
    }
}
