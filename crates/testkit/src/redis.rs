//! A real Redis, which may be stopped, frozen and started again.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ports::{Port, free_port};

const BINARY: &str = "/usr/bin/redis-server";
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// A server of its own, without a disk.
pub struct Redis {
    child: Option<Child>,
    port: Port,
    password: Option<&'static str>,
}

impl Redis {
    /// `None`, with a line that says so: it is not installed here.
    pub fn start() -> Option<Redis> {
        Redis::with(None)
    }

    /// As [`Redis::start`], for those who know a password.
    pub fn with(password: Option<&'static str>) -> Option<Redis> {
        if !Path::new(BINARY).exists() {
            println!("skipped: {BINARY} is missing (apt-get install redis-server)");
            return None;
        }
        let mut redis = Redis { child: None, port: free_port(), password };
        redis.run();
        Some(redis)
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// Starts it, on the same port as before; what it knew is gone.
    pub fn run(&mut self) {
        self.stop();
        let port = self.port.number().to_string();
        let mut command = Command::new(BINARY);
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(self.password.iter().flat_map(|it| ["--requirepass", it]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("because the program is there"));
        let start = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            assert!(start.elapsed() < START_TIMEOUT, "redis-server does not listen");
            std::thread::sleep(POLL);
        }
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Frozen ones too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It keeps its connections and says nothing any more (`false`: it goes on).
    pub fn freeze(&self, frozen: bool) {
        let id = self.child.as_ref().and_then(|it| Pid::from_raw(i32::try_from(it.id()).ok()?));
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        kill_process(id.expect("because it runs"), signal).expect("because it is our child");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
