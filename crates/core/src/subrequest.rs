//! Requests that are made on behalf of another one: `auth_request`, `addition`, `mirror`, `ssi`, `slice`.
//!
//! A child is an exchange of its own with all that its parent knows. Those that belong to one client's request share
//! its made variables, as in nginx, and whatever modules keep for the family. The server serves it through
//! [`crate::Household::serve_inside`], so that a module need not know the server.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use foregate_net::runtime;
use foregate_wire::{Buf, Fields, Method};

use crate::error_log::Level;
use crate::exchange::{Client, Exchange, REDIRECTS_MAX, Sent};
use crate::notes::Notes;
use crate::reply::{BodyError, Reply, Source, next};
use crate::request_body::RequestBody;
use crate::variable::Slot;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// As nginx: a request inside a request inside a request … is caught behind this depth.
pub const SUBREQUESTS_DEPTH_MAX: u32 = 51;
/// As nginx: requests alive at once on behalf of one client's request.
pub const SUBREQUESTS_ALIVE_MAX: u32 = 65_535 - 1_000;

/// Children that nobody waits for, alive at once on one thread: a slow mirror must not take all memory.
const APART_MAX: usize = 4_096;
/// Bytes of an answer that nobody wants which are read all the same.
const APART_BYTES_MAX: usize = 64 << 10;

/// Where a child enters the phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// At the server's rewrites, to find its location by its URI.
    Server,
    /// In the content phase of its parent's location: the same request once more.
    Content,
}

/// What the requests of one family share. Made with the first child.
#[derive(Default)]
pub struct Kin {
    /// The variables that the configuration makes.
    pub slots: RefCell<Vec<Slot>>,
    /// What modules keep for the whole family; it begins with what was noted of the eldest.
    pub notes: RefCell<Notes>,
    n_alive: Cell<u32>,
}

/// A note on a child: its errors are its parent's to deal with. Neither `error_page` nor a filter sees them, and they
/// have no page.
pub struct Unadorned;

/// What came of a child.
pub struct Fetched {
    /// Its answer, through the header filters; `None` where it was closed without one.
    pub reply: Option<Reply>,
    /// The child itself: its variables (`$upstream_…`) can still be read.
    pub ex: Exchange,
}

impl Exchange {
    /// What this request shares with those made on its behalf.
    pub fn kin(&mut self) -> Rc<Kin> {
        if let Some(kin) = &self.kin {
            return kin.clone();
        }
        let kin = Rc::new(Kin {
            slots: RefCell::new(std::mem::take(&mut self.slots)),
            notes: RefCell::new(self.notes.clone()),
            n_alive: Cell::new(0),
        });
        self.kin = Some(kin.clone());
        kin
    }

    /// The same request once more, for those who must know it while its answer is being sent.
    pub fn twin(&mut self) -> Exchange {
        let kin = self.kin();
        Exchange {
            conn: self.conn.clone(),
            client: self.client.clone(),
            cycle: self.cycle.clone(),
            method_name: self.method_name.clone(),
            line: self.line.clone(),
            target: self.target.clone(),
            fields: self.fields.clone(),
            host: self.host.clone(),
            body: self.body.shared(),
            uri: self.uri.clone(),
            args: self.args.clone(),
            remote: self.remote.clone(),
            sent: Sent::default(),
            captures: self.captures.clone(),
            slots: Vec::new(),
            notes: self.notes.clone(),
            kin: Some(kin),
            ..*self
        }
    }

    /// A GET for another URI with all that this request knows. It has this one's body, where that has been read.
    pub fn child(&mut self, uri: &[u8], args: &[u8]) -> Exchange {
        Exchange {
            method: Method::Get,
            method_name: b"GET".to_vec(),
            uri: uri.to_vec(),
            args: args.to_vec(),
            matched_prefix: 0,
            target_holds: false,
            uri_changed: false,
            location_holds: true,
            header_only: false,
            ..self.again()
        }
    }

    /// A child that asks for the very same in the same location, to enter at [`Entry::Content`].
    pub fn again(&mut self) -> Exchange {
        Exchange {
            internal: true,
            redirects_left: REDIRECTS_MAX,
            error_page: false,
            status_override: None,
            subrequest_depth: self.subrequest_depth + 1,
            limit_rate: None,
            limit_rate_after: None,
            variable_depth: 0,
            notes: Notes::default(),
            ..self.twin()
        }
    }

    /// Serves a child at once; whoever waits for it is its task. Its body is empty, as in nginx before bodies are read.
    pub async fn fetch(&mut self, uri: &[u8], args: &[u8]) -> Fetched {
        let mut ex = self.child(uri, args);
        ex.body = RequestBody { length: None, ..RequestBody::default() };
        let cycle = ex.cycle.clone();
        let reply = cycle.serve_inside(&mut ex, Entry::Server).await;
        Fetched { reply, ex }
    }
}

impl Fetched {
    /// The answer's body. The child is logged when that has been read, or dropped.
    pub fn into_source(self) -> Box<dyn Source> {
        let Fetched { reply, mut ex } = self;
        let mut source = None;
        if let Some(reply) = reply {
            ex.sent.status = reply.status;
            ex.sent.fields = reply.fields;
            source = Some(reply.body.into_source());
        }
        Box::new(Answer { source, logged: Logged(ex) })
    }
}

/// A child's body, which counts what passes.
struct Answer {
    source: Option<Box<dyn Source>>,
    logged: Logged,
}

impl Source for Answer {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        let Some(source) = &mut self.source else { return Poll::Ready(Ok(None)) };
        let next = source.poll_next(cx);
        if let Poll::Ready(Ok(Some(bytes))) = &next {
            self.logged.0.sent.body_bytes += bytes.len() as u64;
        }
        next
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Some(source) = &mut self.source {
            source.poll_ahead(cx);
        }
    }

    fn len(&self) -> Option<u64> {
        self.source.as_ref().and_then(|it| it.len())
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.source.as_mut()?.trailers()
    }
}

