//! Builds the filter of system calls: a program for the kernel's classic BPF machine (seccomp(2), bpf(4)).

use std::io;

use libc::sock_filter;
use rustix::process::Pid;

/// What an argument of a call must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// Argument `.0` is one of these.
    OneOf(usize, &'static [u32]),
    /// Argument `.0` has all these bits; otherwise EPERM without a signal: the C library has all signals blocked there,
    /// and one that is forced would end the process.
    Has(usize, u32),
    /// Argument `.0` is this process or the one that started it.
    Own(usize),
    /// Never, but quietly: whoever is told that there is no such call knows another way.
    Missing,
}

/// Where struct seccomp_data has the number of the call, the processor, and the low half of its first argument.
const NUMBER_AT: u32 = 0;
const PROCESSOR_AT: u32 = 4;
const ARGUMENT_AT: u32 = 16;
const ARGUMENT_BYTES: u32 = 8;

/// AUDIT_ARCH_… of this processor (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const PROCESSOR: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const PROCESSOR: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const PROCESSOR: Option<u32> = None;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const DENIED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const MISSING: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A filter that allows the calls of `allowed`, those of `checked` where their arguments are right, and traps others.
///
/// The kernel remembers which calls are allowed whatever their arguments are, so that the order costs nothing.
///
/// # Errors
/// The processor is not known.
pub(super) fn build(
    allowed: &[libc::c_long],
    checked: &[(libc::c_long, Check)],
    parent: Option<Pid>,
) -> io::Result<Vec<sock_filter>> {
    let processor = PROCESSOR.ok_or(io::ErrorKind::Unsupported)?;
    let mut program = vec![
        step(LOAD, PROCESSOR_AT),
        jump(processor, 1, 0),
        // Calls of another processor's kind have other numbers.
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, NUMBER_AT),
    ];
    for number in allowed {
        program.push(jump(*number as u32, 0, 1));
        program.push(step(RETURN, ALLOW));
    }
    let own: Vec<u32> = [Some(rustix::process::getpid()), parent].into_iter().flatten().map(raw).collect();
    for (number, check) in checked {
        let rest = match check {
            Check::OneOf(at, values) => one_of(*at, values),
            Check::Own(at) => one_of(*at, &own),
            Check::Has(at, bits) => vec![
                argument(*at),
                step(AND, *bits),
                jump(*bits, 0, 1),
                step(RETURN, ALLOW),
                step(RETURN, DENIED),
            ],
            Check::Missing => vec![step(RETURN, MISSING)],
        };
        program.push(jump(*number as u32, 0, rest.len() as u8));
        program.extend(rest);
    }
    program.push(step(RETURN, libc::SECCOMP_RET_TRAP));
    Ok(program)
}

fn raw(pid: Pid) -> u32 {
    pid.as_raw_pid() as u32
}

fn one_of(at: usize, values: &[u32]) -> Vec<sock_filter> {
    let mut steps = vec![argument(at)];
    for value in values {
        steps.push(jump(*value, 0, 1));
        steps.push(step(RETURN, ALLOW));
    }
    steps.push(step(RETURN, libc::SECCOMP_RET_TRAP));
    steps
}

/// Loads the low half of an argument: all that are checked are numbers of 32 bits to the kernel.
fn argument(at: usize) -> sock_filter {
    step(LOAD, ARGUMENT_AT + ARGUMENT_BYTES * at as u32)
}

fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes on so many steps further where what was loaded is `k`, and where it is not.
fn jump(k: u32, if_equal: u8, if_not: u8) -> sock_filter {
    sock_filter { code: IF_EQUAL, jt: if_equal, jf: if_not, k }
}
