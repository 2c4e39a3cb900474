//! Processes as the master sees them: sessions, signals sent, children that ended, descriptors handed down.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process, setrlimit, setsid, wait,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use rustix::time::{ClockId, clock_gettime};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It called exit with this code.
    Code(i32),
    /// This signal killed it; the flag says whether it left a core file.
    Signal(i32, bool),
}

/// Bit of a wait status that says a core file was written (POSIX leaves it to the system; Linux's value).
const CORE_DUMPED: i32 = 0x80;

/// The next child that has ended, if any has; never waits. Children we did not start count too: process 1 inherits.
pub fn reap() -> io::Result<Option<(u32, Ended)>> {
    loop {
        return match wait(WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => Err(error.into()),
            Ok(Some((pid, status))) => {
                let pid = pid.as_raw_pid() as u32;
                let ended = match status.terminating_signal() {
                    Some(signal) => Ended::Signal(signal, status.as_raw() & CORE_DUMPED != 0),
                    None => Ended::Code(status.exit_status().unwrap_or_default()),
                };
                Ok(Some((pid, ended)))
            }
        };
    }
}

/// Sends a signal by its number, as `kill(2)` does.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let signal = Signal::from_named_raw(signal);
    match (pid, signal) {
        (Some(pid), Some(signal)) => Ok(kill_process(pid, signal)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Leaves the terminal and the session that started this process. Fails in a process group's leader.
pub fn new_session() -> io::Result<()> {
    setsid()?;
    Ok(())
}

/// The parent of this process; `None` when it is process 1 of its container.
pub fn parent() -> Option<u32> {
    rustix::process::getppid().map(|pid| pid.as_raw_pid() as u32)
}

/// Whether the process may do what only root may.
pub fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}

/// Decides whether a descriptor stays open in the programs this process starts.
pub fn set_inheritable(fd: impl AsFd, inheritable: bool) -> io::Result<()> {
    let mut flags = fcntl_getfd(&fd)?;
    flags.set(FdFlags::CLOEXEC, !inheritable);
    fcntl_setfd(&fd, flags)?;
    Ok(())
}

/// Waits until one of the descriptors can be read or its other side is gone; says which. All false: time is up.
pub fn wait_readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut ready = [false; N];
    let mut polled: Vec<_> = fds.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
    match poll(&mut polled, timeout.as_ref()) {
        // The caller computes its timeouts anew and comes back.
        Err(rustix::io::Errno::INTR) => return Ok(ready),
        other => other?,
    };
    let mut polled = polled.iter();
    for (fd, ready) in fds.iter().zip(&mut ready) {
        if fd.is_some() {
            *ready = polled.next().is_some_and(|p| !p.revents().is_empty());
        }
    }
    Ok(ready)
}

/// Microseconds of the system's monotonic clock: what systemd wants to know with `RELOADING=1`.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// The name that `ps -o comm`, `top` and `pidof` show for the calling thread; at most 15 bytes are kept.
pub fn set_name(name: &std::ffi::CStr) {
    // A name is a convenience: nothing depends on it, so a refusal does not matter.
    let _ = rustix::thread::set_name(name);
}

/// stdin and stdout of a process without a terminal: empty, and into nothing.
pub fn detach_stdio() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// What is written to stderr, a panic's message above all, goes to this file.
pub fn redirect_stderr(to: impl AsFd) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(to)?)
}

/// The limit on open descriptors (RLIMIT_NOFILE): what holds now and how far it may be raised.
pub fn nofile_limit() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Sets both limits on open descriptors, as `worker_rlimit_nofile` does.
pub fn set_nofile_limit(limit: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit) })?)
}

/// Sets the largest core dump in bytes (nginx: worker_rlimit_core).
pub fn set_core_limit(bytes: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(bytes), maximum: Some(bytes) })?)
}

/// Sets the scheduling priority of this process, -20 to 20 (nginx: worker_priority).
pub fn set_priority(priority: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, priority)?)
}

/// Binds this thread to the CPUs of those numbers (nginx: worker_cpu_affinity).
pub fn pin_thread(cpus: &[usize]) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < rustix::thread::CpuSet::MAX_CPU) {
        set.set(*cpu);
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// The name of this machine, for `$hostname` and syslog.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
/// The superuser's rights stay when this thread becomes another user, until [`keep_raw_sockets`] or exec.
pub fn keep_rights() -> io::Result<()> {
    Ok(rustix::thread::set_keep_capabilities(true)?)
}

/// Gives up every right beyond a plain user's, also those that programs started from here would get; all but that to
/// sockets with other people's addresses, with `raw_sockets`. For a process that is not the superuser's.
pub fn give_up_rights(raw_sockets: bool) -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let mut sets = capabilities(None)?;
    let kept =
        if raw_sockets { CapabilitySet::NET_RAW | CapabilitySet::NET_ADMIN } else { CapabilitySet::empty() };
    sets.permitted &= kept;
    sets.effective = sets.permitted;
    sets.inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, sets)?)
}

/// Gives up every right but that to sockets with other people's addresses (CAP_NET_RAW), for this thread and those
/// that it starts. The rights must have been kept.
pub fn keep_raw_sockets() -> io::Result<()> {
    let only = CapabilitySet::NET_RAW;
    let sets = CapabilitySets { effective: only, permitted: only, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
