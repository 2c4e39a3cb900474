//! What a server is started with: a configuration with placeholders, files, addresses of backends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::backend::Backend;
use crate::ports::{Port, free_port};
use crate::server::Server;
use crate::subject::Subject;

/// The user a worker drops to when the tests run as root: `nobody`, as in Debian.
const NOBODY: u32 = 65_534;

/// Names the event method that Foregate is tested with, in configurations that name none: `epoll` or `io_uring`.
const EVENTS: &str = "FOREGATE_TEST_EVENTS";

/// A server to be. Placeholders in the configuration (and in the files, requests and expectations):
///
/// | written | becomes |
/// |---|---|
/// | `{port:0}` | a free port of 127.0.0.1; the same number the same port; requests go to number 0 |
/// | `{unix:0}` | the path of a unix socket |
/// | `{product}` | what the server calls itself |
/// | `{dir}` | the server's own folder, its prefix |
/// | `{NAME}` | what [`Setup::set`] or [`Setup::backend`] gave |
#[derive(Clone)]
pub struct Setup {
    conf: String,
    files: Vec<File>,
    values: BTreeMap<String, String>,
    pub(crate) allowed: Vec<String>,
}

#[derive(Clone)]
struct File {
    path: String,
    bytes: Vec<u8>,
    mode: u32,
}

impl From<&str> for Setup {
    fn from(http: &str) -> Setup {
        Setup::http(http)
    }
}

impl Setup {
    /// A whole configuration. `pid {dir}/nginx.pid;` and `error_log {dir}/error.log info;` must stand in it.
    pub fn conf(text: &str) -> Setup {
        Setup { conf: text.to_owned(), files: Vec::new(), values: BTreeMap::new(), allowed: Vec::new() }
    }

    /// The inside of `http { }`; the frame around it is written for it.
    pub fn http(inside: &str) -> Setup {
        Setup::framed("", inside)
    }

    /// Directives of the main context, then the inside of `http { }`.
    pub fn framed(main: &str, http: &str) -> Setup {
        let user = if is_root() { "user nobody nogroup;" } else { "" };
        let temp = |name: &str| format!("    {name}_temp_path {{dir}}/temp_{name};\n");
        let temps: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(temp).concat();
        Setup::conf(&format!(
            "{user}\npid {{dir}}/nginx.pid;\nerror_log {{dir}}/error.log info;\n{main}\n\
             events {{ worker_connections 256; }}\nhttp {{\n{temps}\
             \x20   access_log {{dir}}/access.log;\n    root {{dir}}/html;\n\n{http}\n}}\n"
        ))
    }

    /// Writes a file below the server's folder; folders in the path are made. Placeholders in text are filled in.
    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Setup {
        self.file_mode(path, bytes, 0o644)
    }

