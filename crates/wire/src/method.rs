//! Request methods: the ones nginx knows by name, and everything else.

/// A request method. `Other` keeps no name: the message does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    #[default]
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

impl Method {
    /// The method of that name. Names are case-sensitive (RFC 9110, section 9.1).
    #[inline]
    pub fn of(name: &[u8]) -> Method {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"MKCOL" => Method::Mkcol,
            b"COPY" => Method::Copy,
            b"MOVE" => Method::Move,
            b"OPTIONS" => Method::Options,
            b"PROPFIND" => Method::Propfind,
            b"PROPPATCH" => Method::Proppatch,
            b"LOCK" => Method::Lock,
            b"UNLOCK" => Method::Unlock,
            b"PATCH" => Method::Patch,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        }
    }

    /// The name of a known method; `None` for `Other`.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Mkcol => "MKCOL",
            Method::Copy => "COPY",
            Method::Move => "MOVE",
            Method::Options => "OPTIONS",
            Method::Propfind => "PROPFIND",
            Method::Proppatch => "PROPPATCH",
            Method::Lock => "LOCK",
            Method::Unlock => "UNLOCK",
            Method::Patch => "PATCH",
            Method::Trace => "TRACE",
            Method::Connect => "CONNECT",
            Method::Other => return None,
        })
    }

    /// The method of that name in any case, for directives that name methods.
    pub fn named(name: &str) -> Option<Method> {
        match Method::of(name.to_ascii_uppercase().as_bytes()) {
            Method::Other => None,
            method => Some(method),
        }
    }

    /// Whether repeating the request is harmless: nginx counts all but POST, LOCK and PATCH as idempotent
    /// when it decides about another upstream.
    pub fn is_retried(self) -> bool {
        !matches!(self, Method::Post | Method::Lock | Method::Patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["GET", "HEAD", "POST", "PROPPATCH", "CONNECT", "UNLOCK", "MKCOL"] {
            assert_eq!(Method::of(name.as_bytes()).name(), Some(name));
        }
        assert_eq!(Method::of(b"get"), Method::Other);
        assert_eq!(Method::Other.name(), None);
    }
}
