//! Everything that touches the operating system: the per-thread runtime, clock, sockets, TLS, DNS, processes.
//!
//! One thread has one executor, one epoll instance, one timer wheel. Nothing here is shared between threads
//! except what says so (`runtime::Remote`, the helper-thread pool, TLS ticket keys), so futures need not be `Send`.

pub mod addr;
pub mod channel;
pub mod clock;
pub mod confine;
mod conn;
mod crowd;
pub mod dns;
pub mod door;
pub mod events;
mod file_version;
pub mod listener;
pub mod names;
mod pipe;
pub mod process;
mod reactor;
pub mod runtime;
pub mod signals;
pub mod stream;
pub mod sys;
pub mod terminal;
pub mod tls;
mod udp;

pub use addr::Addr;
pub use conn::Conn;
pub use crowd::Crowd;
pub use file_version::FileVersion;
pub use listener::{ListenSpec, Listener};
pub use pipe::Pipe;
pub use stream::{ConnectOptions, KeepAlive, Stream};
pub use udp::UdpSocket;
