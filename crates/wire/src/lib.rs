//! HTTP messages and the protocols that carry them: bytes in, facts out; knows no socket and no clock.

mod buf;
mod fields;
mod span;

pub use buf::{Block, Buf};
pub use fields::Fields;
pub use span::{FieldSpan, Span};
