//! Groups of peers: which one is asked next, over which connection, and what becomes of its answer.
//!
//! This crate knows no directive. `proxy` and its kin describe a request and how an answer is read (see
//! [`Protocol`]); everything that is the same for all of them lives here.

mod address;
mod attempts;
mod body;
mod connect;
mod fields;
mod group;
mod hash;
mod idle;
mod names;
mod peer;
mod pick;
mod request_body;
mod rules;
mod run;
mod send;
mod temp_file;
mod tunnel;
mod views;

pub use address::Address;
pub use attempts::{Attempt, Attempts};
pub use connect::{Bind, Link, Lane, Secure, TlsError};
pub use fields::{Hidden, Ignored};
pub use group::{Balance, Group, Groups, Keepalive, Server, Where};
pub use peer::Peer;
pub use pick::Pick;
pub use rules::{Conditions, Rules, TempPath};
pub use run::{HeadFault, Protocol, Route, run};
pub use temp_file::TempFile;
pub use views::View;
