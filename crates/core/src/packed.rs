//! Packed files beside plain ones: what `gzip_static`, `brotli_static` and `zstd_static` have in common.

use foregate_wire::Method;

use crate::exchange::Exchange;

/// What such a directive takes, in this order.
pub const PACKED_VALUES: [&str; 3] = ["off", "on", "always"];
const ALWAYS: usize = 2;

/// `page.html.gz` may stand for `page.html`.
pub struct PackedFiles {
    /// To every client, whether or not it takes the coding.
    pub always: bool,
}

impl PackedFiles {
    /// What a choice among [`PACKED_VALUES`] means; `None`: off.
    pub fn chosen(choice: Option<usize>) -> Option<Self> {
        choice.filter(|it| *it > 0).map(|it| Self { always: it == ALWAYS })
    }

    /// Whether a packed file may stand for what the request asks for.
    pub fn fits(&self, ex: &Exchange) -> bool {
        matches!(ex.method, Method::Get | Method::Head) && !ex.uri.ends_with(b"/")
    }
}
