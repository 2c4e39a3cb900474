//! Scripted backends: a thread per connection, every request recorded as it came.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::client::TIMEOUT;
use crate::message::{Incoming, Seen};
use crate::reply::{Reply, Step};

/// A backend that answers by a script until it is dropped.
pub struct Backend {
    address: Address,
    shared: Arc<Shared>,
}

enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// By the numbers of the connections; those that have ended may still be among them.
    open: Mutex<Vec<(usize, Box<dyn Pipe>)>>,
    stopped: AtomicBool,
    /// Answer after the head, before the body.
    before_body: bool,
}

/// Connections that have ended keep their descriptors while there are no more than these.
const ENDED_KEPT_MAX: usize = 1000;

/// A stream of either kind.
trait Pipe: Read + Write + Send {
    fn another(&self) -> Box<dyn Pipe>;
    fn end(&self);
    fn reset(&self);
}

impl Pipe for TcpStream {
    fn another(&self) -> Box<dyn Pipe> {
        Box::new(self.try_clone().expect("because a descriptor can be doubled"))
    }
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
    fn reset(&self) {
        // The reset goes out when the last descriptor is closed; see `converse`.
        let _ = rustix::net::sockopt::set_socket_linger(self, Some(Duration::ZERO));
    }
}

impl Pipe for UnixStream {
    fn another(&self) -> Box<dyn Pipe> {
        Box::new(self.try_clone().expect("because a descriptor can be doubled"))
    }
    fn end(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }
    fn reset(&self) {
        self.end();
    }
}

impl Backend {
    /// Answers every request by the script.
    pub fn new<R: Into<Reply>>(script: impl Fn(&Seen) -> R + Send + Sync + 'static) -> Backend {
        Backend::on("127.0.0.1:0", script)
    }

    /// Answers every request with the request itself: its head as received and its body, as plain text.
    pub fn echo() -> Backend {
        Backend::new(|seen| format!("{}{}", seen.head.replace("\r\n", "\n"), seen.text()))
    }

    /// Answers every request with this text: to tell backends apart.
    pub fn named(name: &'static str) -> Backend {
        Backend::new(move |_| name)
    }

    /// The same as [`Backend::new`] on an address of the test's choice.
    pub fn on<R: Into<Reply>>(address: &str, script: impl Fn(&Seen) -> R + Send + Sync + 'static) -> Backend {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let address = listener.local_addr().expect("because it is bound");
        let shared = Shared::new(script, false);
        serve(&shared, move || accept(&listener));
        Backend { address: Address::Tcp(address), shared }
    }

    /// Answers after the head of a request, before its body is read.
    pub fn before_body<R: Into<Reply>>(script: impl Fn(&Seen) -> R + Send + Sync + 'static) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because some port is free");
        let address = listener.local_addr().expect("because it is bound");
        let shared = Shared::new(script, true);
        serve(&shared, move || accept(&listener));
        Backend { address: Address::Tcp(address), shared }
    }

    /// Listens on a unix socket in the temporary folder.
    pub fn unix<R: Into<Reply>>(script: impl Fn(&Seen) -> R + Send + Sync + 'static) -> Backend {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("foregate-backend-{}-{n}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        open_to_all(&path);
        let shared = Shared::new(script, false);
        serve(&shared, move || listener.accept().map(|(s, _)| Box::new(s) as Box<dyn Pipe>));
        Backend { address: Address::Unix(path), shared }
    }

