//! The exchange of one stream: a task that serves the request and sends the answer.

use std::rc::Rc;

use foregate_core::stats::{self, Count};
use foregate_core::{Body, Exchange, Level, Reply, RequestBody, Source, log};
use foregate_modules::ssl;
use foregate_net::{clock, runtime};
use foregate_wire::h2::Code;

use super::super::conduct::{self, Held, client_settings};
use super::super::response::SendError;
use super::super::{Doing, arrival};
use super::begin::{self, Begun};
use super::body::BodyReader;
use super::lane::Lane;
use super::link::Link;
use super::{send, websocket};
use crate::address::Address;
use crate::cycle::Local;
use crate::{phases, route};

/// Takes the head that the machine has read and starts the exchange.
pub(super) fn start(link: &Rc<Link>, local: &Rc<Local>, address: &Address, place: u32, ends: bool) {
    stats::add(Count::Requests);
    link.facts.requests.set(link.facts.requests.get() + 1);
    let thread = link.thread();
    let mut ex = thread.take_exchange(local);
    let mut mux = link.mux.borrow_mut();
    let Some(id) = mux.stream_id(place) else { return };
    let lane = Lane::new(link, place, id);
    ex.begin(link.facts.clone(), lane.clone());
    let merge_slashes = super::super::client_settings(local, address.default_server).merge_slashes;
    let head = mux.head_mut();
    let length = head.content_length;
    let begun = begin::fill(&mut ex, head, merge_slashes);
    drop(mux);
    let refused = refusal(local, address, &mut ex, &begun);
    if ends {
        ex.body.length = length;
    } else if !begun.tunnels {
        ex.body = body(local, &ex, &lane, length, begun.expects);
    }
    link.add(&lane);
    let running = Running { lane: lane.clone() };
    let tunnels = begun.tunnels;
    let held = conduct::Held::new(ex, local);
    let task = runtime::spawn(run(running, local.clone(), held, refused, tunnels));
    lane.set_task(task);
}

/// Counts the exchange while it lives, and closes its stream if it ends without an answer.
struct Running {
    lane: Rc<Lane>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let lane = &self.lane;
        lane.reset(Code::INTERNAL_ERROR);
        lane.link.ended(lane);
    }
}

fn body(local: &Local, ex: &Exchange, lane: &Rc<Lane>, length: Option<u64>, expects: bool) -> RequestBody {
    let on = client_settings(local.cycle.settings(ex.location));
    let mut reader = BodyReader::new(lane.clone(), length, on.body_bytes_max, on.body_timeout, expects);
    reader.keep_pace(on.body_floor);
    let source = Some(Box::new(reader) as Box<dyn Source>);
    RequestBody { source, length, ..RequestBody::default() }
}

/// Finds the server; the status for requests that are answered without a look at their target.
fn refusal(local: &Local, address: &Address, ex: &mut Exchange, begun: &Begun) -> Option<u16> {
    let misdirected = route::find_server(local, address, ex).is_err();
    for _ in 0..begun.n_dropped {
        log!(ex, Level::Info, "client sent invalid header line");
    }
    if let Some((status, text)) = &begun.fault {
        let text = String::from_utf8_lossy(text);
        log!(ex, Level::Info, "{text} while processing HTTP/2 connection");
        return Some(*status);
    }
    if !arrival::speaks_h2(local, address, ex.server) {
        let what =
            "client attempted to request the server name for which the negotiated protocol is disabled";
        log!(ex, Level::Info, "{what} while processing HTTP/2 connection");
        return Some(421);
    }
    conduct::refusal(ex, misdirected, false)
}

async fn run(running: Running, local: Rc<Local>, mut ex: Held, refused: Option<u16>, tunnels: bool) {
    let _writing = Doing::now(Count::Writing);
    let lane = running.lane.clone();
    let mut reply = Reply::default();
    if ssl::must_wait(local.cycle.settings(ex.location).ssl.as_deref(), &ex)
        && let Some(early) = ex.conn.tls.as_ref().and_then(|it| it.early.clone())
    {
        let patience = client_settings(local.cycle.settings(ex.location)).header_timeout;
        // The connection's task receives meanwhile.
        if clock::timeout(patience, Box::pin(early.over())).await.is_err() {
            lane.reset(Code::PROTOCOL_ERROR);
            if let Some(ex) = ex.end() {
                lane.link.thread().give_exchange(&local, ex);
            }
            return;
        }
    }
    let answered = match refused {
        Some(status) => Box::pin(phases::answer(&local, &mut ex, &mut reply, status)).await,
        None => phases::serve(&local, &mut ex, &mut reply).await,
    };
    match answered {
        true => answer(&lane, &local, &mut ex, reply, tunnels).await,
        false if ex.sent.status == 408 => lane.reset(Code::PROTOCOL_ERROR),
        false => lane.reset(Code::INTERNAL_ERROR),
    }
    conduct::log(&local, &mut ex);
    if let Some(ex) = ex.end() {
        lane.link.thread().give_exchange(&local, ex);
    }
}

/// Sends the answer; what is left to do behind it is done, too.
async fn answer(lane: &Rc<Lane>, local: &Rc<Local>, ex: &mut Exchange, mut reply: Reply, tunnels: bool) {
    let on = local.cycle.settings(ex.location);
    if matches!(reply.body, Body::Tunnel(_))
        && let Body::Tunnel(tunnel) = std::mem::take(&mut reply.body)
        && tunnels
    {
        return Box::pin(websocket::run(lane, on, ex, reply, tunnel)).await;
    }
    let sent = send::send(lane, on, ex, reply).await;
    if let Err(error) = &sent {
        conduct::log_send_error(ex, error);
        let is_slow = matches!(error, SendError::Slow);
        lane.reset(if is_slow { Code::PROTOCOL_ERROR } else { Code::INTERNAL_ERROR });
    }
    if on.post_action.is_some() {
        Box::pin(phases::after_answer(local, ex)).await;
    }
}
