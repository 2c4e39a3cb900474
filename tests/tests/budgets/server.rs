//! A server under a tool that counts, and the traffic that it is counted with.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use foregate_testkit::process::signal;
use foregate_testkit::{Backend, Client, Port, Reply, Signal, Subject, free_port};

/// Tools slow a server down: an unoptimised one under callgrind takes seconds to start.
const START_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

const BODY_BYTES: usize = 1024;

/// How many of each kind.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    /// Requests to a backend on one kept connection.
    pub(crate) proxied: usize,
    /// The same with an access log.
    pub(crate) logged: usize,
    /// Requests for a file on one kept connection.
    pub(crate) files: usize,
    /// Requests to a backend, each on a connection of its own.
    pub(crate) fresh: usize,
}

/// Requests of every kind that each count begins with, so that what happens once is not counted.
pub(crate) const WARM: Traffic = Traffic { proxied: 40, logged: 40, files: 40, fresh: 40 };

/// What each kind gets more of to be counted.
pub(crate) const COUNTED: usize = 200;

pub(crate) struct Running {
    child: Child,
    dir: PathBuf,
    port: Port,
    backend: Backend,
}

impl Running {
    /// Starts one process with one worker in it, under `tool`.
    pub(crate) fn start(tool: &[String]) -> Running {
        let (port, backend) = (free_port(), backend());
        let dir =
            std::env::temp_dir().join(format!("foregate-budgets-{}-{}", std::process::id(), port.number()));
        fs::create_dir_all(dir.join("html")).expect("because the folder is new");
        fs::write(dir.join("html/file"), vec![b'x'; BODY_BYTES]).expect("because the folder is ours");
        let conf = conf(port.number(), &backend.address());
        fs::write(dir.join("nginx.conf"), conf).expect("because the folder is ours");
        let binary = Subject::Foregate.binary().to_string_lossy().into_owned();
        let mut words = tool.iter().chain([&binary]);
        let program = words.next().expect("because the binary is among them");
        let printed = fs::File::create(dir.join("printed")).expect("because the folder is ours");
        let child = Command::new(program)
            .args(words)
            .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
            .arg(&dir)
            // Huge pages would make what is resident a matter of chance.
            .env("MIMALLOC_ALLOW_THP", "0")
            .stdin(Stdio::null())
            .stdout(printed.try_clone().expect("because it is open"))
            .stderr(printed)
            .spawn()
            .unwrap_or_else(|why| panic!("{program}: {why}"));
        Running { child, dir, port, backend }
    }

    /// Waits until it serves; what it said instead when it ended.
    pub(crate) fn wait_until_up(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while self.server_pid().is_none() {
            if !matches!(self.child.try_wait(), Ok(None)) || start.elapsed() > START_TIMEOUT {
                return Err(self.said());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// What it and the tool printed.
    pub(crate) fn said(&self) -> String {
        ["printed", "error.log"]
            .map(|name| fs::read_to_string(self.dir.join(name)).unwrap_or_default())
            .concat()
    }

    pub(crate) fn server_pid(&self) -> Option<i32> {
        fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.number()))
    }

    /// One request at a time, so that every run of it costs the same.
    pub(crate) fn drive(&self, traffic: Traffic) {
        let mut kept = Client::connect(self.address());
        for (path, times) in
            [("/proxied", traffic.proxied), ("/logged", traffic.logged), ("/file", traffic.files)]
        {
            (0..times).for_each(|_| ask(&mut kept, path, ""));
        }
        for _ in 0..traffic.fresh {
            let mut client = Client::connect(self.address());
            ask(&mut client, "/proxied", "Connection: close\r\n");
            assert!(client.is_closed());
        }
        assert!(self.backend.connections() <= 1, "the connection to the backend was not kept");
    }

    /// A connection that has had one answer and is kept.
    pub(crate) fn used_connection(&self) -> Client {
        let mut client = Client::connect(self.address());
        ask(&mut client, "/file", "");
        client
    }

    /// Ends it as an administrator would, so that tools write what they counted.
    pub(crate) fn stop(mut self) {
        if let Some(pid) = self.server_pid() {
            signal(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), self.server_pid()) {
            signal(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ask(client: &mut Client, path: &str, fields: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: budgets\r\n{fields}\r\n");
    let answer = client.exchange(request.as_bytes(), false).expect("because the server answers");
    assert_eq!((answer.status, answer.body.len()), (200, BODY_BYTES), "{path}");
}

/// Answers in one write, so that the server reads it at once.
fn backend() -> Backend {
    let body = "x".repeat(BODY_BYTES);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nServer: b\r\nContent-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n{body}"
    );
    Backend::new(move |_| Reply::raw(&answer))
}

fn conf(port: u16, backend: &str) -> String {
    let proxy = "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; \
        proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
    format!(
        "daemon off; master_process off; pid pid; error_log error.log;
         events {{ worker_connections 8192; use epoll; }}
         http {{
             access_log off; keepalive_requests 1000000; keepalive_timeout 600s;
             upstream app {{ server {backend}; keepalive 8; keepalive_requests 1000000; }}
             server {{
                 listen 127.0.0.1:{port};
                 location / {{ {proxy} }}
                 location /logged {{ {proxy} access_log access.log; }}
                 location /file {{ root html; }}
             }}
         }}\n"
    )
}
