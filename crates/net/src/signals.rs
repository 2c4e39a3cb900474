//! Signals as messages: blocked for the whole process and read from a descriptor, one after the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::sys;

pub use libc::{SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

/// The signals that this process reads instead of being interrupted by them.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

/// One signal and who sent it; `None` is the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub signal: i32,
    pub from: Option<u32>,
}

/// Size of `struct signalfd_siginfo` (signalfd(2)) and where the fields stand that we read.
const INFO_BYTES: usize = 128;
const SIGNO_AT: usize = 0;
const PID_AT: usize = 12;

impl Signals {
    /// Blocks them in the calling thread and in threads and programs started by it later: call it before any.
    pub fn block(signals: &[i32]) -> io::Result<Self> {
        Ok(Self { fd: sys::block_signals(signals)? })
    }

    /// The next signal that has arrived; never waits.
    pub fn next(&self) -> io::Result<Option<Received>> {
        let mut info = [0; INFO_BYTES];
        loop {
            match rustix::io::read(&self.fd, &mut info) {
                Ok(_) => break,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let word = |at: usize| {
            let four = info[at..at + 4].try_into().expect("because four bytes were asked for");
            u32::from_ne_bytes(four)
        };
        let from = Some(word(PID_AT)).filter(|pid| *pid != 0);
        Ok(Some(Received { signal: word(SIGNO_AT).cast_signed(), from }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// As nginx's log names it.
pub fn name(signal: i32) -> &'static str {
    match signal {
        SIGCHLD => "SIGCHLD",
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        SIGKILL => "SIGKILL",
        SIGQUIT => "SIGQUIT",
        SIGTERM => "SIGTERM",
        SIGUSR1 => "SIGUSR1",
        SIGUSR2 => "SIGUSR2",
        SIGWINCH => "SIGWINCH",
        _ => "signal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{kill, wait_readable};
    use std::time::Duration;

    #[test]
    fn a_signal_says_who_sent_it() {
        // Other threads of the test program do not block it, so it must be one that they ignore by default.
        let signals = Signals::block(&[SIGWINCH]).unwrap();
        let me = std::process::id();
        for _ in 0..50 {
            kill(me, SIGWINCH).unwrap();
            wait_readable([Some(signals.as_fd())], Some(Duration::from_millis(20))).unwrap();
            if let Some(received) = signals.next().unwrap() {
                assert_eq!(received, Received { signal: SIGWINCH, from: Some(me) });
                return;
            }
        }
        // The kernel gave it to a thread that ignores it each time: nothing is proven, nothing is wrong.
    }
}
