//! HUP: the next configuration is loaded beside the present one and takes its place, or nothing changes.

use foregate_conf::{Files, Recording, Renewed};

use super::*;

/// A configuration on its way to the worker.
pub(super) struct Pending {
    pub(super) generation: Generation,
    /// The worker that is to serve it: the present one, or one started in its place.
    worker: u32,
}

impl Master {
    pub(super) fn reload(&mut self) {
        if self.going != Going::No {
            return;
        }
        if self.new_binary.is_some() {
            // The roll-back of an upgrade: the old binary serves again as it did.
            if std::mem::take(&mut self.not_accepting) {
                self.start_worker();
            }
            return;
        }
        if self.pending.is_some() {
            self.reload_again = true;
            return;
        }
        self.log.write(Level::Notice, "reconfiguring");
        notify::reloading();
        match self.next_generation(&OsFiles) {
            Ok(generation) => self.hand_over(generation),
            Err(text) => {
                if let Some(text) = text {
                    self.log.write(Level::Emerg, text);
                }
                notify::ready();
            }
        }
    }

    /// The configuration stays as it was loaded, whatever its files say by now; only certificates are read again.
    pub(super) fn look_at_certificates(&mut self) {
        if !self.generation.watch.has_changed(&self.generation.files) {
            return;
        }
        self.log.write(Level::Notice, "certificates have changed on disk: reading them again");
        let renewed = Renewed {
            recorded: &self.generation.files,
            again: self.generation.watch.files(),
            from: &OsFiles,
        };
        match self.next_generation(&renewed) {
            Ok(generation) => self.hand_over(generation),
            Err(text) => {
                let text = text.unwrap_or_else(|| "those that were read before stay in use".to_owned());
                self.log.write(Level::Error, text);
            }
        }
    }

    /// Loads and opens; the error is `None` where everything has been said already.
    fn next_generation(&self, files: &dyn Files) -> Result<Generation, Option<String>> {
        let setup = self.generation.setup.clone();
        let recording = Recording::new(files);
        let loaded = crate::start::load_and_complain(&setup, &recording, &self.log).ok_or(None)?;
        let draft = Generation::draft(setup, loaded.cycle, recording.into_replay());
        let generation = draft.open(&self.generation.sockets, &self.log)?;
        if generation.main.pid != self.generation.main.pid {
            pid_file::create(&generation.main.pid)?;
        }
        Ok(generation)
    }

    /// The present worker takes it over; where it cannot, a new one is started and the present one dismissed later.
    fn hand_over(&mut self, generation: Generation) {
        let present = self.workers.iter().find(|child| child.stage == Stage::Serving);
        let handed = match present {
            Some(child) if generation.suits_worker_of(&self.generation) && child.reaches(&generation) => {
                child.load(&generation).map(|()| child.pid)
            }
            _ => Child::start(&generation).map(|child| {
                self.log.write(Level::Notice, format_args!("start worker process {}", child.pid));
                let pid = child.pid;
                self.adopt(child);
                pid
            }),
        };
        match handed {
            Ok(worker) => {
                self.not_accepting = false;
                self.pending = Some(Pending { generation, worker });
            }
            Err(error) => {
                let text = format_args!("the worker process cannot be reached ({})", errno_text(&error));
                self.log.write(Level::Alert, text);
                self.drop_generation(&generation);
            }
        }
    }

    /// The worker serves the pending configuration: it is the present one now.
    pub(super) fn commit(&mut self, pid: u32) {
        let Some(Pending { generation, .. }) = self.pending.take_if(|pending| pending.worker == pid) else {
            return;
        };
        let old = std::mem::replace(&mut self.generation, generation);
        if old.main.pid != self.generation.main.pid
            && let Err(text) = pid_file::remove(&old.main.pid)
        {
            self.log.write(Level::Alert, text);
        }
        sockets::remove_files(old.sockets_beyond(&self.generation));
        self.log.follow(self.generation.main.error_log.clone());
        self.log.write(Level::Notice, format_args!("worker process {pid} serves the new configuration"));
        files::follow_stderr(&self.generation.main);
        for child in self.workers.iter_mut().filter(|child| child.pid != pid && child.counts()) {
            child.quit();
        }
    }

    /// The worker that was to serve it will not.
    pub(super) fn give_up_pending(&mut self, pid: u32) {
        let Some(Pending { generation, .. }) = self.pending.take_if(|pending| pending.worker == pid) else {
            return;
        };
        self.drop_generation(&generation);
        notify::ready();
    }

    /// Undoes what opening it has left: files of sockets that only it has, and its pid file.
    fn drop_generation(&self, generation: &Generation) {
        sockets::remove_files(generation.sockets_beyond(&self.generation));
        if generation.main.pid != self.generation.main.pid {
            _ = pid_file::remove(&generation.main.pid);
        }
    }
}
