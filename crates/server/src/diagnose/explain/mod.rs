//! What would happen to a request, and by which line of which file, without sending anything.
//!
//! The request goes through the phases that serve: the same routing, the same programs, the same access rules, files
//! and header filters. Only upstreams are not asked; what they would get is made by the code that would send it.

mod ask;
mod atlas;
mod cache;
mod effective;
mod json;
mod steps;
mod tape;
mod text;
mod why;

use std::rc::Rc;
use std::sync::Arc;

use foregate_conf::{Node, Source, Span};
use foregate_core::{Level, Reply, log};
use foregate_upstream::{Balance, Group};
use foregate_wire::Fields;

use crate::address::Endpoint;
use crate::cycle::{Cycle, Local};
use crate::{phases, route};
use atlas::Atlas;
use effective::Setting;
use tape::{Event, Tape};
use why::Reason;

pub use ask::Question;

/// What is told about one request.
pub struct Told<'a> {
    question: Question,
    sources: &'a [Source],
    atlas: Atlas<'a>,
    listener: Listener,
    servers: Vec<Reason>,
    events: Vec<Event>,
    /// Where the answer was made.
    place: u32,
    uri: Vec<u8>,
    args: Vec<u8>,
    /// `None`: the connection is closed without an answer.
    answer: Option<Answer>,
    /// What holds in each place that had its say, in their order.
    settings: Vec<(u32, Vec<Setting<'a>>)>,
}

struct Listener {
    address: String,
    /// Where the chosen server names it; `None`: it has no `listen`.
    span: Option<Span>,
    secure: bool,
}

struct Answer {
    status: u16,
    fields: Fields,
    /// An upstream makes it: its own fields and its status are not known.
    assumed: bool,
}

/// Tells what would happen to a request. Runs the phases on this thread, in a runtime of its own.
///
/// # Errors
/// What is wrong with the question: a URL that is none, a port on which nobody listens.
pub fn explain<'a>(
    cycle: Arc<Cycle>,
    nodes: &'a [Node],
    sources: &'a [Source],
    question: Question,
) -> Result<Told<'a>, String> {
    let atlas = Atlas::new(nodes);
    let local = Local::new(cycle);
    let told = foregate_net::runtime::run(tell(local, atlas, sources, question));
    told.map_err(|why| format!("cannot run the phases: {why}"))?
}

async fn tell<'a>(
    local: Rc<Local>,
    atlas: Atlas<'a>,
    sources: &'a [Source],
    question: Question,
) -> Result<Told<'a>, String> {
    let target = question.target()?;
    let (endpoint, our_addr) = ask::listener(&local.cycle.endpoints, &target)?;
    let address = endpoint.address(&our_addr);
    if target.secure && !address.ssl {
        return Err(format!("{} speaks plain HTTP: a browser cannot open https:// there", endpoint.addr));
    }
    let (secure, plain_on_tls) = (address.ssl, address.ssl && !target.secure);
    let conn = ask::connection(&question, &target, address, our_addr.clone());
    let tape = Tape::new(local.clone(), question.upstream_status);
    let on = local.cycle.settings(local.cycle.server(address.default_server).place);
    let on = on.client.as_ref().expect("because the client module always resolves");
    let head = question.head(&target);
    let (mut ex, refused) = ask::exchange(tape.clone(), conn, on, &head);
    let misdirected = route::find_server(&local, address, &mut ex).is_err();
    let servers = why::servers(&atlas, address, &ex.host, ex.server);
    let refused = refused.or(misdirected.then_some(421)).or(plain_on_tls.then_some(497));
    let mut reply = Reply::default();
    let answered = match refused {
        Some(status) => {
            log!(ex, Level::Notice, "the request is refused before its phases");
            phases::answer_watched(&*tape, &local, &mut ex, &mut reply, status).await
        }
        None => phases::serve_watched(&*tape, &local, &mut ex, &mut reply).await,
    };
    let events = tape.take();
    let assumed = matches!(last_maker(&events), Some(Event::Passed { .. } | Event::Changes { .. }));
    let answer = answered.then(|| Answer { status: reply.status, fields: reply.fields.clone(), assumed });
    let listener = listener(endpoint, &our_addr, &atlas, ex.server, secure);
    ex.sent.status = answer.as_ref().map_or(0, |it| it.status);
    ex.sent.fields = reply.fields;
    let place = ex.location;
    let mut settings = Vec::new();
    for at in places(&events, place) {
        ex.location = at;
        settings.push((at, effective::settings(&atlas, at, &mut ex, &local.cycle.variables)));
    }
    let (uri, args) = (ex.uri, ex.args);
    Ok(Told {
        question: question.clone(),
        sources,
        atlas,
        listener,
        servers,
        events,
        place,
        uri,
        args,
        answer,
        settings,
    })
}

