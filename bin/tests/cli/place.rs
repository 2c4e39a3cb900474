//! A folder with an nginx.conf for tests of the command line: runs the binary in it, and nginx beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use foregate_testkit::{Client, Port, free_port};

/// The nginx that proves the expectation, where it is installed.
const NGINX: &str = "/usr/sbin/nginx";
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A folder of its own with a free port; a server started in it is stopped at the end.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) port: Port,
}

/// What a run has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    /// Writes `nginx.conf`; `{port}` in it becomes the free port.
    pub(crate) fn new(conf: &str) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("foregate-cli-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).expect("because the folder for temporary files is writable");
        let place = Place { dir, port: free_port() };
        place.write(conf);
        place
    }

    /// Replaces `nginx.conf`.
    pub(crate) fn write(&self, conf: &str) {
        let text = conf.replace("{port}", &self.port.number().to_string());
        fs::write(self.path("nginx.conf"), text).expect("because the folder is ours");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// `foregate -p DIR/ -c nginx.conf -e error.log` and these.
    pub(crate) fn foregate(&self, args: &[&str]) -> Outcome {
        self.run(Path::new(env!("CARGO_BIN_EXE_foregate")), args)
    }

    /// The same on nginx, its name and ours made equal; `None` without nginx.
    pub(crate) fn nginx(&self, args: &[&str]) -> Option<Outcome> {
        Path::new(NGINX).exists().then(|| self.run(Path::new(NGINX), args))
    }

    fn run(&self, program: &Path, args: &[&str]) -> Outcome {
        let prefix = format!("{}/", self.dir.display());
        let out = Command::new(program)
            .args(["-p", &prefix, "-c", "nginx.conf", "-e", "error.log"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("because the program is there");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&prefix, "DIR/");
        Outcome { code: out.status.code(), stdout: text(&out.stdout), stderr: text(&out.stderr) }
    }

    /// The pid that a pid file holds.
    pub(crate) fn pid(&self, name: &str) -> i32 {
        self.wait(|| self.read(name).trim().parse().ok())
    }

    /// The only worker of a master.
    pub(crate) fn worker_of(&self, master: i32) -> i32 {
        self.wait(|| {
            let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).ok()?;
            children.split_whitespace().next()?.parse().ok()
        })
    }

    /// What the server says on the port.
    pub(crate) fn ask(&self) -> String {
        self.try_ask().expect("because a server listens there")
    }

    /// `None` while nobody answers.
    pub(crate) fn try_ask(&self) -> Option<String> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port.number()));
        std::net::TcpStream::connect(address).ok()?;
        let mut client = Client::connect(address);
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.try_response(false).ok().flatten().map(|response| response.text())
    }

    /// Waits until the error log holds this.
    pub(crate) fn wait_for_log(&self, part: &str) {
        self.wait_until(part, || self.read("error.log").contains(part));
    }

    /// Waits until it is so.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "never: {what}\n{}", self.read("error.log"));
            sleep(POLL);
        }
    }

    fn wait<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "nothing came\n{}", self.read("error.log"));
            sleep(POLL);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in ["nginx.pid", "nginx.pid.oldbin", "other.pid"] {
            if let Ok(pid) = self.read(name).trim().parse() {
                kill(pid, "TERM");
                let gone = || !Path::new(&format!("/proc/{pid}/exe")).exists();
                let start = Instant::now();
                while !gone() && start.elapsed() < PATIENCE {
                    sleep(POLL);
                }
            }
        }
        if std::thread::panicking() {
            eprintln!("--- error.log\n{}---", self.read("error.log"));
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Sends a signal by its name.
pub(crate) fn kill(pid: i32, signal: &str) {
    // It may be gone already: then there is nothing to tell.
    let _ =
        Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).stderr(Stdio::null()).status();
}
