//! The worker: one thread per core that serves, and one that listens to the master.

mod prepare;
mod threads;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use foregate_core::Level;
use foregate_net::channel::Channel;
use foregate_net::process::{kill, parent, set_name, wait_readable};
use foregate_net::signals::{
    self, Received, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals,
};
use foregate_net::sys;

use crate::bundle::{Answer, Order};
pub use threads::Worker;

/// Names the descriptor of the worker's end of the channel.
pub const CHANNEL: &str = "FOREGATE_CHANNEL";

/// Says how many workers there were before this one.
pub const RESPAWNED: &str = foregate_modules::api::RESPAWNED;

/// The exit code of a worker that could not even begin; nginx's "fatal code".
const FATAL: u8 = 2;

/// The signals that a worker reads; some only to say that it ignores them.
const SIGNALS: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// Whether this process was started to be a worker.
pub fn is_wanted() -> bool {
    std::env::var_os(CHANNEL).is_some()
}

/// The worker process, from its first order to its end.
pub fn main() -> ExitCode {
    set_name(c"foregate");
    match Control::begin() {
        Ok(control) => control.run(),
        Err(error) => {
            // The master hears of it by the exit code; the text is for people who look at stderr.
            eprintln!("worker process {} cannot begin: {error}", std::process::id());
            ExitCode::from(FATAL)
        }
    }
}

/// The worker's side of the conversation with the master.
struct Control {
    channel: Channel,
    signals: Signals,
    worker: Worker,
}

impl Control {
    /// Receives the first configuration, gives up every right it does not need, starts to serve.
    fn begin() -> io::Result<Self> {
        let signals = Signals::block(&SIGNALS)?;
        let number = std::env::var(CHANNEL).ok().and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| io::Error::other("it was not started by a master"))?;
        let channel = Channel::from_fd(sys::inherit(number)?);
        let first = channel.receive()?.and_then(Order::from_packet);
        let Some(Order::Load(bundle)) = first else {
            return Err(io::Error::other("the first order is no configuration"));
        };
        match Worker::start(*bundle, true) {
            Ok(worker) => {
                channel.send(Answer::Ready.into_packet())?;
                Ok(Self { channel, signals, worker })
            }
            Err(text) => {
                channel.send(Answer::Refused(text.clone()).into_packet())?;
                Err(io::Error::other(text))
            }
        }
    }

    fn run(mut self) -> ExitCode {
        let mut master_lives = true;
        loop {
            if let Some(code) = self.worker.ended() {
                return code;
            }
            let channel = master_lives.then_some(self.channel.as_fd());
            let refusals = self.worker.refusals();
            let fds = [Some(self.signals.as_fd()), Some(self.worker.done()), channel, refusals];
            let Ok([_, done, spoken, refused]) = wait_readable(fds, self.worker.due_in()) else { continue };
            if done {
                self.worker.take_done();
            }
            if refused {
                self.worker.tell_refusals();
            }
            while let Ok(Some(received)) = self.signals.next() {
                self.signal(received);
            }
            if spoken && !self.obey() {
                master_lives = false;
                self.worker.log(Level::Alert, &"the master process is gone");
                self.worker.quit();
            }
        }
    }

    /// Does what the master says next; `false` when the master is gone.
    fn obey(&mut self) -> bool {
        let Ok(Some(packet)) = self.channel.receive() else { return false };
        match Order::from_packet(packet) {
            Some(Order::Load(bundle)) => {
                let answer = match self.worker.load(*bundle) {
                    Ok(()) => Answer::Ready,
                    Err(text) => Answer::Refused(text),
                };
                return self.channel.send(answer.into_packet()).is_ok();
            }
            Some(Order::Reopen(logs)) => self.worker.reopen(logs),
            Some(Order::Quit) => self.worker.quit(),
            Some(Order::Stop) => self.worker.stop(),
            None => return false,
        }
        true
    }

    /// Signals may come past the master, from people and from terminals.
    fn signal(&mut self, received: Received) {
        let Received { signal, from } = received;
        let action = match signal {
            SIGTERM | SIGINT => ", exiting",
            SIGQUIT => ", shutting down",
            SIGUSR1 => ", reopening logs",
            SIGWINCH => "",
            _ => ", ignoring",
        };
        let by = from.map_or_else(String::new, |pid| format!(" from {pid}"));
        let name = signals::name(signal);
        self.worker.log(Level::Notice, &format_args!("signal {signal} ({name}) received{by}{action}"));
        match signal {
            SIGTERM | SIGINT => self.worker.stop(),
            SIGQUIT => self.worker.quit(),
            SIGUSR1 => {
                // The worker may not open logs itself: the master opens them and hands them over.
                if let Some(master) = parent() {
                    _ = kill(master, SIGUSR1);
                }
            }
            _ => {}
        }
    }
}
