//! Certificates that come by themselves: ACME (RFC 8555), an authority of our own, and the thread that keeps both going.
//!
//! A configuration's wishes ([`Wish`]) go to the [`Keeper`], a thread of the worker that may block. What it gets it puts
//! into [`Slot`]s, which handshakes read without a lock; what issuers ask meanwhile is answered from [`answers`].

mod answers;
mod attempt;
mod demand;
pub mod dns;
mod failure;
mod http;
mod internal;
mod issuer;
mod keeper;
mod key;
mod order;
mod renewal;
mod session;
mod slot;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use answers::{ALPN, Answers, HTTP_PREFIX, answers};
pub use demand::{DemandRules, Look, OnDemand};
pub use foregate_wire::Url;
pub use http::{Trust, get};
pub use internal::root_path;
pub use issuer::{AccountKey, Challenge, INTERNAL, Identifier, Issuer, WELL_KNOWN, Wish};
pub use keeper::{Keeper, Plan};
pub use key::Kind;
pub use renewal::secret;
pub use slot::{Shown, Slot};

/// The issuers of a configuration, shared by its modules.
#[derive(Default)]
pub struct Issuers {
    pub by_name: BTreeMap<String, Arc<Issuer>>,
    /// The one that stands first: asked where none is named.
    pub default: Option<Arc<Issuer>>,
}

/// Where names may be demanded, by what is written of it, so that the next configuration finds their certificates.
#[derive(Default)]
pub struct Demands(pub BTreeMap<String, Arc<OnDemand>>);

/// The slots of a configuration: by what is wanted, so that the next configuration finds them, and by server.
#[derive(Default)]
pub struct Slots {
    pub by_wish: BTreeMap<String, Arc<Slot>>,
    pub by_server: BTreeMap<u32, Arc<Slot>>,
}