    /// The address as `server` in `upstream` takes it.
    pub fn address(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The port, of a backend that listens by TCP.
    pub fn port(&self) -> u16 {
        match &self.address {
            Address::Tcp(address) => address.port(),
            Address::Unix(_) => panic!("a unix socket has no port"),
        }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.requests().clone()
    }

    /// The last request; panics when there was none.
    pub fn last(&self) -> Seen {
        self.shared.requests().last().cloned().expect("because the backend was asked")
    }

    /// Waits until there were `n` requests and returns them.
    pub fn wait_for(&self, n: usize) -> Vec<Seen> {
        let start = Instant::now();
        while self.shared.requests().len() < n {
            assert!(start.elapsed() < TIMEOUT, "only {} requests came", self.shared.requests().len());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.requests()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes all connections that are open now, idle ones included.
    pub fn close_all(&self) {
        for (_, pipe) in self.shared.open.lock().expect("because no holder of this lock panics").drain(..) {
            pipe.end();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.close_all();
        // Wakes the thread that accepts, which sees that it is over.
        match &self.address {
            Address::Tcp(address) => drop(TcpStream::connect_timeout(address, TIMEOUT)),
            Address::Unix(path) => {
                drop(UnixStream::connect(path));
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl Shared {
    fn new<R: Into<Reply>>(
        script: impl Fn(&Seen) -> R + Send + Sync + 'static,
        before_body: bool,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            script: Box::new(move |seen| script(seen).into()),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
            stopped: AtomicBool::new(false),
            before_body,
        })
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.requests.lock().expect("because no holder of this lock panics")
    }
}

fn serve(shared: &Arc<Shared>, accept: impl Fn() -> std::io::Result<Box<dyn Pipe>> + Send + 'static) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        while let Ok(pipe) = accept() {
            if shared.stopped.load(Ordering::SeqCst) {
                return;
            }
            let nth = shared.connections.fetch_add(1, Ordering::SeqCst);
            shared.open.lock().expect("because no holder of this lock panics").push((nth, pipe.another()));
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || converse(&shared, pipe, nth));
        }
    });
}

/// Head and body go out in two writes: without this the second one waits for the first's acknowledgement, 40 ms.
fn accept(listener: &TcpListener) -> std::io::Result<Box<dyn Pipe>> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

/// Answers the requests of one connection, then closes it for good.
fn converse(shared: &Shared, mut pipe: Box<dyn Pipe>, connection: usize) {
    let mut incoming = Incoming::new();
    for nth in 0.. {
        let Ok(Some(mut seen)) = incoming.request_head(&mut pipe) else { break };
        (seen.connection, seen.nth) = (connection, nth);
        if !shared.before_body && incoming.request_body(&mut seen, &mut pipe).is_err() {
            break;
        }
        shared.requests().push(seen.clone());
        let reply = (shared.script)(&seen);
        if !play(&reply, seen.method == "HEAD", &mut incoming, &mut pipe) {
            break;
        }
        if shared.before_body && incoming.request_body(&mut seen, &mut pipe).is_err() {
            break;
        }
    }
    pipe.end();
    let mut open = shared.open.lock().expect("because no holder of this lock panics");
    if open.len() > ENDED_KEPT_MAX {
        open.retain(|(n, _)| *n != connection);
    }
}

/// Plays the steps; false when the connection is to end.
fn play(reply: &Reply, to_head: bool, incoming: &mut Incoming, pipe: &mut Box<dyn Pipe>) -> bool {
    for step in &reply.steps {
        match step {
            Step::Send(bytes) => {
                if pipe.write_all(bytes).is_err() {
                    return false;
                }
            }
            Step::Body(bytes) => {
                if !to_head && pipe.write_all(bytes).is_err() {
                    return false;
                }
            }
            Step::Wait(time) => std::thread::sleep(*time),
            Step::Until(gate) => gate.pass(),
            Step::Echo => {
                while let Ok(some) = incoming.some(pipe) {
                    if some.is_empty() || pipe.write_all(&some).is_err() {
                        return false;
                    }
                }
                return false;
            }
            Step::Drain => {
                while incoming.some(pipe).is_ok_and(|some| !some.is_empty()) {}
                return false;
            }
            Step::Close => return false,
            Step::Reset => {
                pipe.reset();
                return false;
            }
        }
    }
    true
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777));
}
