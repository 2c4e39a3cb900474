//! What is written down while a request goes through the phases.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow::{Break, Continue};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use foregate_core::error_log::{Lines, Sink, Target};
use foregate_core::variable::Found;
use foregate_core::{
    BodyLimits, BoxFuture, Entry, ErrorLog, Evaluator, Exchange, Flow, Household, Level, Reply, Shared, Stop,
};
use foregate_modules::rewrite;
use foregate_upstream::{Deed, Foretold, Preview};

use crate::cycle::Local;
use crate::locations::Candidate;
use crate::phases::{self, Begin};
use crate::witness::Witness;

/// What happened, in its order.
pub(super) enum Event {
    /// A round begins with this URI.
    Begins {
        begin: Begin,
        place: u32,
        uri: Vec<u8>,
        args: Vec<u8>,
    },
    /// A line of a program was taken; `uri` and `args` as they are then.
    Line {
        place: u32,
        path: Vec<usize>,
        taken: Taken,
        uri: Vec<u8>,
        args: Vec<u8>,
    },
    Located {
        place: u32,
        uri: Vec<u8>,
        candidates: Vec<Candidate>,
    },
    /// An upstream would be asked.
    Passed {
        place: u32,
        preview: Preview,
    },
    /// A cache stands before the upstream, of the protocol that this scheme names.
    Cached {
        place: u32,
        scheme: String,
        cache: Foretold,
    },
    /// Files would be changed.
    Changes {
        place: u32,
        method: String,
    },
    /// A round ended with an answer; `place` is where it was made.
    Answered {
        place: u32,
        status: u16,
    },
    /// The connection is closed without one.
    Closed {
        place: u32,
    },
    /// The request goes on elsewhere inside: by `try_files`, an error's page or an index.
    Goes {
        place: u32,
        to: Vec<u8>,
    },
    /// The page of an error takes its place.
    Page {
        place: u32,
        status: u16,
        to: Option<Vec<u8>>,
    },
    /// A request that this one makes.
    Inside {
        uri: Vec<u8>,
        status: Option<u16>,
        events: Vec<Event>,
    },
    /// A line of the error log.
    Logged(String),
}

pub(super) enum Taken {
    Set(Vec<u8>),
    Rewrite { matched: bool },
    Return,
    Break,
    If { holds: bool },
}

/// The household of a request that is only looked at: the cycle's, but that nothing leaves it.
pub(super) struct Tape {
    pub(super) local: Rc<Local>,
    events: RefCell<Vec<Event>>,
    error_log: ErrorLog,
    logged: Arc<Logged>,
    /// What upstreams are taken to answer.
    pub(super) status: Cell<u16>,
}

impl Tape {
    pub(super) fn new(local: Rc<Local>, status: u16) -> Rc<Self> {
        let logged = Arc::new(Logged::default());
        let sink = Sink { level: Level::Notice, to: Target::Lines(logged.clone()) };
        let error_log = ErrorLog { sinks: vec![sink] };
        Rc::new(Self { local, events: RefCell::default(), error_log, logged, status: Cell::new(status) })
    }

    pub(super) fn take(&self) -> Vec<Event> {
        self.note_logged();
        self.events.take()
    }

    fn put(&self, event: Event) {
        self.note_logged();
        self.events.borrow_mut().push(event);
    }

    /// Lines come from below at any time; they are put in front of what happens next.
    fn note_logged(&self) {
        let lines = std::mem::take(&mut *self.logged.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.events.borrow_mut().extend(lines.into_iter().map(Event::Logged));
    }

    async fn inside(&self, ex: &mut Exchange, entry: Entry) -> Option<Reply> {
        let uri = ex.uri.clone();
        let outer = self.events.take();
        let mut reply = Reply::default();
        let done = phases::serve_inside_watched(self, &self.local, ex, &mut reply, entry).await;
        let events = self.events.replace(outer);
        self.put(Event::Inside { uri, status: done.then_some(reply.status), events });
        done.then_some(reply)
    }
}

#[derive(Default)]
struct Logged(Mutex<Vec<String>>);

impl Lines for Logged {
    fn line(&self, level: Level, text: &str) {
        // The client's facts behind the text are those of the question.
        let text = text.split_once(", client: ").map_or(text, |(text, _)| text);
        let text = text.strip_prefix("*1 ").unwrap_or(text);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("[{}] {text}", level.name()));
    }
}

impl Household for Tape {
    fn settings(&self, location: u32) -> &dyn Any {
        Household::settings(&*self.local, location)
    }

    fn evaluator(&self, slot: u32) -> Option<&Evaluator> {
        self.local.evaluator(slot)
    }

