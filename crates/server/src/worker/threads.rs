//! The threads that serve: started, told of each new configuration, let go when their connections have ended.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::poll_fn;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use foregate_acme::{Demands, Keeper, Plan};
use foregate_core::Level;
use foregate_modules::log as access_log;
use foregate_net::confine::{self, Refusals};
use foregate_net::process::redirect_stderr;
use foregate_net::runtime::{self, Remote};
use foregate_net::sys::{errno_text, give_back_memory};
use foregate_net::{Addr, events};

use super::prepare::{adopt_logs, limit_calls, limit_files, limit_rights, prepare};
use crate::bundle::{Bundle, Log};
use crate::connection::Thread;
use crate::cycle::Cycle;

/// The threads that serve, and the configuration they serve.
pub struct Worker {
    cycle: Arc<Cycle>,
    threads: Vec<Served>,
    /// The addresses on which all threads accept, and over how many sockets each is spread.
    listening: Vec<(Addr, usize)>,
    /// A byte comes for each thread that has ended.
    done: PipeReader,
    done_writer: Arc<PipeWriter>,
    going: Going,
    /// Looks after the certificates that come by themselves.
    keeper: Option<Keeper>,
    /// Whether the process is a worker's alone, and its stderr with it.
    alone: bool,
    refusals: Option<Refusals>,
}

/// How long connections that were cut may take to be logged.
const CUT_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    No,
    /// Until the connections have ended, or this moment (`worker_shutdown_timeout`).
    Gracefully(Option<Instant>),
    /// All connections were cut; until they have been logged, or this moment.
    Cut(Instant),
    Now,
}

impl Worker {
    /// Compiles the configuration and serves it. With `alone` the process is a worker's, which gives up its rights.
    pub fn start(bundle: Bundle, alone: bool) -> Result<Self, String> {
        let (cycle, sockets) = prepare(bundle, None)?;
        give_back_memory();
        if alone {
            limit_rights(&cycle)?;
            limit_files(&cycle);
        }
        let pipe = io::pipe().map_err(|error| format!("pipe() failed ({})", errno_text(&error)))?;
        let mut worker = Self {
            cycle: Arc::new(cycle),
            threads: Vec::new(),
            listening: Vec::new(),
            done: pipe.0,
            done_writer: Arc::new(pipe.1),
            going: Going::No,
            keeper: None,
            alone,
            refusals: None,
        };
        worker.follow_stderr();
        // Once and for all: threads live on when the configuration changes.
        let events = events::choose(worker.cycle.main.process.events);
        worker.log(Level::Notice, &format_args!("using the \"{}\" event method", events.name()));
        if alone {
            worker.refusals = limit_calls(&worker.cycle, events);
        }
        worker.keep_certificates()?;
        worker.set_threads(&sockets)?;
        worker.listen(&sockets)?;
        Ok(worker)
    }

    /// Serves another configuration from now on; after an error everything is as it was.
    pub fn load(&mut self, bundle: Bundle) -> Result<(), String> {
        let (cycle, sockets) = prepare(bundle, Some(&self.cycle))?;
        give_back_memory();
        self.cycle = Arc::new(cycle);
        self.keep_certificates()?;
        for thread in &self.threads {
            let cycle = self.cycle.clone();
            thread.on_it(move |thread| thread.adopt(cycle));
        }
        self.set_threads(&sockets)?;
        self.listen(&sockets)?;
        self.follow_stderr();
        Ok(())
    }

    /// Before anybody shakes hands: the certificates that come by themselves, as far as they are there.
    fn keep_certificates(&mut self) -> Result<(), String> {
        let demands = self.cycle.shared.get::<Demands>();
        let demands = demands.map(|it| it.0.values().cloned().collect()).unwrap_or_default();
        let (wishes, log) = (self.cycle.wishes.clone(), self.cycle.main.error_log.clone());
        let plan = Plan { wishes, demands, log };
        match &self.keeper {
            Some(keeper) => keeper.adopt(plan),
            None if plan.wishes.is_empty() && plan.demands.is_empty() => (),
            None => {
                let keeper =
                    Keeper::start(plan).map_err(|error| format!("a thread cannot be started: {error}"))?;
                self.keeper = Some(keeper);
            }
        }
        Ok(())
    }