    /// The same with permission bits, `0o600` being unreadable for the worker when the tests run as root.
    pub fn file_mode(mut self, path: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Setup {
        self.files.push(File { path: path.to_owned(), bytes: bytes.as_ref().to_vec(), mode });
        self
    }

    /// Makes `{name}` stand for a value.
    pub fn set(mut self, name: &str, value: impl ToString) -> Setup {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// Makes `{name}` stand for a backend's address, as `proxy_pass` or `server` takes it.
    pub fn backend(self, name: &str, backend: &Backend) -> Setup {
        self.set(name, backend.address())
    }

    /// Lets the frame allow this many connections of one worker instead of 256.
    pub fn worker_connections(mut self, n: usize) -> Setup {
        self.conf = self.conf.replace("worker_connections 256;", &format!("worker_connections {n};"));
        self
    }

    pub(crate) fn text(&self) -> &str {
        &self.conf
    }

    /// Lets the error log hold `[alert]`, `[emerg]` or a panic on lines with this text.
    pub fn allow_log(mut self, part: &str) -> Setup {
        self.allowed.push(part.to_owned());
        self
    }

    /// Starts it; panics with the error log when it does not come up.
    pub fn start(&self, subject: Subject) -> Server {
        let server = Server::start_as(subject, self);
        match server {
            Ok(server) => server,
            Err(why) => panic!("{subject} does not start: {why}"),
        }
    }

    /// Starts it; `Err` with what it printed and logged when it ends instead: configurations that must be refused.
    pub fn try_start(&self, subject: Subject) -> Result<Server, String> {
        Server::start_as(subject, self)
    }

    /// Runs the binary with `-t`: whether the configuration is right, and what it printed.
    pub fn test(&self, subject: Subject) -> (bool, String) {
        let place = self.lay_out(subject);
        let mut command = crate::server::command(subject, &place);
        let output = command.arg("-t").output().unwrap_or_else(|e| panic!("{subject}: {e}"));
        let printed = [output.stderr, output.stdout].concat();
        // As the test wrote it: with the folder's name taken out.
        let printed = String::from_utf8_lossy(&printed).replace(&path_text(&place.dir), "{dir}");
        (output.status.success(), printed)
    }

    /// Makes the folder and writes configuration and files into it.
    pub(crate) fn lay_out(&self, subject: Subject) -> Place {
        let place = Place::new(subject, self.values.clone());
        for file in &self.files {
            let path = place.dir.join(&file.path);
            let bytes = match std::str::from_utf8(&file.bytes) {
                Ok(text) => place.fill(text).into_bytes(),
                Err(_) => file.bytes.clone(),
            };
            fs::create_dir_all(path.parent().unwrap_or(&place.dir)).expect("because the folder is ours");
            fs::write(&path, bytes).expect("because the folder is ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))
                .expect("because the file is ours");
        }
        place.write_conf(&with_events(&self.conf, subject));
        place
    }
}

/// A server's folder and the meaning of its placeholders. The folder is removed at the end.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    subject: Subject,
    values: BTreeMap<String, String>,
    ports: RefCell<BTreeMap<String, Rc<Port>>>,
}

impl Place {
    fn new(subject: Subject, values: BTreeMap<String, String>) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("foregate-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("html")).expect("because a folder for the test can be made");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("because the folder is ours");
        if is_root() {
            chown(&dir, Some(NOBODY), Some(NOBODY)).expect("because root may give a folder away");
        }
        Place { dir, subject, values, ports: RefCell::default() }
    }

    pub(crate) fn write_conf(&self, conf: &str) {
        fs::write(self.dir.join("nginx.conf"), self.fill(conf)).expect("because the folder is ours");
    }

    /// The port that `{port:name}` stands for, reserved when first asked for.
    pub(crate) fn port(&self, name: &str) -> u16 {
        let mut ports = self.ports.borrow_mut();
        ports.entry(name.to_owned()).or_insert_with(|| Rc::new(free_port())).number()
    }

    /// The text with its placeholders filled in. What is not one of ours stays, braces and all.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            filled.push_str(&rest[..open]);
            rest = &rest[open..];
            let value = rest.find('}').and_then(|close| Some((close, self.value(&rest[1..close])?)));
            match value {
                Some((close, value)) => {
                    filled.push_str(&value);
                    rest = &rest[close + 1..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str) -> Option<String> {
        if let Some(n) = name.strip_prefix("port:") {
            return Some(self.port(n).to_string());
        }
        if let Some(n) = name.strip_prefix("unix:") {
            return Some(path_text(&self.dir.join(format!("u{n}.sock"))));
        }
        match name {
            "dir" => Some(path_text(&self.dir)),
            "product" => Some(self.subject.product().to_owned()),
            _ => self.values.get(name).cloned(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn with_events(conf: &str, subject: Subject) -> String {
    match std::env::var(EVENTS) {
        Ok(method) if subject == Subject::Foregate && !conf.contains(" use ") => {
            conf.replacen("events {", &format!("events {{ use {method};"), 1)
        }
        _ => conf.to_owned(),
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_blocks_stay() {
        let place =
            Place::new(Subject::Nginx, BTreeMap::from([("app".to_owned(), "127.0.0.1:1".to_owned())]));
        let port = place.port("0");
        let text =
            "server { listen {port:0}; proxy_pass http://{app}; root {dir}/x; location ~ \"a{2}\" { } }";
        let dir = path_text(&place.dir);
        assert_eq!(
            place.fill(text),
            format!(
                "server {{ listen {port}; proxy_pass http://127.0.0.1:1; root {dir}/x; \
                 location ~ \"a{{2}}\" {{ }} }}"
            )
        );
    }
}
