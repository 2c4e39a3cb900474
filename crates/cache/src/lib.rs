//! The cache of answers: keys, how long an answer is good, the index of what there is, and the files it lies in.
//!
//! This crate knows no directive and no protocol. Whoever asks upstreams (`proxy` and its kin) says what a request's
//! key is and how its answer reads; what is the same for all of them lives here.
//!
//! A [`Zone`] is one `proxy_cache_path`. Its index is in memory, shared by all threads, in shards with a lock each;
//! its objects are files, one each, written beside their place and renamed into it. Those that are asked for again are
//! in memory as well, one copy for all threads, which serve it without a lock.

mod checksum;
mod coming;
mod evict;
mod fifo;
mod fill;
mod freshness;
mod header;
mod held;
mod hold;
mod index;
mod keeper;
mod key;
mod memory;
mod object;
mod purge;
mod purging;
mod rewrite;
pub mod rfc;
mod shard;
mod stats;
mod told;
mod writer;
mod zone;

pub use fill::Fill;
pub use freshness::{Freshness, Heeds, Valid};
pub use header::Life;
pub use hold::Hold;
pub use keeper::keep_all;
pub use key::Key;
pub use memory::HeldNow;
pub use object::Object;
pub use purge::{Purge, PurgeTold, tags};
pub use purging::{PurgeDone, TooMuch};
pub use rewrite::rewrite;
pub use stats::Counted;
pub use told::{Status, Told};
pub use writer::{Draft, Writer};
pub use zone::{Ask, Found, Now, Pace, Woken, Zone, ZoneSpec, Zones};
