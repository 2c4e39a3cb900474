//! The table of the directives that all protocols share, under each protocol's own names.

/// A protocol's own directives and those of its [`Draft`](crate::draft::Draft), which is the field `$draft` of the
/// options: `directives!("proxy", upstream; Directive::…, Directive::…)`.
#[macro_export]
macro_rules! directives {
    ($family:literal, $draft:ident; $($own:expr),* $(,)?) => {
        &[
            $($own,)*
            $crate::shape!(own, $family, "_store", 1, 1, $draft.store, store),
            $crate::shape!(own, $family, "_store_access", 1, 3, $draft.store_access, store_access),
            $crate::shape!(flag, $family, "_buffering", $draft.buffering),
            $crate::shape!(flag, $family, "_request_buffering", $draft.request_buffering),
            $crate::shape!(flag, $family, "_ignore_client_abort", $draft.ignore_client_abort),
            $crate::shape!(own, $family, "_bind", 1, 2, $draft.bind, bind),
            $crate::shape!(flag, $family, "_socket_keepalive", $draft.socket_keepalive),
            $crate::shape!(size, $family, "_socket_rcvbuf", $draft.recv_buffer),
            $crate::shape!(size, $family, "_socket_sndbuf", $draft.send_buffer),
            $crate::shape!(time, $family, "_connect_timeout", $draft.connect_timeout),
            $crate::shape!(time, $family, "_send_timeout", $draft.send_timeout),
            $crate::shape!(time, $family, "_read_timeout", $draft.read_timeout),
            $crate::shape!(size, $family, "_send_lowat", $draft.send_lowat),
            $crate::shape!(flag, $family, "_intercept_errors", $draft.intercept_errors),
            $crate::shape!(flag, $family, "_pass_request_headers", $draft.pass_request_headers),
            $crate::shape!(flag, $family, "_pass_request_body", $draft.pass_request_body),
            $crate::shape!(size, $family, "_buffer_size", $draft.buffer_size),
            $crate::shape!(own, $family, "_buffers", 2, 2, $draft.buffers, buffers),
            $crate::shape!(size, $family, "_busy_buffers_size", $draft.busy_buffers_size),
            $crate::shape!(flag, $family, "_force_ranges", $draft.force_ranges),
            $crate::shape!(text, $family, "_limit_rate", $draft.limit_rate),
            $crate::shape!(own, $family, "_temp_path", 1, 4, $draft.temp_path, temp_path),
            $crate::shape!(size, $family, "_max_temp_file_size", $draft.max_temp_file_size),
            $crate::shape!(size, $family, "_temp_file_write_size", $draft.temp_file_write_size),
            $crate::shape!(own, $family, "_next_upstream", 1, usize::MAX, $draft.next, next_upstream),
            $crate::shape!(number, $family, "_next_upstream_tries", $draft.next_tries),
            $crate::shape!(time, $family, "_next_upstream_timeout", $draft.next_timeout),
            $crate::shape!(own, $family, "_pass_header", 1, 1, $draft.pass_header, pass_header),
            $crate::shape!(own, $family, "_hide_header", 1, 1, $draft.hide_header, hide_header),
            $crate::shape!(own, $family, "_ignore_headers", 1, usize::MAX, $draft.ignored, ignore_headers),
        ]
    };
}

/// One line of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! shape {
    (own, $family:literal, $name:literal, $least:expr, $most:expr, $draft:ident.$slot:ident, $read:ident) => {
        foregate_core::Directive::own(
            concat!($family, $name),
            foregate_core::Scope::ANY_HTTP,
            foregate_core::Args::Between($least, $most),
            |o, node, _| $crate::draft::read::$read(&mut o.$draft, node),
            |o, from| $crate::draft::read::whole(&mut o.$draft.$slot, &from.$draft.$slot),
        )
    };
    ($shape:ident, $family:literal, $name:literal, $draft:ident.$slot:ident) => {
        foregate_core::Directive::$shape(concat!($family, $name), foregate_core::Scope::ANY_HTTP, |o| {
            &mut o.$draft.$slot
        })
    };
}