    /// Goes on writing to the files that the master has opened anew.
    pub fn reopen(&self, logs: Vec<Log>) {
        self.log(Level::Notice, &"reopening logs");
        access_log::flush();
        adopt_logs(logs);
        self.follow_stderr();
    }

    /// Accepts nothing more and ends when the last connection has.
    pub fn quit(&mut self) {
        if self.going != Going::No {
            return;
        }
        self.log(Level::Notice, &"gracefully shutting down");
        // Who comes after orders what is missing.
        self.keeper = None;
        let patience = self.cycle.main.process.shutdown_timeout.filter(|time| !time.is_zero());
        self.going = Going::Gracefully(patience.map(|time| Instant::now() + time));
        self.threads.iter().for_each(Served::leave);
    }

    /// Ends, whatever is under way.
    pub fn stop(&mut self) {
        self.going = Going::Now;
    }

    /// The descriptor that is readable when [`Worker::ended`] is to be asked again.
    pub fn done(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }

    /// When [`Worker::ended`] is to be asked again at the latest.
    pub fn due_in(&self) -> Option<Duration> {
        match self.going {
            Going::No | Going::Gracefully(None) => None,
            Going::Gracefully(Some(at)) | Going::Cut(at) => {
                Some(at.saturating_duration_since(Instant::now()))
            }
            Going::Now => Some(Duration::ZERO),
        }
    }

    /// To be called when [`Worker::done`] is readable: takes what is there.
    pub fn take_done(&mut self) {
        // How many have ended is written in their flags; the bytes only wake.
        _ = self.done.read(&mut [0; 64]);
    }

