//! HTTP messages and the protocols that carry them: bytes in, facts out; knows no socket and no clock.

pub mod cache_control;
pub mod date;
pub mod fastcgi;
pub mod h1;
pub mod h2;
pub mod host;
pub mod proxy_protocol;
pub mod range;
pub mod resp;
pub mod status;
pub mod structured;
pub mod uri;

mod buf;
mod fields;
mod method;
mod name;
mod span;
mod target;
mod url;

pub use buf::{Block, Buf};
pub use fields::Fields;
pub use method::Method;
pub use name::{AsName, Name, NameSet};
pub use span::{FieldSpan, Span};
pub use url::Url;
