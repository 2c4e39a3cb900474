//! What is said of the directives.

use crate::testing::{Site, error};

#[test]
fn settings_have_nginx_defaults_and_are_inherited() {
    let site = Site::new("http2_chunk_size 16k; http2_body_preread_size 32k; server { http2 on; location / { } }");
    let on = site.settings().http2.as_ref().expect("because it always resolves");
    assert_eq!((on.on, on.streams_max, on.preread, on.chunk), (true, 128, 32768, 16384));
    let site = Site::new("server { location / { } }");
    let on = site.settings().http2.as_ref().expect("because it always resolves");
    assert_eq!((on.on, on.streams_max, on.preread, on.chunk), (false, 128, 65536, 8192));
}

#[test]
fn obsolete_directives_are_named() {
    for (conf, want) in [
        ("http2_push /x;", "the \"http2_push\" directive is obsolete, ignored"),
        (
            "http2_idle_timeout 1m;",
            "the \"http2_idle_timeout\" directive is obsolete, use the \"keepalive_timeout\" directive instead",
        ),
    ] {
        assert_eq!(Site::new(conf).warnings, [want]);
    }
}

#[test]
fn what_cannot_be_is_an_error() {
    for (conf, want) in [
        ("http2 maybe;", "invalid value \"maybe\" in \"http2\" directive, it must be \"on\" or \"off\""),
        ("http2_chunk_size 0;", "the http2 chunk size cannot be zero"),
        ("http2_body_preread_size 4096m;", "the maximum body preread buffer size is 2147483647"),
        ("http2_recv_buffer_size 16;", "\"http2_recv_buffer_size\" directive value is too small"),
        ("http2_streams_index_size 3;", "\"http2_streams_index_size\" directive must be a power of two"),
    ] {
        assert_eq!(error(conf), want);
    }
}
