//! The worker as the master sees it: a process at the other end of a channel.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use foregate_net::channel::Channel;
use foregate_net::process::{kill, set_inheritable};
use foregate_net::signals::SIGTERM;
use foregate_server::bundle::{Answer, Order};
use foregate_server::porter::PORTER;
use foregate_server::{Identity, Reach, worker};

use super::files;
use super::generation::Generation;

/// One worker process.
pub(super) struct Child {
    pub(super) pid: u32,
    pub(super) channel: Channel,
    pub(super) stage: Stage,
    /// Whether it ever was ready.
    pub(super) has_served: bool,
    /// Opens files for it; `None` where none is needed, or it has died.
    pub(super) porter: Option<Porter>,
    /// It died while its worker served: another worker is to take over.
    pub(super) is_bereft: bool,
    /// What its rules allow it to reach, as its configuration named it, and which folders those were.
    confined: Option<(Reach, Identity)>,
}

/// The porter of one worker; it ends when the worker does.
pub(super) struct Porter {
    pub(super) pid: u32,
    channel: Channel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not answered yet.
    Starting,
    Serving,
    /// It was told to go.
    Leaving,
    /// It has closed its channel: it is about to end, or will be made to.
    Mute,
}

/// Workers that this master has started.
static STARTED: AtomicU32 = AtomicU32::new(0);

impl Child {
    /// Starts a worker and gives it its configuration.
    pub(super) fn start(generation: &Generation) -> io::Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let mut command = program("foregate: worker process", generation);
        command.env(worker::RESPAWNED, STARTED.fetch_add(1, Relaxed).to_string());
        let pid = start_with(&mut command, worker::CHANNEL, &[theirs])?;
        let mut bundle = generation.bundle()?;
        let mut porter = None;
        if generation.needs_porter() {
            let (started, doors) = Porter::start(generation)?;
            porter = Some(started);
            bundle.doors = doors.into();
        }
        ours.send(Order::Load(Box::new(bundle)).into_packet())?;
        let reach = &generation.main.reach;
        let confined = generation.main.process.hardening.landlock.then(|| (reach.clone(), reach.identity()));
        Ok(Self {
            pid,
            channel: ours,
            stage: Stage::Starting,
            has_served: false,
            porter,
            is_bereft: false,
            confined,
        })
    }

    /// Whether its rules, which cannot be changed any more, suit another configuration.
    pub(super) fn reaches(&self, generation: &Generation) -> bool {
        let reach = &generation.main.reach;
        let suits = |(own, identity): &(Reach, Identity)| own.covers(reach) && own.identity() == *identity;
        let is_helped = self.porter.is_some() || !generation.needs_porter();
        is_helped && self.confined.as_ref().is_none_or(suits)
    }

    /// Gives it another configuration; it answers.
    pub(super) fn load(&self, generation: &Generation) -> io::Result<()> {
        if let Some(porter) = &self.porter {
            porter.channel.send(generation.orders()?.into_packet())?;
        }
        self.channel.send(Order::Load(Box::new(generation.bundle()?)).into_packet())
    }

    pub(super) fn reopen(&self, generation: &Generation) -> io::Result<()> {
        self.channel.send(Order::Reopen(files::handles(&generation.logs)).into_packet())
    }

    /// Lets it finish what is under way.
    pub(super) fn quit(&mut self) {
        self.leave(Order::Quit);
    }

    /// Lets it end at once.
    pub(super) fn stop(&mut self) {
        self.leave(Order::Stop);
    }

    /// Whether it serves, or is about to.
    pub(super) fn counts(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Serving)
    }

    /// It does not speak any more: whatever it still does, it must end.
    pub(super) fn is_mute(&mut self) {
        self.stage = Stage::Mute;
        // If it has ended already, the signal of that is on its way.
        _ = kill(self.pid, SIGTERM);
    }

    /// Its answer to a configuration; `None` when it is gone.
    pub(super) fn answer(&self) -> io::Result<Option<Answer>> {
        let Some(packet) = self.channel.receive()? else { return Ok(None) };
        Answer::from_packet(packet).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn leave(&mut self, order: Order) {
        self.stage = Stage::Leaving;
        if self.channel.send(order.into_packet()).is_err() {
            // Nobody reads there any more; if the process lives nevertheless, a signal reaches it.
            _ = kill(self.pid, SIGTERM);
        }
    }
}

impl Porter {
    /// Starts it; gives the worker's ends of its two doors too.
    fn start(generation: &Generation) -> io::Result<(Self, [OwnedFd; 2])> {
        let (ours, theirs) = Channel::pair()?;
        let (files, files_inside) = Channel::pair()?;
        let (programs, programs_inside) = Channel::pair()?;
        let mut command = program("foregate: porter process", generation);
        let pid = start_with(&mut command, PORTER, &[theirs, files_inside, programs_inside])?;
        ours.send(generation.orders()?.into_packet())?;
        Ok((Self { pid, channel: ours }, [files.into(), programs.into()]))
    }
}

/// This program once more, under a name of its own.
fn program(title: &str, generation: &Generation) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(title).stdin(Stdio::null()).stdout(Stdio::null()).env_clear();
    command.envs(environment(&generation.main.process.env));
    if let Some(file) = generation.main.stderr_file() {
        command.stderr(file);
    }
    command
}

/// Starts it with these channels, whose numbers a variable tells it. Only it inherits them.
fn start_with(command: &mut Command, variable: &str, channels: &[Channel]) -> io::Result<u32> {
    channels.iter().try_for_each(|it| set_inheritable(it, true))?;
    let numbers: Vec<String> = channels.iter().map(|it| it.as_fd().as_raw_fd().to_string()).collect();
    let started = command.env(variable, numbers.join(",")).spawn();
    channels.iter().try_for_each(|it| set_inheritable(it, false))?;
    Ok(started?.id())
}

/// The variables of the worker: those that `env` names, and the time zone, as nginx has it.
fn environment(wanted: &[String]) -> Vec<(String, std::ffi::OsString)> {
    let mut all = Vec::new();
    let names_tz = |text: &String| text == "TZ" || text.starts_with("TZ=");
    let tz = (!wanted.iter().any(names_tz)).then(|| "TZ".to_owned());
    for text in wanted.iter().chain(&tz) {
        match text.split_once('=') {
            Some((name, value)) => all.push((name.to_owned(), value.into())),
            None => all.extend(std::env::var_os(text).map(|value| (text.clone(), value))),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_sees_only_what_env_names() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|&text| text.to_owned()).collect();
            environment(&wanted).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["PATH", "A=b", "NOT_SET_ANYWHERE", "TZ=UTC"]), ["PATH", "A", "TZ"]);
    }
}
