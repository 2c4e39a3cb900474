//! Listening sockets: bound once, kept across reloads, inherited from systemd or from the binary before this one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use foregate_core::Level;
use foregate_net::listener::{bound_to, share};
use foregate_net::sys::inherit;
use foregate_net::{Addr, ListenSpec};
use foregate_server::bundle::Socket;
use foregate_server::process::socket_name;

use crate::log::{Log, stderr};

/// The sockets of one address: one, or with `reuseport` one for each thread.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) spec: ListenSpec,
    pub(crate) fds: Vec<OwnedFd>,
}

/// How often an address in use is tried before the start fails, and the pause between: nginx's numbers.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// What systemd passes begins here (sd_listen_fds(3)).
const LISTEN_FDS_START: i32 = 3;

/// Sockets that somebody else opened for us.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    held: Vec<Held>,
    is_from_binary: bool,
}

impl Inherited {
    /// Takes what the environment names: `NGINX=6;7;` from the binary before this one, or systemd's `LISTEN_FDS`.
    pub(crate) fn take(log: &Log) -> Self {
        let mut taken = Self::default();
        if let Ok(list) = std::env::var("NGINX") {
            log.write(Level::Notice, format_args!("using inherited sockets from \"{list}\""));
            taken.is_from_binary = true;
            for number in list.split_terminator([';', ':']) {
                let Ok(fd) = number.parse() else {
                    let rest = "environment variable, ignoring the rest of the variable";
                    log.write(
                        Level::Emerg,
                        format_args!("invalid socket number \"{number}\" in NGINX {rest}"),
                    );
                    break;
                };
                taken.add(fd, log);
            }
        } else {
            for fd in activated() {
                taken.add(fd, log);
            }
        }
        taken
    }

    /// Whether the binary before this one still runs: then this one is in the background already.
    pub(crate) fn is_from_binary(&self) -> bool {
        self.is_from_binary
    }

    pub(super) fn sockets(&self) -> &[Held] {
        &self.held
    }

    fn add(&mut self, number: i32, log: &Log) {
        let taken = inherit(number).and_then(|fd| Ok((bound_to(&fd)?, fd)));
        match taken {
            Ok((addr, fd)) => match self.held.iter_mut().find(|held| held.spec.addr == addr) {
                Some(held) => held.fds.push(fd),
                None => self.held.push(Held { spec: ListenSpec::new(addr), fds: vec![fd] }),
            },
            Err(error) => {
                let text = format_args!("inherited socket #{number} cannot be used: {error}");
                log.write(Level::Emerg, text);
            }
        }
    }
}

/// The descriptors that systemd opened for this process.
fn activated() -> std::ops::Range<i32> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let for_us = number("LISTEN_PID").is_some_and(|pid| pid.cast_unsigned() == std::process::id());
    // A daemon's first process passes on what it was given: its own pid stands in the variable.
    let passed_on = super::is_daemon() && std::env::var_os("LISTEN_PID").is_some();
    let n = if for_us || passed_on { number("LISTEN_FDS").unwrap_or(0).max(0) } else { 0 };
    LISTEN_FDS_START..LISTEN_FDS_START.saturating_add(n)
}

/// Opens what the configuration asks for; what `have` holds of it is shared, not opened again.
///
/// An address in use is tried a few times: the one who had it may be just leaving.
pub(super) fn open(
    specs: &[ListenSpec],
    threads: usize,
    have: &[Held],
    log: &Log,
) -> Result<Vec<Held>, String> {
    let mut opened: Vec<Option<Held>> = specs.iter().map(|_| None).collect();
    for round in 1..=TRIES {
        let mut in_use = false;
        for (spec, slot) in specs.iter().zip(&mut opened).filter(|(_, slot)| slot.is_none()) {
            match open_one(spec, threads, have) {
                Ok(held) => *slot = Some(held),
                Err((io::ErrorKind::AddrInUse, text)) => {
                    log.write(Level::Emerg, text);
                    in_use = true;
                }
                Err((_, text)) => return Err(text),
            }
        }
        if !in_use {
            return Ok(opened.into_iter().flatten().collect());
        }
        if round < TRIES {
            sleep(PAUSE);
        }
    }
    Err("still could not bind()".into())
}

/// Whether the sockets could be opened; an address in use is no fault, for a server may be running.
pub(crate) fn test(specs: impl Iterator<Item = ListenSpec>) -> Result<(), String> {
    for spec in specs {
        match spec.open() {
            Ok(fd) => remove_file(&spec.addr, fd),
            Err(failed) if failed.error.kind() == io::ErrorKind::AddrInUse => {}
            Err(failed) => return Err(failed.to_string()),
        }
    }
    Ok(())
}

fn open_one(spec: &ListenSpec, threads: usize, have: &[Held]) -> Result<Held, (io::ErrorKind, String)> {
    let wanted = if spec.reuseport { threads } else { 1 };
    let mut fds = Vec::with_capacity(wanted);
    if let Some(held) = have.iter().find(|held| held.spec.addr == spec.addr) {
        keep(spec, held, wanted, &mut fds)
            .map_err(|error| (error.kind(), format!("keeping the socket {} failed: {error}", spec.addr)))?;
    }
    while fds.len() < wanted {
        fds.push(spec.open().map_err(|failed| (failed.error.kind(), failed.to_string()))?);
    }
    Ok(Held { spec: spec.clone(), fds })
}

fn keep(spec: &ListenSpec, held: &Held, wanted: usize, fds: &mut Vec<OwnedFd>) -> io::Result<()> {
    for fd in held.fds.iter().take(wanted) {
        if spec.reuseport && !held.spec.reuseport {
            // Else no further socket can be bound beside this one.
            share(fd)?;
        }
        spec.apply(fd.as_fd())?;
        if spec.backlog != held.spec.backlog {
            spec.relisten(fd.as_fd())?;
        }
        fds.push(fd.try_clone()?);
    }
    Ok(())
}

/// The sockets as the worker gets them.
pub(super) fn handles(held: &[Held]) -> io::Result<Vec<Socket>> {
    let each = held.iter().map(|held| {
        let fds = held.fds.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        Ok(Socket { name: socket_name(&held.spec.addr), fds })
    });
    each.collect()
}

/// A Unix socket leaves its file behind: removed when nobody listens there any more.
pub(crate) fn remove_files<'a>(gone: impl Iterator<Item = &'a Held>) {
    for held in gone {
        if let Addr::Unix(path) = &held.spec.addr
            && let Err(error) = std::fs::remove_file(path)
        {
            stderr(crate::log::failed("unlink()", path, &error));
        }
    }
}

fn remove_file(addr: &Addr, fd: OwnedFd) {
    drop(fd);
    if let Addr::Unix(path) = addr {
        // It was made a moment ago, for the test alone.
        _ = std::fs::remove_file(path);
    }
}
