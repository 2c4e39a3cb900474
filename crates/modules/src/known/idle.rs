//! Directives that a module reads and checks, and that only tune what works differently here.

use super::Treatment;
use super::reasons::{BUFFERS, COMPRESSION, DH, DISK, EVENTS, HASHES, MEMORY, SOCKETS, SPOOLING, TLS_INSIDE};

const PROTOCOLS: Treatment =
    Treatment::Ignored("this protocol is not available yet in this version: clients get HTTP/1.1");

/// Sorted by name. Take a name out when it begins to mean something.
static NAMES: &[(&str, Treatment)] = &[
    ("accept_mutex", EVENTS),
    ("aio", DISK),
    ("aio_write", DISK),
    ("brotli_buffers", COMPRESSION),
    ("client_body_early_read", BUFFERS),
    ("client_body_in_single_buffer", BUFFERS),
    ("connection_pool_size", MEMORY),
    ("directio", DISK),
    ("directio_alignment", DISK),
    ("gzip_buffers", COMPRESSION),
    ("gzip_hash", COMPRESSION),
    ("gzip_no_buffer", COMPRESSION),
    ("gzip_window", COMPRESSION),
    ("http2", PROTOCOLS),
    ("http2_max_concurrent_streams", PROTOCOLS),
    ("http3", PROTOCOLS),
    ("http3_hq", PROTOCOLS),
    ("http3_max_concurrent_streams", PROTOCOLS),
    ("open_file_cache_events", DISK),
    ("output_buffers", BUFFERS),
    ("postpone_gzipping", COMPRESSION),
    ("postpone_output", BUFFERS),
    ("proxy_busy_buffers_size", BUFFERS),
    ("proxy_headers_hash_bucket_size", HASHES),
    ("proxy_headers_hash_max_size", HASHES),
    ("proxy_send_lowat", SOCKETS),
    ("proxy_ssl_certificate_cache", TLS_INSIDE),
    ("proxy_temp_file_write_size", SPOOLING),
    ("quic_host_key", PROTOCOLS),
    ("quic_retry", PROTOCOLS),
    ("read_ahead", DISK),
    ("send_lowat", SOCKETS),
    ("ssi_ignore_recycled_buffers", BUFFERS),
    ("ssi_min_file_chunk", BUFFERS),
    ("ssl_buffer_size", BUFFERS),
    ("ssl_certificate_cache", TLS_INSIDE),
    ("ssl_dhparam", DH),
    ("tcp_nodelay", SOCKETS),
    ("tcp_nopush", SOCKETS),
    ("zstd_buffers", COMPRESSION),
];

/// Why a directive of ours has no effect; `None`: it has one.
pub fn idle(name: &str) -> Option<&'static str> {
    let at = NAMES.binary_search_by(|(it, _)| (*it).cmp(name)).ok()?;
    match NAMES[at].1 {
        Treatment::Ignored(why) => Some(why),
        Treatment::Refused { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_and_modules_have_them() {
        assert!(NAMES.is_sorted_by(|one, other| one.0 < other.0));
        for (name, treatment) in NAMES {
            assert!(crate::directives().iter().any(|(_, it, _)| it == name), "{name}");
            assert!(matches!(treatment, Treatment::Ignored(_)), "{name}");
        }
    }
}
