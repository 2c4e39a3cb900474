//! The process and its clock.

use foregate_core::{Exchange, push_number, push_seconds, time};
use foregate_net::clock;

/// The release of nginx whose behaviour is followed.
const NGINX_VERSION: &[u8] = b"1.31.5";

pub(super) fn version(_: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(NGINX_VERSION);
    true
}

pub(super) fn hostname(_: &mut Exchange, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(foregate_core::hostname().as_bytes());
    true
}

pub(super) fn pid(_: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_number(std::process::id().into(), out);
    true
}

/// Seconds since the epoch, to the millisecond.
pub(super) fn msec(_: &mut Exchange, out: &mut Vec<u8>) -> bool {
    push_seconds(clock::unix_ms(), out);
    true
}

pub(super) fn time_iso8601(_: &mut Exchange, out: &mut Vec<u8>) -> bool {
    time::iso8601((clock::unix_ms() / 1000) as i64, out);
    true
}

pub(super) fn time_local(_: &mut Exchange, out: &mut Vec<u8>) -> bool {
    time::local((clock::unix_ms() / 1000) as i64, out);
    true
}
