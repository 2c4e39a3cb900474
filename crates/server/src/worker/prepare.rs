//! From a bundle to a cycle with its sockets, and from the master's rights to the worker's.

use std::collections::HashMap;
use std::fmt::Display;
use std::os::fd::OwnedFd;

use foregate_conf::render;
use foregate_core::{Level, LogFile, TransparentBinds};
use foregate_net::confine::{Refusals, close, confine_calls, confine_files};
use foregate_net::events::Events;
use foregate_net::process::{give_up_rights, is_superuser, nofile_limit, set_nofile_limit};
use foregate_net::sys::errno_text;
use foregate_net::{Addr, door};

use crate::address::Endpoint;
use crate::bundle::{Bundle, Log, Socket};
use crate::process::{User, socket_name};
use crate::{Cycle, load};

/// The sockets of a configuration by address.
pub(super) type Sockets = Vec<(Addr, Vec<OwnedFd>)>;

/// Compiles a configuration from the bytes that the master has read.
pub(super) fn prepare(bundle: Bundle, previous: Option<&Cycle>) -> Result<(Cycle, Sockets), String> {
    let Bundle { setup, files, sockets, logs, doors } = bundle;
    if let Ok([files, programs]) = <[OwnedFd; 2]>::try_from(doors) {
        door::knock_at(files, programs);
    }
    adopt_logs(logs);
    let loaded = load(&setup, &files, previous).map_err(|failed| {
        let shown = render(&failed.error, &failed.sources, false);
        shown.lines().next().unwrap_or_default().to_owned()
    })?;
    let mut by_name: HashMap<String, Vec<OwnedFd>> =
        sockets.into_iter().map(|Socket { name, fds }| (name, fds)).collect();
    let mut found = Vec::new();
    for spec in loaded.cycle.endpoints.iter().map(Endpoint::spec) {
        let Some(fds) = by_name.remove(&socket_name(&spec.addr)) else {
            return Err(format!("the master has opened no socket for {}", spec.addr));
        };
        found.push((spec.addr, fds));
    }
    Ok((loaded.cycle, found))
}

pub(super) fn adopt_logs(logs: Vec<Log>) {
    for Log { path, fd } in logs {
        LogFile::of(&path).adopt(fd.into());
    }
}

/// Applies `worker_rlimit_nofile` and `user`, in this order: the second takes away the right to the first.
pub(super) fn limit_rights(cycle: &Cycle) -> Result<(), String> {
    let settings = &cycle.main.process;
    if let Some(limit) = settings.nofile {
        if let Err(error) = set_nofile_limit(limit) {
            let text = format!("setrlimit(RLIMIT_NOFILE, {limit}) failed ({})", errno_text(&error));
            cycle.main.error_log.write(Level::Alert, &text);
        }
    } else if let (_, Some(most)) = nofile_limit() {
        // The soft limit protects programs that use select(2): we do not.
        _ = set_nofile_limit(most);
    }
    let raw_sockets = cycle.shared.get::<TransparentBinds>().is_some();
    if is_superuser() {
        let user = User::find(settings.user.as_ref())?;
        user.assume(raw_sockets)
            .map_err(|error| format!("setuid({}) failed ({})", user.uid, errno_text(&error)))?;
    } else if let Err(error) = give_up_rights(raw_sockets) {
        let text = format!("capset() failed ({})", errno_text(&error));
        cycle.main.error_log.write(Level::Notice, &text);
    }
    Ok(())
}

/// Gives up reaching files that the configuration does not name; says so, or why not. Before any thread is started:
/// only those started later are bound by it.
pub(super) fn limit_files(cycle: &Cycle) {
    let main = &cycle.main;
    let notice = |text: &dyn Display| main.error_log.write(Level::Notice, text);
    if let Err(error) = close() {
        notice(&format_args!("hardening: prctl() failed ({})", errno_text(&error)));
        return;
    }
    if !main.process.hardening.landlock {
        return notice(&"hardening: landlock is off");
    }
    let Some(rules) = main.reach.rules() else {
        let (_, path) = main.reach.anywhere();
        let path = path.unwrap_or_default();
        return notice(&format_args!("hardening: landlock is off: \"{path}\" may be written anywhere"));
    };
    let (n_reads, n_writes) = main.reach.sizes();
    match (confine_files(&rules), main.reach.anywhere().0) {
        (Ok(version), None) => notice(&format_args!(
            "hardening: landlock {version}: {n_reads} paths and the system's are read, {n_writes} are written"
        )),
        (Ok(version), Some(path)) => notice(&format_args!(
            "hardening: landlock {version}: {n_writes} paths are written, all are read because of \"{path}\""
        )),
        (Err(error), _) => notice(&format_args!("hardening: landlock is off: {}", errno_text(&error))),
    }
}

/// Gives up calls that serving does not need; says so, or why not.
pub(super) fn limit_calls(cycle: &Cycle, events: Events) -> Option<Refusals> {
    let notice = |text: &dyn Display| cycle.main.error_log.write(Level::Notice, text);
    if !cycle.main.process.hardening.seccomp {
        notice(&"hardening: seccomp is off");
        return None;
    }
    match confine_calls(events == Events::IoUring) {
        Ok(refusals) => {
            notice(&"hardening: seccomp: calls that serving does not need are refused");
            Some(refusals)
        }
        Err(error) => {
            notice(&format_args!("hardening: seccomp is off: {}", errno_text(&error)));
            None
        }
    }
}
