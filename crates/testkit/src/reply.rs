//! What a scripted backend does with a request: steps, one after the other.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::client::TIMEOUT;

/// One step of a backend's answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends bytes as they are.
    Send(Vec<u8>),
    /// Sends bytes, unless the request was HEAD.
    Body(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Waits until the test opens this.
    Until(Gate),
    /// Sends back whatever comes until the other side closes: a websocket, near enough.
    Echo,
    /// Reads and drops whatever comes until the other side closes.
    Drain,
    /// Closes the connection.
    Close,
    /// Closes it with a reset.
    Reset,
}

/// What a backend waits at until its test has seen what it wants to see: clones are one gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets all pass, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Until it is open; whoever waits longer than any client does goes on, so that a test that has failed ends.
    pub(crate) fn pass(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_timeout_while(open, 2 * TIMEOUT, |open| !*open));
    }
}

/// An answer: steps. Unless one closes, the next request on the connection is read after the last.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub(crate) steps: Vec<Step>,
}

impl Reply {
    /// Does nothing and waits for the next request.
    pub fn new() -> Reply {
        Reply::default()
    }

    /// 200 with a body and its length.
    pub fn ok(body: impl AsRef<[u8]>) -> Reply {
        Reply::status(200, "", body)
    }

    /// Any status with header lines (`"A: b\r\n"`), a body and its length.
    pub fn status(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status} Some\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        Reply::raw(head).then(Step::Body(body.to_vec()))
    }

    /// Bytes as they are.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::new().send(bytes)
    }

    /// 200 in chunks.
    pub fn chunked(chunks: &[&str]) -> Reply {
        let mut reply = Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in chunks {
            reply = reply.send(format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        }
        reply.send("0\r\n\r\n")
    }

    /// 101 and then an echo of what comes.
    pub fn upgrade(protocol: &str) -> Reply {
        let head =
            format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        Reply::raw(head).then(Step::Echo)
    }

    /// Never answers; ends when the other side closes.
    pub fn hang() -> Reply {
        Reply::new().then(Step::Drain)
    }

    /// Closes without an answer.
    pub fn close_at_once() -> Reply {
        Reply::new().then(Step::Close)
    }

    /// Then sends bytes.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Reply {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Then waits.
    pub fn wait(self, ms: u64) -> Reply {
        self.then(Step::Wait(Duration::from_millis(ms)))
    }

    /// Then waits until the test opens the gate.
    pub fn until(self, gate: &Gate) -> Reply {
        self.then(Step::Until(gate.clone()))
    }

    /// Then closes.
    pub fn close(self) -> Reply {
        self.then(Step::Close)
    }

    /// Then does any step.
    pub fn then(mut self, step: Step) -> Reply {
        self.steps.push(step);
        self
    }
}

impl From<&str> for Reply {
    fn from(body: &str) -> Reply {
        Reply::ok(body)
    }
}

impl From<String> for Reply {
    fn from(body: String) -> Reply {
        Reply::ok(body)
    }
}
