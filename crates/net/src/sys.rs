//! Calls for which no safe wrapper exists. Everything else goes through `rustix`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(crate) mod uring;

/// The text nginx puts behind a failed call: `2: No such file or directory`.
pub fn errno_text(error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    let text = error.to_string();
    // The standard library appends " (os error 2)".
    let words = text.rfind(" (os error").map_or(text.as_str(), |end| &text[..end]);
    format!("{code}: {words}")
}

/// Gives freed memory back to the system at once: after work that is done once and needs much for a short time.
pub fn give_back_memory() {
    // SAFETY: no argument refers to memory, and the allocator takes the call on any thread at any time.
    unsafe { mi_collect(true) }
}

use libmimalloc_sys as _;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// IP_TRANSPARENT or IPV6_TRANSPARENT: bind to an address that is not ours. Needs CAP_NET_ADMIN.
pub(crate) fn set_transparent(fd: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1)
    } else {
        set_int(fd, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1)
    }
}

/// IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, free for that peer.
pub(crate) fn set_bind_address_no_port(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// TCP_DEFER_ACCEPT, with nginx's one second.
pub(crate) fn set_defer_accept(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, i32::from(on))
}

pub(crate) fn defer_accept(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get_int(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT).map(|seconds| seconds != 0)
}

/// TCP_FASTOPEN with a queue of so many connections.
pub(crate) fn set_fastopen(fd: BorrowedFd<'_>, queue: i32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue)
}

/// What the kernel has found out about a TCP connection (TCP_INFO, tcp(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFacts {
    /// The time of a round trip and how it varies, microseconds.
    pub rtt_us: u32,
    pub rtt_variance_us: u32,
    /// Segments that may be on their way.
    pub send_window: u32,
    /// Bytes that the other side may send.
    pub receive_space_bytes: u32,
}

pub(crate) fn tcp_facts(fd: BorrowedFd<'_>) -> io::Result<TcpFacts> {
    // SAFETY: the struct is made of numbers alone, for which all zeros are values.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&info) as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    // SAFETY: both pointers are to locals that live through the call, and `size` is the size of `info`.
    let done =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut info).cast(), &raw mut size) };
    check(done)?;
    Ok(TcpFacts {
        rtt_us: info.tcpi_rtt,
        rtt_variance_us: info.tcpi_rttvar,
        send_window: info.tcpi_snd_cwnd,
        receive_space_bytes: info.tcpi_rcv_space,
    })
}

/// Blocks signals for this thread and those it starts; the descriptor returned delivers them (signalfd(2)).
pub(crate) fn block_signals(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: a zeroed set is a valid argument of sigemptyset, which gives it its value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` lives through the calls; a number that is no signal is reported, not acted on.
    unsafe {
        check(libc::sigemptyset(&raw mut set))?;
        for signal in signals {
            check(libc::sigaddset(&raw mut set, *signal))?;
        }
        match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
            0 => {}
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
    // SAFETY: `set` lives through the call.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) })?;
    // SAFETY: the call has just opened it and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor that was open when this program started, and keeps it from programs started later.
///
/// Each number may be taken once, and only one that the starter said is for us.
pub fn inherit(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD takes a number and touches no memory; a number that is not open is reported.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and by this function's contract nobody else has taken it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The ids of a user and of its primary group, as getpwnam(3) finds them; `None` when there is no such user.
pub fn user_ids(name: &str) -> io::Result<Option<(u32, u32)>> {
    let name = CString::new(name)?;
    // SAFETY: all bytes zero is a valid passwd: null pointers and numbers.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let found = named(|buffer, found| {
        // SAFETY: name, entry, buffer and found live through the call; the length is the buffer's.
        unsafe {
            libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
        }
    })?;
    Ok(found.then_some((entry.pw_uid, entry.pw_gid)))
}

/// The id of a group, as getgrnam(3) finds it; `None` when there is no such group.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    // SAFETY: all bytes zero is a valid group: null pointers and a number.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let found = named(|buffer, found| {
        // SAFETY: name, entry, buffer and found live through the call; the length is the buffer's.
        unsafe {
            libc::getgrnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr().cast(), buffer.len(), found)
        }
    })?;
    Ok(found.then_some(entry.gr_gid))
}

/// Becomes the user for good: groups, group, user. For the whole process, whatever its threads.
pub fn become_user(name: &str, uid: u32, gid: u32) -> io::Result<()> {
    let name = CString::new(name)?;
    set_groups(&name, gid)?;
    // SAFETY: these take numbers only.
    unsafe {
        check(libc::setgid(gid))?;
        check(libc::setuid(uid))?;
    }
    Ok(())
}

fn set_groups(name: &CStr, gid: u32) -> io::Result<()> {
    // SAFETY: the name is a C string that lives through the call.
    check(unsafe { libc::initgroups(name.as_ptr(), gid) }).map(drop)
}

/// First and last size of the buffer in which a lookup returns its texts.
const LOOKUP_BYTES: usize = 4 * 1024;
const LOOKUP_BYTES_MAX: usize = 1024 * 1024;

/// Asks again with a larger buffer while the answer does not fit. Whether something was found.
fn named<T>(mut ask: impl FnMut(&mut [u8], *mut *mut T) -> i32) -> io::Result<bool> {
    let mut buffer = vec![0; LOOKUP_BYTES];
    loop {
        let mut found = std::ptr::null_mut();
        match ask(&mut buffer, &raw mut found) {
            0 => return Ok(!found.is_null()),
            libc::ERANGE if buffer.len() < LOOKUP_BYTES_MAX => buffer.resize(buffer.len() * 2, 0),
            libc::EINTR => {}
            // Some name services report "not found" this way (getpwnam(3), ERRORS).
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(false),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer is to `value`, which lives through the call, and `size` is its size.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    check(done).map(drop)
}

fn get_int(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: both pointers are to locals that live through the call, and `size` is the size of `value`.
    let done =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut size) };
    check(done).map(|_| value)
}

/// The C library's way to report failure: -1 and errno.
fn check(returned: i32) -> io::Result<i32> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name() {
        assert_eq!(user_ids("root").unwrap(), Some((0, 0)));
        assert_eq!(group_id("root").unwrap(), Some(0));
        assert_eq!(user_ids("no such user").unwrap(), None);
        assert_eq!(group_id("no such group").unwrap(), None);
    }

    #[test]
    fn errors_read_as_nginx_prints_them() {
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(errno_text(&missing), "2: No such file or directory");
        assert_eq!(errno_text(&io::Error::from_raw_os_error(libc::EADDRINUSE)), "98: Address already in use");
        assert_eq!(errno_text(&io::Error::other("odd")), "odd");
    }
}
