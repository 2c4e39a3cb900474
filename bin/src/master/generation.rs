//! One configuration and everything the master holds open for it.

use std::io;
use std::path::PathBuf;

use foregate_conf::Replay;
use foregate_core::ErrorLog;
use foregate_core::error_log::Target;
use foregate_modules::process;
use foregate_net::ListenSpec;
use foregate_net::process::is_superuser;
use foregate_net::sys::give_back_memory;
use foregate_server::bundle::Bundle;
use foregate_server::porter::Orders;
use foregate_server::process::User;
use foregate_server::{Cycle, Endpoint, Main, Setup};

use super::sockets::Held;
use super::watch::Watch;
use super::{files, sockets};
use crate::log::Log;

/// A configuration that was loaded; nothing is open yet.
pub(crate) struct Draft {
    pub(crate) main: Main,
    pub(crate) setup: Setup,
    files: Replay,
    listens: Vec<ListenSpec>,
    logs: Vec<PathBuf>,
    temp_dirs: Vec<PathBuf>,
    watch: Watch,
}

/// A configuration with its sockets, logs and folders.
pub(crate) struct Generation {
    pub(crate) main: Main,
    pub(crate) setup: Setup,
    pub(crate) sockets: Vec<Held>,
    pub(crate) logs: Vec<PathBuf>,
    pub(super) files: Replay,
    pub(super) watch: Watch,
}

impl Generation {
    /// What the master keeps of a cycle: everything but the compiled part, which only the worker needs.
    pub(crate) fn draft(setup: Setup, cycle: Cycle, files: Replay) -> Draft {
        let (listens, logs): (Vec<ListenSpec>, _) =
            (cycle.endpoints.iter().map(Endpoint::spec).collect(), cycle.log_files().to_vec());
        let temp_dirs = cycle.temp_dirs().to_vec();
        let logs = with_error_log(logs, &cycle.main.error_log);
        let watch = Watch::over(cycle.watched());
        let main = cycle.into_main();
        give_back_memory();
        Draft { main, setup, files, listens, logs, temp_dirs, watch }
    }

    /// The same configuration for the worker, with descriptors of its own.
    pub(crate) fn bundle(&self) -> io::Result<Bundle> {
        Ok(Bundle {
            doors: Vec::new(),
            setup: self.setup.clone(),
            files: self.files.clone(),
            sockets: sockets::handles(&self.sockets)?,
            logs: files::handles(&self.logs),
        })
    }

    /// The sockets that the other configuration does not have.
    pub(crate) fn sockets_beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Held> {
        let shared = |held: &Held| other.sockets.iter().any(|it| it.spec.addr == held.spec.addr);
        self.sockets.iter().filter(move |held| !shared(held))
    }

    /// Whether a running worker can take over the other configuration: these things it cannot change any more.
    pub(super) fn suits_worker_of(&self, other: &Self) -> bool {
        let (one, other) = (&self.main.process, &other.main.process);
        let same = one.user == other.user && one.env == other.env && one.nofile == other.nofile;
        same && one.hardening == other.hardening
    }

    /// Whether the worker may have to ask a porter.
    pub(super) fn needs_porter(&self) -> bool {
        self.main.process.hardening.landlock || self.main.process.hardening.seccomp
    }

    /// For the porter.
    pub(super) fn orders(&self) -> io::Result<Orders> {
        let user = user(&self.main.process).map_err(io::Error::other)?;
        Ok(Orders { user, named: self.main.reach.named() })
    }
}

impl Draft {
    /// Opens everything. Sockets that `have` holds already are shared.
    pub(crate) fn open(self, have: &[Held], log: &Log) -> Result<Generation, String> {
        let user = user(&self.main.process)?;
        files::make_temp_dirs(&self.temp_dirs, user.as_ref())?;
        files::open_logs(&self.logs)?;
        let sockets = sockets::open(&self.listens, self.main.process.workers, have, log)?;
        let Self { main, setup, files, logs, watch, .. } = self;
        Ok(Generation { main, setup, sockets, logs, files, watch })
    }
}

/// The log of the outermost level may be the one of `-e`, which no directive names.
fn with_error_log(mut logs: Vec<PathBuf>, log: &ErrorLog) -> Vec<PathBuf> {
    for sink in &log.sinks {
        if let Target::File(file) = &sink.to
            && !logs.iter().any(|path| path == file.path())
        {
            logs.push(file.path().to_owned());
        }
    }
    logs
}

/// The user that the worker becomes; `None` without the right to become anybody else.
pub(crate) fn user(settings: &process::Settings) -> Result<Option<User>, String> {
    if !is_superuser() {
        return Ok(None);
    }
    User::find(settings.user.as_ref()).map(Some)
}
