//! The PROXY protocol, versions 1 and 2: who the client of a forwarding balancer is.
//!
//! Source: "The PROXY protocol", section 2, as shipped with HAProxy.

mod read;
mod tlv;
mod write;

pub use read::{Header, ReadError, read};
pub use tlv::{BrokenTlv, TlvName, find};
pub use write::{Tls, write_v1, write_v2};

/// Most bytes of a version 1 line.
pub const V1_BYTES_MAX: usize = 107;

/// Most bytes of a version 2 header that are read; the protocol would allow 64 KiB.
pub const V2_BYTES_MAX: usize = 4096;

/// What a version 2 header starts with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const V2_FIXED_BYTES: usize = 16;

/// Version 2 in the high half of a byte, with the two commands in the low one.
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

/// Address families in the high half of a byte, TCP in the low one.
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Bytes of both addresses and both ports.
const IPV4_BYTES: usize = 12;
const IPV6_BYTES: usize = 36;

const TLV_ALPN: u8 = 0x01;
const TLV_AUTHORITY: u8 = 0x02;
const TLV_CRC32C: u8 = 0x03;
const TLV_UNIQUE_ID: u8 = 0x05;
const TLV_SSL: u8 = 0x20;
const TLV_SSL_VERSION: u8 = 0x21;
const TLV_SSL_CN: u8 = 0x22;
const TLV_SSL_CIPHER: u8 = 0x23;
const TLV_SSL_SIG_ALG: u8 = 0x24;
const TLV_SSL_KEY_ALG: u8 = 0x25;
const TLV_NETNS: u8 = 0x30;
