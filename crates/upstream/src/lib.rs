//! Groups of peers: which one is asked next, over which connection, and what becomes of its answer.
//!
//! `proxy` and its kin describe a request and how an answer is read (see [`Protocol`]); everything that is the same for
//! all of them lives here: of directives, those that each of them has under a name of its own (see [`draft`]).

mod address;
mod attempts;
mod balance;
mod body;
mod caching;
mod changes;
mod checks;
mod connect;
mod destination;
pub mod draft;
mod ejection;
mod fields;
mod group;
mod guard;
mod hash;
mod idle;
mod line;
mod look;
mod members;
mod names;
mod peer;
mod pick;
mod queue;
mod records;
mod resolvers;
mod respond;
mod rfc;
mod rules;
mod run;
mod scratch;
mod send;
mod serve;
mod state;
mod sticky;
mod store;
mod times;
mod tunnel;
mod views;

pub use address::Address;
pub use attempts::{Asked, Attempt, AttemptsNote};
pub use caching::{By, Caching};
pub use changes::{StateFile, Told, restore_all};
pub use checks::{Checker, Checklist, Expected, FieldTest, Probe, Test, start_check};
pub use connect::{Bind, Lane, Link, Secure, TlsError};
pub use destination::{Preview, Whom, find, group_of};
pub use ejection::{Ejection, RetryBudget};
pub use fields::{Hidden, Ignored};
pub use group::{Balance, Found, Group, Groups, Keepalive, Resolve, Server, Target, Where};
pub use line::{PORT, ROUTE_CHARS_MAX, Unfit};
pub use look::{AskedFor, Fetch, Looked, look, swallow};
pub use names::keep_all_fresh;
pub use peer::Peer;
pub use pick::{Outcome, Pick};
pub use queue::Queue;
pub use resolvers::{CommonResolver, Resolvers};
pub use rfc::ByRfc;
pub use rules::{Conditions, Rules, bind_address};
pub use run::{Frames, Protocol, Route, run};
pub use state::Health;
pub use sticky::{Cookie, Expires, How, Sessions, Sticky, is_same_site};
pub use store::Store;
pub use times::Measure;
pub use views::View;
