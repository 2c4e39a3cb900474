//! Compiles a configuration and takes requests through it.

mod address;
mod assemble;
pub mod bundle;
mod certificates;
mod connection;
mod cycle;
pub mod diagnose;
mod filters;
mod listen;
mod locations;
mod names;
mod path_tree;
mod phases;
pub mod porter;
pub mod process;
mod reach;
mod read;
mod route;
mod special;
mod subrequest;
mod twins;
mod witness;
pub mod worker;

pub use address::{Address, Endpoint};
pub use connection::{Thread, sizes};
pub use cycle::{Cycle, LoadError, Loaded, Local, Main, Setup, load};
pub use listen::{Keepalive, Listen, Socket};
pub use reach::{Identity, Reach};
