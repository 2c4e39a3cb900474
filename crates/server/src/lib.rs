//! server.

pub mod bundle;