/// The places whose rounds came to something, the last one being that of the answer.
fn places(events: &[Event], last: u32) -> Vec<u32> {
    let ended = |it: &Event| match it {
        Event::Answered { place, .. } | Event::Closed { place } | Event::Goes { place, .. } => Some(*place),
        _ => None,
    };
    let mut places: Vec<u32> = Vec::new();
    for place in events.iter().filter_map(ended).chain([last]) {
        places.retain(|it| *it != place);
        places.push(place);
    }
    places
}

/// What made the last answer: an upstream, or somebody of our own.
fn last_maker(events: &[Event]) -> Option<&Event> {
    let mut all = events.iter().rev();
    let answered = |it: &&Event| matches!(it, Event::Answered { .. } | Event::Closed { .. });
    all.find(answered)?;
    all.find(|it| !matches!(it, Event::Logged(_)))
}

fn listener(
    endpoint: &Endpoint,
    our_addr: &foregate_net::Addr,
    atlas: &Atlas<'_>,
    server: u32,
    secure: bool,
) -> Listener {
    let address = endpoint.specific.iter().find(|(addr, _)| addr == our_addr);
    let address = address.map_or(&endpoint.addr, |(addr, _)| addr);
    let names = |node: &&Node| {
        crate::listen::Listen::read(node).is_ok_and(|all| all.iter().any(|it| it.addr == *address))
    };
    let span = atlas.listens(server).find(names).map(|it| it.span);
    Listener { address: address.to_string(), span, secure }
}

impl Told<'_> {
    /// The group of the last upstream, with what it would get.
    fn passed(&self) -> Option<(u32, &foregate_upstream::Preview)> {
        self.events.iter().rev().find_map(|it| match it {
            Event::Passed { place, preview } => Some((*place, preview)),
            _ => None,
        })
    }

    /// Where the location was chosen that answers, and from what.
    fn locations(&self) -> Vec<Reason> {
        let located = self.events.iter().rev().find_map(|it| match it {
            Event::Located { place, candidates, .. } => Some((*place, candidates)),
            _ => None,
        });
        let reasons = located.map_or_else(Vec::new, |(place, all)| why::locations(&self.atlas, all, place));
        match self.location() {
            Some(number) if self.atlas.node(number).args.first().is_some_and(|it| it.starts_with('@')) => {
                vec![Reason { number, why: "it was entered by its name".to_owned() }]
            }
            _ => reasons,
        }
    }

    /// The location that answers: around an `if` and a `limit_except`. `None`: the server does.
    fn location(&self) -> Option<u32> {
        let mut place = self.place;
        while self.atlas.node(place).name != "location" {
            place = self.atlas.parent(place)?;
        }
        Some(place)
    }

    fn at(&self, span: Span) -> String {
        super::place_text(span, self.sources)
    }
}

/// How a group chooses, in its directive's words.
fn balance(group: &Group) -> &'static str {
    match &group.balance {
        Balance::Turn => "round robin",
        Balance::LeastConn => "least_conn",
        Balance::IpHash => "ip_hash",
        Balance::Hash { consistent: false, .. } => "hash",
        Balance::Hash { consistent: true, .. } => "hash consistent",
        Balance::LeastTime(_) => "least_time",
        Balance::Random { .. } => "random",
    }
}
