//! How every exchange is treated, whatever protocol carries it.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use foregate_core::{Exchange, Level, Method, log};
use foregate_modules::{Settings, client, log as access_log, shield, status_zone};
use foregate_net::clock;

use super::Thread;
use super::response::SendError;
use crate::cycle::Local;

pub(super) fn client_settings(on: &Settings) -> &client::Settings {
    on.client.as_ref().expect("because the client module always resolves")
}

/// The status for requests that are answered without a look at their target.
pub(super) fn refusal(ex: &Exchange, misdirected: bool, plain_on_tls: bool) -> Option<u16> {
    if misdirected {
        let what = "client attempted to request the server name different from the one that was negotiated";
        log!(ex, Level::Info, "{what} while reading client request headers");
        return Some(421);
    }
    if plain_on_tls {
        log!(
            ex,
            Level::Info,
            "client sent plain HTTP request to HTTPS port while reading client request headers"
        );
        return Some(497);
    }
    match ex.method {
        Method::Trace | Method::Connect => Some(405),
        _ => None,
    }
}

/// Whether the client and the limits of the place that answers let the connection live on.
pub(super) fn may_stay(thread: &Thread, on: &client::Settings, ex: &Exchange) -> bool {
    ex.keepalive
        && !thread.draining.get()
        && !on.keepalive_timeout.is_zero()
        && ex.conn.requests.get() < on.keepalive_requests
        && clock::ms() - ex.conn.started_ms < clock::as_ms(on.keepalive_time)
        && !client::keepalive_is_disabled(on, ex)
}

/// An exchange that is logged even where its task is ended before it.
pub(super) struct Held {
    ex: Option<Box<Exchange>>,
    local: Rc<Local>,
}

impl Held {
    pub(super) fn new(ex: Box<Exchange>, local: &Rc<Local>) -> Self {
        Self { ex: Some(ex), local: local.clone() }
    }

    /// It has come to its end.
    pub(super) fn end(mut self) -> Option<Box<Exchange>> {
        self.ex.take()
    }
}

impl Deref for Held {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        self.ex.as_deref().expect("because only its end takes it")
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Exchange {
        self.ex.as_deref_mut().expect("because only its end takes it")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(ex) = self.ex.as_deref_mut().filter(|it| !it.logged && !std::thread::panicking()) else {
            return;
        };
        if ex.sent.status == 0 {
            ex.sent.status = LEFT;
        }
        log(&self.local, ex);
    }
}

/// nginx's status of an exchange whose client did not wait for its answer.
const LEFT: u16 = 499;

/// The line in the access log.
pub(super) fn log(local: &Local, ex: &mut Exchange) {
    ex.logged = true;
    let on = local.cycle.settings(ex.location);
    if let Some(on) = &on.log {
        access_log::write(on, ex);
    }
    if let Some(on) = &on.shield {
        shield::account(on, ex);
    }
    if let Some(on) = &on.status_zone {
        status_zone::account(on, ex);
    }
}

/// Why an answer was not sent whole.
pub(super) fn log_send_error(ex: &Exchange, error: &SendError) {
    let what = match error {
        SendError::Slow => "client timed out (110: Connection timed out)",
        SendError::Client => "client prematurely closed connection",
        SendError::Body => return,
    };
    log!(ex, Level::Info, "{what} while sending response to client");
}
