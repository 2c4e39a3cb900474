//! The table of the directives about TLS, under each protocol's own names.

/// A protocol's own directives and those of its [`TlsDraft`](crate::TlsDraft), which is the field `$tls` of the options:
/// `tls_directives!("grpc", ssl; Directive::…, Directive::…)`. With `$draft` before `$tls`, all that
/// [`directives!`](crate::directives) has besides.
#[macro_export]
macro_rules! tls_directives {
    ($family:literal, $draft:ident, $tls:ident; $($own:expr),* $(,)?) => {
        $crate::tls_directives!(@ directives ($family, $draft;) $family, $tls; $($own,)*)
    };
    ($family:literal, $tls:ident; $($own:expr),* $(,)?) => {
        $crate::tls_directives!(@ only () $family, $tls; $($own,)*)
    };
    (@ $then:ident ($($before:tt)*) $family:literal, $tls:ident; $($own:expr,)*) => {
        $crate::$then!(
            $($before)*
            $($own,)*
            $crate::tls_shape!(flag, $family, "_ssl_session_reuse", $tls.session_reuse),
            $crate::tls_shape!(own, $family, "_ssl_protocols", 1, usize::MAX, $tls.protocols, protocols),
            $crate::tls_shape!(text, $family, "_ssl_ciphers", $tls.ciphers),
            $crate::tls_shape!(text, $family, "_ssl_name", $tls.name),
            $crate::tls_shape!(flag, $family, "_ssl_server_name", $tls.server_name),
            $crate::tls_shape!(flag, $family, "_ssl_verify", $tls.verify),
            $crate::tls_shape!(number, $family, "_ssl_verify_depth", $tls.verify_depth),
            $crate::tls_shape!(text, $family, "_ssl_trusted_certificate", $tls.trusted),
            $crate::tls_shape!(text, $family, "_ssl_crl", $tls.crl),
            $crate::tls_shape!(text, $family, "_ssl_certificate", $tls.certificate),
            $crate::tls_shape!(text, $family, "_ssl_certificate_key", $tls.key),
            $crate::tls_shape!(own, $family, "_ssl_certificate_cache", 1, 3, $tls.certificate_cache, cache),
            $crate::tls_shape!(text, $family, "_ssl_password_file", $tls.password_file),
            $crate::tls_shape!(own, $family, "_ssl_conf_command", 2, 2, $tls.commands, conf_command),
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! only {
    ($($own:expr),* $(,)?) => { &[$($own),*] };
}

/// One line of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! tls_shape {
    (own, $family:literal, $name:literal, $least:expr, $most:expr, $tls:ident.$slot:ident, $read:ident) => {
        foregate_core::Directive::own(
            concat!($family, $name),
            foregate_core::Scope::ANY_HTTP,
            foregate_core::Args::Between($least, $most),
            |o, node, _| $crate::tls::$read(&mut o.$tls, node),
            |o, from| $crate::draft::read::whole(&mut o.$tls.$slot, &from.$tls.$slot),
        )
    };
    ($shape:ident, $family:literal, $name:literal, $tls:ident.$slot:ident) => {
        foregate_core::Directive::$shape(concat!($family, $name), foregate_core::Scope::ANY_HTTP, |o| {
            &mut o.$tls.$slot
        })
    };
}
