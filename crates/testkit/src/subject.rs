//! On what a test runs: Foregate, and a real nginx that proves the expectation.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The server a test body is run with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The binary under test.
    Foregate,
    /// Debian's nginx, or the one `FOREGATE_NGINX` names.
    Nginx,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Foregate => f.write_str("foregate"),
            Subject::Nginx => write!(f, "nginx {}", Version::of_nginx()),
        }
    }
}

impl Subject {
    /// Whether this subject behaves as nginx does since `version` ("1.29.7"). Foregate always does.
    pub fn has(self, version: &str) -> bool {
        self == Subject::Foregate || *Version::of_nginx() >= Version::parse(version)
    }

    /// What it calls itself in `Server` and under its own pages, with `server_tokens off`.
    pub fn product(self) -> &'static str {
        match self {
            Subject::Foregate => "foregate",
            Subject::Nginx => "nginx",
        }
    }

    /// The binary. Foregate is built first, once per process, unless `FOREGATE_BIN` names one.
    pub fn binary(self) -> &'static Path {
        static FOREGATE: OnceLock<PathBuf> = OnceLock::new();
        static NGINX: OnceLock<PathBuf> = OnceLock::new();
        match self {
            Subject::Foregate => FOREGATE.get_or_init(find_foregate),
            Subject::Nginx => NGINX.get_or_init(find_nginx),
        }
    }
}

/// Runs the body on nginx and on Foregate.
pub fn both(body: impl Fn(Subject)) {
    run(&[Subject::Nginx, Subject::Foregate], body);
}

/// Runs the body on Foregate, and on nginx if it is at least of this version.
pub fn since(version: &str, body: impl Fn(Subject)) {
    if wanted(Subject::Nginx) && Subject::Nginx.has(version) {
        both(body);
    } else {
        foregate_only(body);
    }
}

/// Runs the body on Foregate alone: a feature nginx does not have.
pub fn foregate_only(body: impl Fn(Subject)) {
    run(&[Subject::Foregate], body);
}

/// Runs the body on nginx alone: tests of the testkit itself.
pub fn nginx_only(body: impl Fn(Subject)) {
    run(&[Subject::Nginx], body);
}

fn run(subjects: &[Subject], body: impl Fn(Subject)) {
    for &subject in subjects.iter().filter(|s| wanted(**s)) {
        let _named = NameOnPanic(subject);
        body(subject);
    }
}

/// `FOREGATE_SUBJECT=nginx` or `=foregate` runs one side only.
fn wanted(subject: Subject) -> bool {
    match std::env::var("FOREGATE_SUBJECT").as_deref() {
        Err(_) | Ok("" | "both") => true,
        Ok("nginx") => subject == Subject::Nginx,
        Ok("foregate") => subject == Subject::Foregate,
        Ok(other) => panic!("FOREGATE_SUBJECT is {other:?}, not nginx, foregate or both"),
    }
}

/// Says, when a body panics, on which subject it did.
struct NameOnPanic(Subject);

impl Drop for NameOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("^ this failed on {}", self.0);
        }
    }
}

fn find_nginx() -> PathBuf {
    let path = std::env::var_os("FOREGATE_NGINX").map_or(PathBuf::from("/usr/sbin/nginx"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: install Debian's package nginx (apt-get install nginx), name another binary with \
         FOREGATE_NGINX, or run only Foregate's side with FOREGATE_SUBJECT=foregate",
        path.display()
    );
    path
}

fn find_foregate() -> PathBuf {
    if let Some(path) = std::env::var_os("FOREGATE_BIN") {
        return PathBuf::from(path);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "foregate"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.is_ok_and(|s| s.success()), "cargo build --package foregate failed");
    // This program is target/debug/deps/NAME; the server is target/debug/foregate.
    let own = std::env::current_exe().expect("because the running test has a path");
    let target = own.ancestors().nth(3).expect("because tests lie in target/PROFILE/deps");
    target.join("debug/foregate")
}

/// nginx's version, comparable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Version(Vec<u32>);

impl Version {
    fn parse(text: &str) -> Version {
        let part = |p: &str| p.parse().unwrap_or_else(|_| panic!("{text:?} is no version"));
        Version(text.split('.').map(part).collect())
    }

    fn of_nginx() -> &'static Version {
        static VERSION: OnceLock<Version> = OnceLock::new();
        VERSION.get_or_init(|| {
            let said =
                Command::new(Subject::Nginx.binary()).arg("-v").output().expect("because nginx -v runs");
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            let version = said.trim().rsplit('/').next().unwrap_or("").split(' ').next().unwrap_or("");
            Version::parse(version)
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}
