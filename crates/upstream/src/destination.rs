//! Whom an address means: a group that is known when the configuration is loaded, or what a request finds.

use std::rc::Rc;
use std::sync::Arc;

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Level, Stop, log};
use foregate_net::Addr;

use crate::address::Address;
use crate::foretell::Foretold;
use crate::group::{Group, Groups};
use crate::resolvers::Resolvers;
use crate::views::View;

/// The group that an address of the configuration means; made where there is none yet.
///
/// # Errors
/// A port beside the name of a group; neither a port nor a group of that name.
pub fn group_of(word: &Word, address: &Address, cx: &mut Compile<'_>) -> Result<Arc<Group>, Error> {
    let groups = cx.shared.get_or_default::<Groups>();
    if groups.explicit(&address.host).is_some() && !address.no_port {
        let what = format!("upstream \"{}\" may not have port {}", address.host, address.port);
        return Err(Error::at(word.span, what));
    }
    if let Some(group) = groups.find(&address.host, address.port, address.no_port) {
        return Ok(group.clone());
    }
    if address.port == 0 && !address.is_unix() {
        return Err(Error::at(word.span, format!("no port in upstream \"{}\"", address.host)));
    }
    let previous = cx.previous.and_then(|it| it.get::<Groups>());
    let previous =
        previous.and_then(|it| it.find(&address.host, address.port, false)).filter(|it| !it.explicit);
    let group = groups.add(Group::implicit(address, previous.map(|it| &**it)));
    for name in group.unresolved() {
        let what = format!("host not found in upstream \"{name}\"");
        let advice = "requests get 502 until the name can be looked up";
        cx.warnings.push(Error::at(word.span, what).advise(advice).warn());
    }
    Ok(group)
}

/// Who is meant by an address that a request made.
pub enum Whom {
    Group(Arc<Group>),
    At(Addr),
    /// A name that the location's resolver looks up.
    Named,
}

impl Whom {
    /// `resolves`: names can be looked up here.
    ///
    /// # Errors
    /// The answer, where it is a name that they cannot.
    pub fn of(address: &Address, resolves: bool, ex: &Exchange) -> Result<Self, Stop> {
        let groups = ex.cycle.shared().get::<Groups>();
        if let Some(group) = groups.and_then(|it| it.find(&address.host, address.port, address.no_port)) {
            return Ok(Self::Group(group.clone()));
        }
        if address.port == 0 && !address.is_unix() {
            log!(ex, Level::Error, "no port in upstream \"{}\"", address.host);
            return Err(Stop::status(500));
        }
        match &address.fixed {
            Some(addr) => Ok(Self::At(addr.clone())),
            None if resolves => Ok(Self::Named),
            None => {
                log!(ex, Level::Error, "no resolver defined to resolve {}", address.host);
                Err(Stop::status(502))
            }
        }
    }

    /// The group, if it is one.
    pub fn group(self) -> Option<Arc<Group>> {
        match self {
            Self::Group(group) => Some(group),
            Self::At(_) | Self::Named => None,
        }
    }
}

/// Finds the peers of an address that a request made.
///
/// # Errors
/// The answer, where there are none.
pub async fn find(address: &Address, resolver: Option<&Resolvers>, ex: &Exchange) -> Result<Rc<View>, Stop> {
    match Whom::of(address, resolver.is_some(), ex)? {
        Whom::Group(group) => Ok(View::of(&group)),
        Whom::At(addr) => Ok(View::once(address, vec![addr])),
        Whom::Named => {
            let resolver = resolver.expect("because without one nobody is meant");
            match resolver.resolve(&address.host, address.port).await {
                Ok(addrs) => Ok(View::once(address, addrs)),
                Err(why) => {
                    log!(ex, Level::Error, "{} could not be resolved ({why})", address.host);
                    Err(Stop::status(502))
                }
            }
        }
    }
}

/// What an upstream would get, and who that is.
pub struct Preview {
    /// With its `://`.
    pub scheme: String,
    /// The host, with a port that is not the scheme's own.
    pub host: String,
    /// The target of the request line; empty where the protocol has none.
    pub uri: Vec<u8>,
    /// The request line, if there is one, and all fields or parameters, as lines.
    pub head: Vec<u8>,
    /// `None`: one address, or a name that is only looked up for this request.
    pub group: Option<Arc<Group>>,
    /// What a cache in front of it would do.
    pub cache: Option<Foretold>,
}
