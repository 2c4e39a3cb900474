//! Free ports on 127.0.0.1 that no other test takes meanwhile, be it in this process or another.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt::set_socket_reuseaddr};

/// Below the kernel's ephemeral range, so that no outgoing connection takes a port of ours; above nginx-tests' own.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;
const TRIES: u32 = 2_000;

/// A port reserved for this value's lifetime, by a lock on a file named after it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Reserves a port on which nobody listens, neither by TCP nor by UDP.
pub fn free_port() -> Port {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dir = std::env::temp_dir().join("foregate-test-ports");
    fs::create_dir_all(&dir).expect("because the folder of port locks can be made");
    // Processes start at different places; inside one, ports follow each other.
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..TRIES {
        let n = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % u32::from(COUNT);
        let number = FIRST + u16::try_from(n).expect("because it is below COUNT");
        let Ok(lock) = File::create(dir.join(number.to_string())) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        if nobody_listens(number) && UdpSocket::bind(("127.0.0.1", number)).is_ok() {
            return Port { number, _lock: lock };
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Tries the port without listening: a process that another test starts meanwhile holds our sockets until it is its own
/// program, and a socket that listens would keep the server from its port for that long.
fn nobody_listens(number: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], number));
    let Ok(socket) = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None) else {
        return false;
    };
    set_socket_reuseaddr(&socket, true).is_ok() && bind(&socket, &address).is_ok()
}
