//! What stands between a connection and the answer, where the answer's bytes are not all that comes over it.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use foregate_core::BodyError;
use foregate_net::Conn;
use foregate_wire::{Buf, Fields};

use crate::h2::Http2;
use crate::records::Records;
use crate::rules::Rules;

/// How a connection carries answers.
#[expect(clippy::large_enum_variant, reason = "it always stands in a box of its own")]
pub(crate) enum Carrier {
    /// In records of one request (FastCGI).
    Records(Records),
    /// In frames, one request after another.
    H2(Http2),
}

/// What a peer says beside its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// For the error log.
    Stderr(Buf),
    /// The answer is over; the request is not.
    StdoutOver,
    /// The request is over. `clean`: the connection may serve again.
    End {
        clean: bool,
        /// What is to be said of it where more should have come.
        early: &'static str,
    },
    /// In the words of the error log.
    Wrong(String),
    /// As `Wrong`, but the peer has not looked at the request, so that another may be asked.
    Refused(String),
    /// Another has to be waited for than before ([`Carrier::patience`]).
    Turned,
    /// The request's body cannot be had.
    Bodyless(BodyError),
}

impl Carrier {
    /// More of the answer. Nothing: there are news, or without any the peer has closed.
    pub(crate) fn poll_recv(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        match self {
            Self::Records(records) => records.poll_recv(conn, cx),
            Self::H2(h2) => h2.poll_recv(conn, cx),
        }
    }

    pub(crate) fn news(&mut self) -> Option<News> {
        match self {
            Self::Records(records) => records.news(),
            Self::H2(h2) => h2.news(),
        }
    }

    /// The peer leaves the connection open behind an answer.
    pub(crate) fn keeps(&self) -> bool {
        match self {
            Self::Records(records) => records.keeps,
            Self::H2(_) => true,
        }
    }

    /// What may pass before more of the answer comes, and what is being done meanwhile.
    pub(crate) fn patience(&self, rules: &Rules) -> (Duration, &'static str) {
        match self {
            Self::Records(_) => (rules.read_timeout, "reading response header from upstream"),
            Self::H2(h2) => h2.patience(rules),
        }
    }

    pub(crate) fn h2(&mut self) -> Option<&mut Http2> {
        match self {
            Self::Records(_) => None,
            Self::H2(h2) => Some(h2),
        }
    }

    pub(crate) fn trailers(&mut self) -> Option<Fields> {
        self.h2()?.trailers()
    }
}