    /// The descriptor that is readable when [`Worker::tell_refusals`] is to be called.
    pub fn refusals(&self) -> Option<BorrowedFd<'_>> {
        self.refusals.as_ref().map(AsFd::as_fd)
    }

    /// One line for each system call that was refused.
    pub fn tell_refusals(&self) {
        for number in self.refusals.as_ref().map(Refusals::take).into_iter().flatten() {
            let name = confine::name(number);
            self.log(Level::Alert, &format_args!("hardening: the system call {name} was refused"));
        }
    }

    /// How the process is to end, if it is time: all connections done, patience at its end, or a thread lost.
    pub fn ended(&mut self) -> Option<ExitCode> {
        let n_ended = self.threads.iter().filter(|thread| thread.ended.load(Ordering::Acquire)).count();
        let over = match self.going {
            Going::No if n_ended > 0 => {
                self.log(Level::Alert, &"a thread of the worker process has ended unexpectedly");
                return Some(ExitCode::FAILURE);
            }
            Going::No => false,
            _ if self.going != Going::Now && n_ended == self.threads.len() => true,
            Going::Gracefully(Some(at)) if at <= Instant::now() => {
                self.threads.iter().for_each(|it| it.on_it(|thread| thread.end_all()));
                self.going = Going::Cut(Instant::now() + CUT_PATIENCE);
                false
            }
            Going::Gracefully(_) => false,
            Going::Cut(at) => at <= Instant::now(),
            Going::Now => true,
        };
        over.then(|| {
            access_log::flush();
            self.log(Level::Notice, &"exiting");
            ExitCode::SUCCESS
        })
    }

    /// Writes to the error log of the configuration's outermost level.
    pub fn log(&self, level: Level, text: &dyn Display) {
        self.cycle.main.error_log.write(level, text);
    }

    /// Starts threads until there are as many as `worker_processes` says, or lets the last ones finish and go.
    ///
    /// A new thread accepts where the others do; on what the configuration adds it does together with them.
    fn set_threads(&mut self, sockets: &[(Addr, Vec<OwnedFd>)]) -> Result<(), String> {
        let wanted = self.cycle.main.process.workers;
        self.threads.drain(wanted.min(self.threads.len())..).for_each(|surplus| surplus.leave());
        while self.threads.len() < wanted {
            let index = self.threads.len();
            let thread = Served::start(index, self.cycle.clone(), self.done_writer.clone());
            let thread = thread.map_err(|error| format!("a thread cannot be started: {error}"))?;
            for (addr, fds) in sockets {
                if self.listening.contains(&(addr.clone(), fds.len())) {
                    thread.listen(index, addr, fds, &self.cycle)?;
                }
            }
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Lets every thread accept on exactly these sockets. Where one does already, nothing is touched.
    fn listen(&mut self, sockets: &[(Addr, Vec<OwnedFd>)]) -> Result<(), String> {
        let now: Vec<(Addr, usize)> = sockets.iter().map(|(addr, fds)| (addr.clone(), fds.len())).collect();
        for (addr, _) in self.listening.iter().filter(|kept| !now.contains(kept)) {
            for thread in &self.threads {
                let addr = addr.clone();
                thread.on_it(move |thread| thread.forget(&addr));
            }
        }
        let before = std::mem::replace(&mut self.listening, now);
        for (addr, fds) in sockets.iter().filter(|(addr, fds)| !before.contains(&(addr.clone(), fds.len()))) {
            for (index, thread) in self.threads.iter().enumerate() {
                thread.listen(index, addr, fds, &self.cycle)?;
            }
        }
        Ok(())
    }

    /// What a panic says goes to the error log, if that is a file.
    fn follow_stderr(&self) {
        if !self.alone {
            return;
        }
        if let Some(file) = self.cycle.main.stderr_file() {
            // Where it fails, panics are seen less well; nothing else.
            _ = redirect_stderr(file);
        }
    }
}

/// One thread, seen from outside.
struct Served {
    remote: Remote,
    ended: Arc<AtomicBool>,
}

thread_local! {
    /// What jobs from the control thread work on.
    static HERE: RefCell<Option<Rc<Thread>>> = const { RefCell::new(None) };
    /// Whether this thread is to end with its last connection, and who waits to hear of it.
    static LEAVING: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

impl Served {
    fn start(index: usize, cycle: Arc<Cycle>, done: Arc<PipeWriter>) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let farewell = Farewell { ended: ended.clone(), done };
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new().name(format!("worker {index}")).spawn(move || {
            let _farewell = farewell;
            runtime::run(async move {
                let thread = Thread::new(cycle, index == 0);
                HERE.set(Some(thread.clone()));
                // The one who waits for it has just started us.
                _ = sender.send(runtime::remote());
                poll_fn(|cx| until_empty(&thread, cx)).await;
                HERE.set(None);
            })
        })?;
        let remote = receiver.recv().map_err(|_| io::Error::other("its event loop cannot be made"))?;
        Ok(Self { remote, ended })
    }

    fn on_it(&self, job: impl FnOnce(&Rc<Thread>) + Send + 'static) {
        self.remote.run(move || {
            if let Some(thread) = HERE.with_borrow(Clone::clone) {
                job(&thread);
            }
        });
    }

    /// Accepts on its share of the sockets: all threads on one, or each on its own.
    fn listen(&self, index: usize, addr: &Addr, fds: &[OwnedFd], cycle: &Cycle) -> Result<(), String> {
        let failed = |error: &io::Error| format!("the socket {addr} cannot be used ({})", errno_text(error));
        let Some(fd) = fds.get(index % fds.len().max(1)) else { return Ok(()) };
        let fd = fd.try_clone().map_err(|error| failed(&error))?;
        let (addr, log) = (addr.clone(), cycle.main.error_log.clone());
        self.on_it(move |thread| {
            if let Err(error) = thread.listen(addr.clone(), fd) {
                let text = format!("the socket {addr} cannot be used ({})", errno_text(&error));
                log.write(Level::Alert, &text);
            }
        });
        Ok(())
    }

    /// Accepts nothing more; ends with its last connection.
    fn leave(&self) {
        self.on_it(|thread| {
            thread.drain();
            LEAVING.set(true);
            if let Some(waker) = WAITING.take() {
                waker.wake();
            }
        });
    }
}

/// Ready when the thread was told to leave and its last connection has ended.
fn until_empty(thread: &Thread, cx: &mut Context<'_>) -> Poll<()> {
    if LEAVING.get() {
        return thread.poll_empty(cx);
    }
    WAITING.set(Some(cx.waker().clone()));
    Poll::Pending
}

/// Says that a thread has ended, however it ended.
struct Farewell {
    ended: Arc<AtomicBool>,
    done: Arc<PipeWriter>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // The pipe has room for thousands of bytes; if nobody reads any more, the process is about to end.
        _ = (&*self.done).write(&[1]);
    }
}
