//! nginx's configuration language: text becomes nodes with spans; include, dump, format and values. Knows no directive.

mod condition;
mod dump;
mod error;
pub mod files;
mod format;
mod glob;
mod lexer;
mod location;
mod parser;
mod render;
mod suggest;
mod tree;
pub mod value;

pub use condition::{Condition, condition_words, parse_condition};
pub use dump::dump;
pub use error::{Error, Level, os_error};
pub use files::{Files, OsFiles, Recording, Renewed, Replay, Strings};
pub use format::format;
pub use location::{Modifier, location_args};
pub use parser::{BLOCKS_NESTED_MAX, INCLUDES_NESTED_MAX, INCLUDES_TOTAL_MAX, SOURCE_BYTES_MAX, load, parse};
pub use render::render;
pub use suggest::suggest;
pub use tree::{COMMAND_LINE, Node, Source, Span, Tree, Word};
