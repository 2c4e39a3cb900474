//! From a bundle to a cycle with its sockets, and from the master's rights to the worker's.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use foregate_conf::render;
use foregate_core::{Level, LogFile, TransparentBinds};
use foregate_net::Addr;
use foregate_net::process::{is_superuser, nofile_limit, set_nofile_limit};
use foregate_net::sys::errno_text;

use crate::address::Endpoint;
use crate::bundle::{Bundle, Log, Socket};
use crate::process::{User, socket_name};
use crate::{Cycle, load};

/// The sockets of a configuration by address.
pub(super) type Sockets = Vec<(Addr, Vec<OwnedFd>)>;

/// Compiles a configuration from the bytes that the master has read.
pub(super) fn prepare(bundle: Bundle, previous: Option<&Cycle>) -> Result<(Cycle, Sockets), String> {
    let Bundle { setup, files, sockets, logs } = bundle;
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
    if is_superuser() {
        let user = User::find(settings.user.as_ref())?;
        let raw_sockets = cycle.shared.get::<TransparentBinds>().is_some();
        user.assume(raw_sockets)
            .map_err(|error| format!("setuid({}) failed ({})", user.uid, errno_text(&error)))?;
    }
    Ok(())
}