    fn shared(&self) -> &Shared {
        self.local.shared()
    }

    fn error_log(&self, _: u32) -> &ErrorLog {
        &self.error_log
    }

    fn server_name(&self, server: u32) -> &str {
        self.local.server_name(server)
    }

    fn variable(&self, name: &str) -> Option<Found> {
        self.local.variable(name)
    }

    fn serve_inside<'a>(&'a self, ex: &'a mut Exchange, entry: Entry) -> BoxFuture<'a, Option<Reply>> {
        Box::pin(self.inside(ex, entry))
    }

    fn body_limits(&self, location: u32) -> BodyLimits<'_> {
        self.local.body_limits(location)
    }
}

impl Witness for &Tape {
    const SENDS: bool = false;

    fn begins(self, ex: &Exchange, begin: Begin) {
        let (uri, args) = (ex.uri.clone(), ex.args.clone());
        self.put(Event::Begins { begin, place: ex.location, uri, args });
    }

    fn rewrite(self, on: &rewrite::Settings, ex: &mut Exchange) -> Flow {
        let mut lines = Program { tape: self, place: ex.location, path: Vec::new() };
        rewrite::run_watched(on, ex, &mut lines)
    }

    fn located(self, ex: &Exchange) {
        let mut candidates = Vec::new();
        self.local.cycle.server(ex.server).locations.tell(&ex.uri, &mut candidates);
        self.put(Event::Located { place: ex.location, uri: ex.uri.clone(), candidates });
    }

    fn brought(self, ex: &Exchange, flow: &Flow<Reply>) {
        let place = ex.location;
        self.put(match flow {
            Continue(reply) => Event::Answered { place, status: reply.status },
            Break(Stop::Reply(reply)) => Event::Answered { place, status: reply.status },
            Break(Stop::Redirect { uri, args }) => Event::Goes { place, to: with_args(uri, args) },
            Break(Stop::Named(name)) => Event::Goes { place, to: [b"@", &name[..]].concat() },
            Break(Stop::Close) => Event::Closed { place },
        });
    }

    fn has_page(self, ex: &Exchange, status: u16, to: &Stop) {
        let to = match to {
            Stop::Redirect { uri, args } => Some(with_args(uri, args)),
            Stop::Named(name) => Some([b"@", &name[..]].concat()),
            Stop::Reply(_) | Stop::Close => None,
        };
        self.put(Event::Page { place: ex.location, status, to });
    }

    fn change(self, ex: &Exchange) -> Flow<Reply> {
        let method = String::from_utf8_lossy(&ex.method_name).into_owned();
        self.put(Event::Changes { place: ex.location, method });
        Continue(Reply { status: 204, ..Reply::default() })
    }

    fn pass(self, preview: Result<Preview, Stop>, ex: &Exchange) -> Flow<Reply> {
        let place = ex.location;
        let mut preview = match preview {
            Ok(preview) => preview,
            Err(stop) => return Break(stop),
        };
        if let Some(cache) = preview.cache.take() {
            let purges = matches!(cache.deed, Deed::Purges { .. });
            self.put(Event::Cached { place, scheme: preview.scheme.clone(), cache });
            if purges {
                return Break(Reply { status: 204, ..Reply::default() }.into());
            }
        }
        self.put(Event::Passed { place, preview });
        Continue(Reply { status: self.status.get(), foreign_location: true, ..Reply::default() })
    }
}

fn with_args(uri: &[u8], args: &[u8]) -> Vec<u8> {
    match args {
        b"" => uri.to_vec(),
        _ => [uri, b"?", args].concat(),
    }
}

/// The program of one place while it runs.
struct Program<'a> {
    tape: &'a Tape,
    place: u32,
    path: Vec<usize>,
}

impl rewrite::Watch for Program<'_> {
    fn took(&mut self, at: usize, step: rewrite::Taken<'_>, ex: &Exchange) {
        let taken = match step {
            rewrite::Taken::Set(value) => Taken::Set(value.to_vec()),
            rewrite::Taken::Rewrite { matched } => Taken::Rewrite { matched },
            rewrite::Taken::Return => Taken::Return,
            rewrite::Taken::Break => Taken::Break,
            rewrite::Taken::If { holds } => Taken::If { holds },
        };
        let mut path = self.path.clone();
        path.push(at);
        let (uri, args) = (ex.uri.clone(), ex.args.clone());
        self.tape.put(Event::Line { place: self.place, path, taken, uri, args });
    }

    fn enter(&mut self, at: usize) {
        self.path.push(at);
    }

    fn leave(&mut self) {
        self.path.pop();
    }
}
