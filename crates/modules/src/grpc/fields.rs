//! The fields of a call that is passed on: `grpc_set_header`, what is set by default, and the client's own.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Template, Variable};
use foregate_upstream::Hidden;
use foregate_wire::Name;
use foregate_wire::h2::client::Draft;

/// Names that never pass as the client sent them.
const OURS: [&str; 9] = [
    "Content-Length",
    "TE",
    "Host",
    "Connection",
    "Proxy-Connection",
    "Transfer-Encoding",
    "Keep-Alive",
    "Expect",
    "Upgrade",
];

pub(super) const VARIABLES: &[Variable] = &[Variable::new("grpc_internal_trailers", |ex, out| {
    let takes = takes_trailers(ex);
    if takes {
        out.extend_from_slice(TRAILERS);
    }
    takes
})];

const TRAILERS: &[u8] = b"trailers";

/// Compiled fields.
pub(super) struct Sent {
    /// `grpc_set_header Host`; unset: what `grpc_pass` says.
    host: Option<Template>,
    /// What the configuration sets, in its order.
    set: Box<[(Box<[u8]>, Template)]>,
    /// `Content-Length` and `TE` are ours to say.
    says_length: bool,
    says_te: bool,
    /// The client's fields of these names stay behind.
    replaced: Hidden,
}

impl Sent {
    pub(super) fn compile(written: Option<&[(Word, Word)]>, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let written = written.unwrap_or_default();
        let (mut host, mut set) = (None, Vec::new());
        for (name, value) in written {
            if name.eq_ignore_ascii_case("host") {
                host = Some(cx.template(value)?);
            } else if !value.is_empty() {
                set.push((name.bytes().into(), cx.template(value)?));
            }
        }
        let says = |name: &str| !written.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        let names: Vec<String> = written.iter().map(|(name, _)| name.text.clone()).collect();
        Ok(Self {
            host,
            set: set.into(),
            says_length: says("Content-Length"),
            says_te: says("TE"),
            replaced: Hidden::new(&OURS, &names, &[]),
        })
    }

    /// Appends `:authority` and all fields.
    pub(super) fn draft(&self, ex: &mut Exchange, authority: &str, out: &mut Vec<u8>) {
        let open = Draft::open(b":authority", out);
        let start = out.len();
        if let Some(host) = &self.host {
            host.fill(ex, out);
        }
        if out.len() == start {
            out.extend_from_slice(authority.as_bytes());
        }
        open.close(out);
        for (name, value) in &self.set {
            let open = Draft::open(name, out);
            value.fill(ex, out);
            open.close_unless_empty(out);
        }
        if let (true, Some(length)) = (self.says_length, ex.fields.get(Name::ContentLength)) {
            Draft::field(b"content-length", length, out);
        }
        if self.says_te && takes_trailers(ex) {
            Draft::field(b"te", TRAILERS, out);
        }
        let replaced = self.replaced.known();
        for (known, name, value) in ex.fields.iter_known() {
            let is_replaced = replaced.has(known) || known == Name::Other && self.replaced.has_other(name);
            if !is_replaced {
                Draft::field(name, value, out);
            }
        }
    }
}

/// The client says that it takes trailers, as all of gRPC do.
fn takes_trailers(ex: &Exchange) -> bool {
    let mut all = ex.fields.get_all(Name::Te);
    all.any(|value| value.windows(TRAILERS.len()).any(|it| it.eq_ignore_ascii_case(TRAILERS)))
}
