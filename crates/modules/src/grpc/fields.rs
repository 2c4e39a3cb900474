//! The fields of a call that is passed on: `grpc_set_header`, what is set by default, and the client's own.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Variable};
use foregate_upstream::SetFields;
use foregate_wire::h2::client::Draft;
use foregate_wire::{Name, NameSet};

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
    set: SetFields,
    /// `Content-Length` and `TE` are ours to say.
    says_length: bool,
    says_te: bool,
}

impl Sent {
    pub(super) fn compile(written: Option<&[(Word, Word)]>, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let written = written.unwrap_or_default();
        Ok(Self {
            set: SetFields::compile(written, &OURS, cx)?,
            says_length: SetFields::leaves(written, "Content-Length"),
            says_te: SetFields::leaves(written, "TE"),
        })
    }

    /// Appends `:authority` and all fields.
    pub(super) fn draft(&self, ex: &mut Exchange, authority: &str, out: &mut Vec<u8>) {
        self.set.draft(authority, ex, out);
        if let (true, Some(length)) = (self.says_length, ex.fields.get(Name::ContentLength)) {
            Draft::field(b"content-length", length, out);
        }
        if self.says_te && takes_trailers(ex) {
            Draft::field(b"te", TRAILERS, out);
        }
        self.set.draft_clients(NameSet::EMPTY, ex, out);
    }
}

/// The client says that it takes trailers, as all of gRPC do.
fn takes_trailers(ex: &Exchange) -> bool {
    let mut all = ex.fields.get_all(Name::Te);
    all.any(|value| value.windows(TRAILERS.len()).any(|it| it.eq_ignore_ascii_case(TRAILERS)))
}
