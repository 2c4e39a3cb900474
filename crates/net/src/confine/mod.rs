//! What a process may still do once it has begun: which files it opens (Landlock), which calls it makes (seccomp).
//!
//! Both hold for good and for everything the process starts; neither can be widened again.

mod calls;
mod files;
mod filter;

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::read;
use rustix::process::DumpableBehavior;

pub use calls::name;
pub use files::{Reach, confine_files, deny_writing};

use crate::sys;

/// No program started from here gets rights that this process does not have (no_new_privs), and neither a core file
/// nor a debugger of the same user sees its memory, where keys are.
pub fn close() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Tells of calls that were refused: its descriptor is readable when there are any.
#[derive(Debug)]
pub struct Refusals {
    wake: OwnedFd,
}

/// Allows only the calls that serving needs, for all threads of this process. What is refused fails with EPERM.
///
/// `ring`: io_uring is among what is needed.
///
/// # Errors
/// The kernel has no seccomp filters, or the processor is one whose calls are not known here.
pub fn confine_calls(ring: bool) -> io::Result<Refusals> {
    let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let filter = filter::build(&calls::allowed(ring), calls::CHECKED, rustix::process::getppid())?;
    sys::refuse_trapped_calls(wake.try_clone()?)?;
    sys::seccomp(&filter)?;
    Ok(Refusals { wake })
}

impl Refusals {
    /// The numbers of the calls refused since this was last asked.
    pub fn take(&self) -> Vec<u32> {
        // It is only there to wake.
        _ = read(&self.wake, &mut [0; 8]);
        sys::refused_calls()
    }
}

impl std::os::fd::AsFd for Refusals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
