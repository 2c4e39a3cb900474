//! Directives of `stream` that `http` does not have too.

use super::reasons::STREAM;
use super::{Known, known as of};

/// Sorted by name.
#[rustfmt::skip]
pub(super) static NAMES: &[Known] = &[
    of("pass", "stream server", "1", "", STREAM),
    of("preread_buffer_size", "stream, stream server", "1", "16k", STREAM),
    of("preread_timeout", "stream, stream server", "1", "30s", STREAM),
    of("proxy_download_rate", "stream, stream server", "1", "0", STREAM),
    of("proxy_downstream_buffer", "stream, stream server", "1", "", STREAM),
    of("proxy_half_close", "stream, stream server", "1", "off", STREAM),
    of("proxy_protocol", "mail, mail server, stream, stream server", "1", "off", STREAM),
    of("proxy_protocol_timeout", "stream, stream server", "1", "30s", STREAM),
    of("proxy_requests", "stream, stream server", "1", "0", STREAM),
    of("proxy_responses", "stream, stream server", "1", "", STREAM),
    of("proxy_ssl", "stream, stream server", "1", "off", STREAM),
    of("proxy_ssl_alpn", "stream, stream server", "1+", "", STREAM),
    of("proxy_timeout", "mail, mail server, stream, stream server", "1", "10m", STREAM),
    of("proxy_upload_rate", "stream, stream server", "1", "0", STREAM),
    of("proxy_upstream_buffer", "stream, stream server", "1", "", STREAM),
    of("ssl_alpn", "stream, stream server", "1+", "", STREAM),
    of("ssl_handshake_timeout", "stream, stream server", "1", "60s", STREAM),
    of("ssl_preread", "stream, stream server", "1", "off", STREAM),
    of("stream", "main", "0 block", "", STREAM),
];
