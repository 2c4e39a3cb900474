//! Budgets: what a request, a call or an idle connection may cost, counted and never timed.
//!
//! The limits stand in `budgets.tsv`, one column for unoptimised builds (what `cargo test` makes) and one for the
//! profile `quick`, close to a release (`cargo xtask budgets`). A cost above its limit fails; `cargo xtask budgets
//! --write` writes what is counted now, with a little room, into the table: a limit that goes up needs a reason.

mod callgrind;
mod calls;
mod connections;
mod requests;
mod server;
mod strace;
mod table;
