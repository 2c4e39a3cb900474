//! FastCGI applications by a script, and PHP's own where it is installed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::TIMEOUT;

/// A request as an application sees it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub params: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    keeps: bool,
}

impl Asked {
    /// A parameter's value; empty where it was not sent.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|it| it.0 == name).map_or("", |it| &it.1)
    }
}

/// A part of an application's answer.
#[derive(Clone, Debug)]
pub enum Act {
    Stdout(Vec<u8>),
    Stderr(&'static str),
    /// Bytes as they are, records or none.
    Raw(Vec<u8>),
    Wait(Duration),
    /// The answer and the request are over.
    End,
    Close,
}

impl Act {
    /// A whole answer: head and body together.
    pub fn answer(text: impl AsRef<[u8]>) -> Vec<Act> {
        vec![Act::Stdout(text.as_ref().to_vec()), Act::End]
    }
}

type Script = dyn Fn(&Asked) -> Vec<Act> + Send + Sync;

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

/// An application that answers by a script until it is dropped.
pub struct Application {
    port: u16,
    shared: Arc<Shared>,
}

impl Application {
    /// Listens on a port of its own.
    pub fn new(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").expect("because some port is free");
        let port = listener.local_addr().expect("because it is bound").port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = accepting.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || converse(&shared, stream, connection));
            }
        });
        Application { port, shared }
    }

    /// The address as `fastcgi_pass` takes it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("because no holder of this lock panics").clone()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which sees that it is over.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// Answers the requests of one connection.
fn converse(shared: &Shared, mut stream: TcpStream, connection: usize) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(TIMEOUT));
    while let Some(mut asked) = request(&mut stream) {
        asked.connection = connection;
        shared.asked.lock().expect("because no holder of this lock panics").push(asked.clone());
        for act in (shared.script)(&asked) {
            let sent = match act {
                Act::Stdout(bytes) => bytes.chunks(60_000).try_for_each(|it| record(STDOUT, it, &mut stream)),
                Act::Stderr(text) => record(STDERR, text.as_bytes(), &mut stream),
                Act::Raw(bytes) => stream.write_all(&bytes),
                Act::Wait(time) => {
                    std::thread::sleep(time);
                    Ok(())
                }
                Act::End => {
                    record(STDOUT, b"", &mut stream).and_then(|()| record(END_REQUEST, &[0; 8], &mut stream))
                }
                Act::Close => return,
            };
            if sent.is_err() {
                return;
            }
        }
        if !asked.keeps {
            return;
        }
    }
}

fn record(kind: u8, content: &[u8], stream: &mut TcpStream) -> std::io::Result<()> {
    const PADDING: usize = 3;
    let [high, low] = u16::try_from(content.len()).expect("because pieces are short").to_be_bytes();
    let head = [1, kind, 0, 1, high, low, PADDING as u8, 0];
    stream.write_all(&[&head, content, &[b'p'; PADDING]].concat())
}

/// Reads a request with its body; `None`: the other side is done, or speaks something else.
fn request(stream: &mut TcpStream) -> Option<Asked> {
    let (mut asked, mut params) = (Asked::default(), Vec::new());
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head).ok()?;
        let [1, kind, 0, 1, high, low, padding, _] = head else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let mut content = vec![0; length + usize::from(padding)];
        stream.read_exact(&mut content).ok()?;
        content.truncate(length);
        match kind {
            PARAMS => params.extend_from_slice(&content),
            STDIN if content.is_empty() => {
                asked.params = pairs(&params)?;
                return Some(asked);
            }
            STDIN => asked.body.extend_from_slice(&content),
            // The beginning, whose third byte says whether the connection is for more.
            _ => asked.keeps = content.get(2) == Some(&1),
        }
    }
}

fn pairs(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes)?, length(&mut bytes)?);
        let (pair, rest) = bytes.split_at_checked(name + value)?;
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        pairs.push((text(&pair[..name]), text(&pair[name..])));
        bytes = rest;
    }
    Some(pairs)
}

fn length(bytes: &mut &[u8]) -> Option<usize> {
    let n = if bytes.first()? & 0x80 == 0 { 1 } else { 4 };
    let (length, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    Some(if n == 4 { length & 0x7fff_ffff } else { length })
}

/// PHP's own application server, on a socket in a folder of its own, until it is dropped.
pub struct Php {
    child: Child,
    dir: PathBuf,
}

impl Php {
    /// Starts Debian's php-fpm. `None`, and a line that says so: it is not installed.
    pub fn start() -> Option<Php> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let Some(binary) = php_fpm() else {
            eprintln!("skipped: there is no php-fpm here (apt-get install php-fpm)");
            return None;
        };
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("foregate-php-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("because a folder for the test can be made");
        let user = match rustix::process::geteuid().is_root() {
            true => "user = nobody\ngroup = nogroup\n",
            false => "",
        };
        let at = dir.display();
        let conf = format!(
            "[global]\nerror_log = {at}/log\n[www]\n{user}listen = {at}/php.sock\nlisten.mode = 0666\n\
             pm = static\npm.max_children = 2\n"
        );
        let path = dir.join("php-fpm.conf");
        std::fs::write(&path, conf).expect("because the folder is ours");
        let child = Command::new(binary)
            .args(["--nodaemonize", "--no-php-ini", "--fpm-config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("because the program is there");
        let php = Php { child, dir };
        let start = Instant::now();
        while !php.dir.join("php.sock").exists() {
            assert!(start.elapsed() < TIMEOUT, "php-fpm does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(php)
    }

    /// The address as `fastcgi_pass` takes it.
    pub fn address(&self) -> String {
        format!("unix:{}", self.dir.join("php.sock").display())
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        // Its master ends the children.
        crate::process::signal(self.child.id().cast_signed(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Debian names the program after its version.
fn php_fpm() -> Option<PathBuf> {
    let entries = std::fs::read_dir("/usr/sbin").ok()?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|it| it.path()).collect();
    found.retain(|it| it.file_name().is_some_and(|it| it.to_string_lossy().starts_with("php-fpm")));
    found.sort();
    found.pop()
}
