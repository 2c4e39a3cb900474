//! A running server: started in a folder of its own, watched, stopped at the end; its error log is part of the test.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::client::{Client, TIMEOUT};
use crate::message::Response;
use crate::process::workers_of;
use crate::request::Written;
use crate::setup::{Place, Setup, path_text};
use crate::subject::Subject;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);

/// A server that answers on its ports until it is dropped.
///
/// Dropping stops it and fails the test when the error log holds `[alert]`, `[emerg]` or a panic that
/// [`Setup::allow_log`] did not foresee.
pub struct Server {
    child: Child,
    place: Place,
    subject: Subject,
    allowed: Vec<String>,
}

impl Server {
    /// Starts a server whose `http { }` holds this text: short for `Setup::http(text).start(subject)`.
    pub fn start(subject: Subject, http: &str) -> Server {
        Setup::http(http).start(subject)
    }

    pub(crate) fn start_as(subject: Subject, setup: &Setup) -> Result<Server, String> {
        let place = setup.lay_out(subject);
        let printed = fs::File::create(place.dir.join("printed.log")).map_err(|e| e.to_string())?;
        let mut command = command(subject, &place);
        command
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(printed.try_clone().map_err(|e| e.to_string())?)
            .stderr(printed);
        // A group of its own, so that workers go with their master whatever happens.
        let child = command.process_group(0).spawn().map_err(|e| format!("{:?}: {e}", subject.binary()))?;
        let mut server = Server { child, place, subject, allowed: setup.allowed.clone() };
        match server.wait_until_up() {
            Ok(()) => Ok(server),
            Err(why) => {
                let seen = format!("{why}\n{}{}", server.read("printed.log"), server.read("error.log"));
                server.allowed = vec![String::new()];
                Err(seen)
            }
        }
    }

    /// The pid file is written after the sockets listen, so connections made from then on are answered.
    fn wait_until_up(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if !self.read("nginx.pid").is_empty() {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        Err("no pid file in time".to_owned())
    }

    /// On what this server runs.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The port that `{port:n}` stands for.
    pub fn port(&self, n: usize) -> u16 {
        self.place.port(&n.to_string())
    }

    /// The address of `{port:n}`.
    pub fn address(&self, n: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port(n)))
    }

    /// A text with its placeholders filled in as in the configuration.
    pub fn fill(&self, text: &str) -> String {
        self.place.fill(text)
    }

    /// The path of a file in the server's folder.
    pub fn path(&self, name: &str) -> String {
        path_text(&self.place.dir.join(name))
    }

    /// The text of a file in the server's folder, or nothing.
    pub fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.place.dir.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes a file in the server's folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.place.dir.join(name), bytes).expect("because the folder is ours");
    }

    /// Replaces the configuration's file by this whole text; [`Server::reload`] makes the server read it.
    pub fn write_conf(&self, setup: &Setup) {
        self.place.write_conf(setup.text());
    }

    /// A keep-alive connection to `{port:0}`.
    pub fn connect(&self) -> Client {
        Client::connect(self.address(0))
    }

    /// One request as tables write it (`GET /path` and header lines), on a connection of its own.
    pub fn ask(&self, request: &str) -> Option<Response> {
        self.try_ask(request).unwrap_or_else(|why| panic!("{request:?}: no answer: {why}"))
    }

    /// The same, with `Err` when what comes is no answer.
    pub fn try_ask(&self, request: &str) -> Result<Option<Response>, String> {
        let request = Written::parse(&self.fill(request));
        let mut client = Client::connect(request.address(self));
        client.send(&request.bytes);
        client.try_response(request.is_head)
    }

    /// The answer to `GET path` on `{port:0}`; panics when there is none.
    pub fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET {path}")).unwrap_or_else(|| panic!("GET {path}: closed without an answer"))
    }

    /// The master's process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("because process ids are small")
    }

    /// The process id of the first worker that serves; waits until there is one.
    pub fn worker(&self) -> i32 {
        let found = std::cell::Cell::new(0);
        self.eventually(|server| {
            found.set(workers_of(server.pid()).first().copied().unwrap_or(0));
            found.get() != 0
        });
        found.get()
    }

    /// Sends the master a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.group(), signal).expect("because the master is our child");
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.pid()).expect("because process ids are positive")
    }

    /// Sends HUP and waits until `done`: the new configuration shows, or the log says why it was refused.
    pub fn reload(&self, done: impl Fn(&Server) -> bool) {
        self.signal(Signal::HUP);
        self.eventually(done);
    }

    /// Waits until a condition holds; panics with the error log when it does not in time.
    pub fn eventually(&self, condition: impl Fn(&Server) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(
                start.elapsed() < TIMEOUT,
                "it never came true; the error log:\n{}",
                self.read("error.log")
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the error log holds a text; panics with the log when it does not in time.
    pub fn wait_for_error(&self, part: &str) {
        self.wait_for("error.log", |log| log.contains(part));
    }

    /// Waits until a file of the server's folder is as wished and returns it.
    pub fn wait_for(&self, name: &str, wished: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let text = self.read(name);
            if wished(&text) {
                return text;
            }
            assert!(start.elapsed() < TIMEOUT, "{name} never became as wished; it holds:\n{text}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until `name` (an access log) holds `n` lines and returns them.
    pub fn log_lines(&self, name: &str, n: usize) -> Vec<String> {
        let text = self.wait_for(name, |text| text.matches('\n').count() >= n);
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the master has ended by itself and says whether it ended well.
    pub fn wait_for_exit(&mut self) -> bool {
        wait_for_end(&mut self.child, STOP_TIMEOUT).unwrap_or_else(|| panic!("the server does not end"))
    }

    fn stop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::TERM);
            wait_for_end(&mut self.child, STOP_TIMEOUT);
        }
        let _ = kill_process_group(self.group(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Lines of the error log that no test may leave behind.
    fn complaints(&self) -> Vec<String> {
        let log = self.read("error.log") + &self.read("printed.log");
        let bad = |line: &&str| ["[alert]", "[emerg]", "panicked at"].iter().any(|word| line.contains(word));
        let foreseen = |line: &str| self.allowed.iter().any(|part| line.contains(part.as_str()));
        log.lines().filter(bad).filter(|line| !foreseen(line)).map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let complaints = self.complaints();
        if std::thread::panicking() {
            let log = self.read("error.log");
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("--- error log, its end:\n{}\n---", last.join("\n"));
        } else {
            assert!(
                complaints.is_empty(),
                "the error log of {} holds:\n{}",
                self.subject,
                complaints.join("\n")
            );
        }
    }
}

/// The binary with the options that name its folder and configuration.
pub(crate) fn command(subject: Subject, place: &Place) -> Command {
    let prefix = format!("{}/", place.dir.display());
    let mut command = Command::new(subject.binary());
    command.args(["-p", &prefix, "-c", &format!("{prefix}nginx.conf"), "-e", "error.log"]).env("TZ", "UTC");
    command
}

fn wait_for_end(child: &mut Child, limit: Duration) -> Option<bool> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status.success());
        }
        std::thread::sleep(POLL);
    }
    None
}