/// A child that is logged when it ends, however it ends.
struct Logged(Exchange);

impl Drop for Logged {
    fn drop(&mut self) {
        let cycle = self.0.cycle.clone();
        cycle.log_inside(&mut self.0);
    }
}

/// A child that is being served in a task of its own. Dropped, it ends.
pub struct Running {
    shared: Rc<Shared>,
    task: runtime::Task,
}

#[derive(Default)]
struct Shared {
    fetched: RefCell<Option<Fetched>>,
    waiting: Cell<Option<Waker>>,
}

/// Counts a child while it is being served.
struct Alive(Rc<Kin>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.n_alive.set(self.0.n_alive.get() - 1);
    }
}

impl Running {
    /// Serves a child beside its parent. `None`: it is too deep, or has too many brothers, which has been logged.
    pub fn start(mut child: Exchange, entry: Entry) -> Option<Self> {
        let alive = enlist(&mut child)?;
        let shared = Rc::new(Shared::default());
        let result = shared.clone();
        let task = runtime::spawn(async move {
            let cycle = child.cycle.clone();
            let reply = cycle.serve_inside(&mut child, entry).await;
            drop(alive);
            *result.fetched.borrow_mut() = Some(Fetched { reply, ex: child });
            if let Some(waker) = result.waiting.take() {
                waker.wake();
            }
        });
        Some(Self { shared, task })
    }

    /// Ready once its answer has begun; ready once only.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Fetched> {
        match self.shared.fetched.borrow_mut().take() {
            Some(fetched) => Poll::Ready(fetched),
            None => {
                self.shared.waiting.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    pub async fn answer(mut self) -> Fetched {
        poll_fn(|cx| self.poll(cx)).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a child whose answer nobody wants, to its end.
pub fn serve_apart(mut child: Exchange) {
    let Some(alive) = enlist(&mut child) else { return };
    let Some(apart) = Apart::begin() else {
        let uri = String::from_utf8_lossy(&child.uri);
        crate::log!(child, Level::Error, "too many requests are mirrored, \"{uri}\" is left out");
        return;
    };
    runtime::spawn(async move {
        let cycle = child.cycle.clone();
        let mut logged = Logged(child);
        let reply = cycle.serve_inside(&mut logged.0, Entry::Server).await;
        if let Some(reply) = reply {
            logged.0.sent.status = reply.status;
            logged.0.sent.fields = reply.fields;
            // What is short is read, so that its connection can be used again.
            let mut body = reply.body.into_source();
            let mut left = APART_BYTES_MAX;
            while let Ok(Some(bytes)) = next(&mut *body).await
                && left > bytes.len()
            {
                left -= bytes.len();
            }
        }
        drop((alive, apart));
    })
    .detach();
}

/// A child that is served beside its parent, whose answer nobody wants. A note on the parent: a connection that is to be
/// closed stays open until the child has ended, as nginx's does.
pub struct Behind(Rc<Ended>);

#[derive(Default)]
struct Ended {
    over: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Behind {
    /// Serves a child that asks for the same as its parent, to its end. `None`: it is too deep, which has been logged.
    pub fn start(mut child: Exchange) -> Option<Self> {
        let alive = enlist(&mut child)?;
        let ended = Rc::new(Ended::default());
        let end = End(ended.clone());
        runtime::spawn(async move {
            let cycle = child.cycle.clone();
            let mut logged = Logged(child);
            if let Some(reply) = cycle.serve_inside(&mut logged.0, Entry::Content).await {
                logged.0.sent.status = reply.status;
            }
            drop((alive, end));
        })
        .detach();
        Some(Self(ended))
    }

    /// Waits until the child has ended.
    pub async fn ended(&self) {
        poll_fn(|cx| {
            self.0.waiting.set(Some(cx.waker().clone()));
            if self.0.over.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Tells that a child has ended, however it ended.
struct End(Rc<Ended>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.over.set(true);
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
    }
}

thread_local! {
    static N_APART: Cell<usize> = const { Cell::new(0) };
}

/// Counts a child that nobody waits for.
struct Apart;

impl Apart {
    fn begin() -> Option<Self> {
        let n = N_APART.get();
        N_APART.set(n + usize::from(n < APART_MAX));
        (n < APART_MAX).then_some(Self)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        N_APART.set(N_APART.get() - 1);
    }
}

fn enlist(child: &mut Exchange) -> Option<Alive> {
    let kin = child.kin();
    if child.subrequest_depth > SUBREQUESTS_DEPTH_MAX {
        let uri = String::from_utf8_lossy(&child.uri);
        crate::log!(child, Level::Error, "subrequests cycle while processing \"{uri}\"");
        return None;
    }
    if kin.n_alive.get() >= SUBREQUESTS_ALIVE_MAX {
        let uri = String::from_utf8_lossy(&child.uri);
        crate::log!(child, Level::Crit, "request reference counter overflow while processing \"{uri}\"");
        return None;
    }
    kin.n_alive.set(kin.n_alive.get() + 1);
    // The connection wakes one task when the client leaves, and that is the eldest's.
    child.client = Rc::new(Stays);
    Some(Alive(kin))
}

/// A client of whom a child does not hear that it has gone.
struct Stays;

impl Client for Stays {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn send_interim<'a>(&'a self, _: u16, _: &'a Fields) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a household answers that serves no children.
pub(crate) fn nobody<'a>() -> BoxFuture<'a, Option<Reply>> {
    Box::pin(std::future::ready(None))
}
