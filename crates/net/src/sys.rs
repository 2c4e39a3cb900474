//! The one file with `unsafe`: calls for which no safe wrapper exists. Everything else goes through `rustix`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The text nginx puts behind a failed call: `2: No such file or directory`.
pub fn errno_text(error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    let text = error.to_string();
    // The standard library appends " (os error 2)".
    let words = text.rfind(" (os error").map_or(text.as_str(), |end| &text[..end]);
    format!("{code}: {words}")
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
    fn errors_read_as_nginx_prints_them() {
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(errno_text(&missing), "2: No such file or directory");
        assert_eq!(errno_text(&io::Error::from_raw_os_error(libc::EADDRINUSE)), "98: Address already in use");
        assert_eq!(errno_text(&io::Error::other("odd")), "odd");
    }
}
