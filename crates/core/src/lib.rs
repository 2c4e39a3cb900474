//! The vocabulary that every module shares. It knows no feature.

pub mod base64;
mod certificate_cache;
mod cidr;
mod digits;
mod directive;
mod encoder;
pub mod error_log;
mod exchange;
mod flow;
pub mod hash;
pub mod hostnames;
mod json;
mod lasting;
mod log_file;
mod machine;
mod module;
pub mod network;
mod network_set;
mod notes;
mod packed;
pub mod refusals;
mod regex;
mod regexes;
mod reply;
mod reporter;
mod request_body;
mod scope;
pub mod stats;
mod subrequest;
mod syslog;
mod temp_file;
mod template;
#[doc(hidden)]
pub mod testing;
pub mod time;
pub mod traffic;
mod transform;
mod types;
pub mod variable;
mod written;
mod zones;

pub use certificate_cache::certificate_cache;
pub use cidr::Cidr;
pub use digits::{push_hex, push_number, push_seconds};
pub use directive::{Args, Block, Directive, Read, check, duplicate, error_status};
pub use encoder::{Encoder, Flush, Ratio, Step, whole_by_steps};
pub use error_log::{ErrorLog, Level};
pub use exchange::{
    BODY_MEMORY_BYTES, Client, Connection, Exchange, Household, Nobody, Pipelined, Proxied, REDIRECTS_MAX,
    Sent, UpstreamFact, addr_text, gone, push_addr,
};
pub use flow::{Flow, Stop, stop};
pub use foregate_wire::{Method, h1::Version};
pub use json::Json;
pub use lasting::{FILE_ACCESS, Failed, file_access, folder_access, rename};
pub use log_file::LogFile;
pub use machine::hostname;
pub use module::{Compile, Module, Shared, TransparentBinds, Watched};
pub use network_set::NetworkSet;
pub use notes::{CharsetOverride, KeptFields, Notes};
pub use packed::{PACKED_VALUES, PackedFiles};
pub use regex::{Captures, Group, Regex, TooHard};
pub use regexes::Regexes;
pub use reply::{Body, BodyError, Carried, Duplex, FileSlice, Part, Reply, Source, Tunnel, next};
pub use reporter::Reporter;
pub use request_body::{BodyLimits, InFile, RequestBody};
pub use scope::Scope;
pub use subrequest::{
    Behind, BoxFuture, Entry, Fetched, Kin, Running, SUBREQUESTS_ALIVE_MAX, SUBREQUESTS_DEPTH_MAX, Unadorned,
    serve_apart,
};
pub use syslog::Syslog;
pub use temp_file::{TempDir, TempFile, TempPath};
pub use template::Template;
pub use transform::Transform;
pub use types::Types;
pub use variable::{Evaluate, Evaluator, Prefix, Variable, Variables};
pub use written::{Heirs, Made, Written};
pub use zones::{ZoneNames, ZoneSpec};

/// Writes a line about an exchange to its error log: `log!(ex, Level::Error, "…")`.
#[macro_export]
macro_rules! log {
    ($ex:expr, $level:expr, $($text:tt)+) => {
        $ex.log($level, format_args!($($text)+))
    };
}
