//! HTTP/2 as a machine without a socket and without a clock: bytes in, events out (RFC 9113).

pub mod client;
mod control;
mod error;
mod flood;
pub mod frame;
mod head;
pub mod hpack;
mod mux;
mod out;
mod partial;
mod priority;
mod receive;
mod streams;
mod trailers;

#[cfg(test)]
mod tests;

pub use error::{Code, Fault};
pub use flood::WINDOW_MS as FLOOD_WINDOW_MS;
pub use head::{Head, HeadFault};
pub use mux::{Event, Limits, Mux};
pub use out::{Out, SLICES_MAX};
pub use priority::Priority;

/// What a client sends first (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest window there is (section 6.9.1).
pub const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Each window at first.
pub const WINDOW_FIRST: u32 = 65_535;

/// What the other side takes in one frame unless it says more (section 6.5.2).
pub const FRAME_BYTES: usize = 16_384;

/// The largest stream identifier.
pub const STREAM_MAX: u32 = (1 << 31) - 1;
