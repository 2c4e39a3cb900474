//! Calls for which no safe wrapper exists. Everything else goes through `rustix`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

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

/// The version of Landlock that the kernel speaks (landlock_create_ruleset(2)); an error where it has none.
pub(crate) fn landlock_version() -> io::Result<u32> {
    const VERSION: libc::c_uint = 1;
    let none = std::ptr::null::<u64>();
    // SAFETY: with this flag the call takes no memory, and its size is 0.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) };
    check(version as i32).map(|it| it as u32)
}

/// A set of rules that takes away all rights in `handled` but those that are given back by [`landlock_allow`].
pub(crate) fn landlock_ruleset(handled: u64) -> io::Result<OwnedFd> {
    let size = size_of::<u64>();
    // SAFETY: the pointer is to `handled`, which lives through the call, and the size is its own: the first field of
    // the struct, which every version of Landlock takes alone.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size, 0) };
    let fd = check(fd as i32)?;
    // SAFETY: the call has just opened it and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// struct landlock_path_beneath_attr
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Gives rights back to what lies at or below `parent`, a descriptor that may be opened with O_PATH.
pub(crate) fn landlock_allow(rules: BorrowedFd<'_>, parent: BorrowedFd<'_>, allowed: u64) -> io::Result<()> {
    const PATH_BENEATH: libc::c_int = 1;
    let rule = PathBeneath { allowed, parent: parent.as_raw_fd() };
    // SAFETY: the pointer is to `rule`, which lives through the call and has the layout that its kind names.
    let done = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, rules.as_raw_fd(), PATH_BENEATH, &raw const rule, 0)
    };
    check(done as i32).map(drop)
}

/// Puts this thread, and those it starts from now on, under the rules for good. Needs no_new_privs.
pub(crate) fn landlock_restrict(rules: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) } as i32).map(drop)
}

/// Puts all threads of this process under a filter of system calls for good (seccomp(2)). Needs no_new_privs.
pub(crate) fn seccomp(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // Without SPEC_ALLOW older kernels would slow the whole process down by what seccomp has nothing to do with.
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the pointer is to `program`, whose filter lives through the call too; the kernel copies both.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match done {
        0 => Ok(()),
        // With TSYNC: the thread that cannot be put under the filter.
        1.. => Err(io::ErrorKind::Other.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The numbers of calls that a filter has refused, one bit each, and whom to wake for them.
static REFUSED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static REFUSED_WAKES: AtomicI32 = AtomicI32::new(-1);

/// From now on a call that a filter traps is answered with EPERM, its number is kept for [`refused_calls`], and eight
/// bytes are written to `wake`, an eventfd.
pub(crate) fn refuse_trapped_calls(wake: OwnedFd) -> io::Result<()> {
    REFUSED_WAKES.store(wake.into_raw_fd(), Ordering::Relaxed);
    // SAFETY: a zeroed sigaction has an empty mask and no flags; the fields that matter are set below.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = trapped as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: `action` lives through the call, and its handler has the signature that SA_SIGINFO asks for.
    check(unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) }).map(drop)
}

/// The numbers of the calls that were refused since this was last asked.
pub(crate) fn refused_calls() -> Vec<u32> {
    let words = REFUSED.iter().enumerate().map(|(at, word)| (at as u32, word.swap(0, Ordering::Relaxed)));
    words
        .flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit))
        .collect()
}

/// Handler of SIGSYS: only what a signal's handler may do, which is atomics and write(2).
extern "C" fn trapped(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    const SYS_SECCOMP: i32 = 1;
    // SAFETY: the kernel passes both, valid for the time of the handler.
    let (info, context) = unsafe { (&*info, &mut *context.cast::<libc::ucontext_t>()) };
    if info.si_code != SYS_SECCOMP {
        return;
    }
    let number = answer_with(context, -i64::from(libc::EPERM));
    if let Some(word) = REFUSED.get(number as usize / 64) {
        word.fetch_or(1 << (number % 64), Ordering::Relaxed);
    }
    let one = 1_u64;
    // SAFETY: the pointer is to `one`, and the size is its own; a descriptor that is not open is reported. That errno
    // may change does not matter: the interrupted call is about to set it.
    unsafe { libc::write(REFUSED_WAKES.load(Ordering::Relaxed), (&raw const one).cast(), size_of::<u64>()) };
}

/// Sets what the interrupted call returns; gives the call's number.
#[cfg(target_arch = "x86_64")]
fn answer_with(context: &mut libc::ucontext_t, value: i64) -> u64 {
    let register = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
    std::mem::replace(register, value) as u64
}

/// Sets what the interrupted call returns; gives the call's number.
#[cfg(target_arch = "aarch64")]
fn answer_with(context: &mut libc::ucontext_t, value: i64) -> u64 {
    let registers = &mut context.uc_mcontext.regs;
    registers[0] = value as u64;
    registers[8]
}

/// Nothing is trapped where the filter is not known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn answer_with(_: &mut libc::ucontext_t, _: i64) -> u64 {
    u64::MAX
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
