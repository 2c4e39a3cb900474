//! What a phase answers: go on, or stop.

use std::ops::ControlFlow;

use crate::reply::Reply;

/// `Continue` goes on to the next module; `Break` ends the phases.
pub type Flow<T = ()> = ControlFlow<Stop, T>;

/// Why the phases ended.
#[derive(Debug)]
pub enum Stop {
    /// Here is the answer. An error status may still meet an `error_page`.
    Reply(Box<Reply>),
    /// Start again under this URI: an internal redirect. `None` keeps the query string empty.
    Redirect { uri: Vec<u8>, args: Vec<u8> },
    /// Go on in this named location (without its `@`).
    Named(Vec<u8>),
    /// Close the connection without an answer (`return 444`).
    Close,
}

impl Stop {
    /// An answer that is only a status; its page is made at the end.
    pub fn status(status: u16) -> Self {
        Self::Reply(Box::new(Reply::status(status)))
    }
}

impl From<Reply> for Stop {
    fn from(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

/// Ends the phases with a bare status.
pub fn stop(status: u16) -> Flow<std::convert::Infallible> {
    ControlFlow::Break(Stop::status(status))
}
