//! Request methods, as nginx tells them apart.

/// A method with a name of its own, or any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Mkcol,
    Copy,
    Move,
    Options,
    Propfind,
    Proppatch,
    Lock,
    Unlock,
    Patch,
    Trace,
    Connect,
    Other,
}

const NAMES: [(Method, &str); 16] = [
    (Method::Get, "GET"),
    (Method::Head, "HEAD"),
    (Method::Post, "POST"),
    (Method::Put, "PUT"),
    (Method::Delete, "DELETE"),
    (Method::Mkcol, "MKCOL"),
    (Method::Copy, "COPY"),
    (Method::Move, "MOVE"),
    (Method::Options, "OPTIONS"),
    (Method::Propfind, "PROPFIND"),
    (Method::Proppatch, "PROPPATCH"),
    (Method::Lock, "LOCK"),
    (Method::Unlock, "UNLOCK"),
    (Method::Patch, "PATCH"),
    (Method::Trace, "TRACE"),
    (Method::Connect, "CONNECT"),
];

impl Method {
    /// Names are case-sensitive (RFC 9110, 9.1).
    pub fn of(name: &[u8]) -> Self {
        NAMES.iter().find(|(_, it)| it.as_bytes() == name).map_or(Self::Other, |(method, _)| *method)
    }

    /// The method of this name, in any case, for directives that name methods.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, it)| it.eq_ignore_ascii_case(name)).map(|(method, _)| *method)
    }

    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(it, _)| *it == self).map_or("", |(_, name)| name)
    }

    /// Sending it twice does what sending it once does (RFC 9110, 9.2.2); nginx's list of exceptions.
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Lock | Self::Patch)
    }
}
