//! The table of the directives of caches that all protocols share, under each protocol's own names.

/// A protocol's own directives of its cache and those of its [`CacheDraft`](crate::draft::cache::CacheDraft), which is
/// the field `$draft` of the options: `cache_directives!("proxy", cache; Directive::…)`.
#[macro_export]
macro_rules! cache_directives {
    ($family:literal, $draft:ident; $($own:expr),* $(,)?) => {
        &[
            $($own,)*
            foregate_core::Directive::own(
                concat!($family, "_cache_path"),
                foregate_core::Scope::HTTP,
                foregate_core::Args::AtLeast(2),
                |o, node, _| $crate::draft::cache::path::read(&mut o.$draft, concat!($family, "_cache_path"), node),
                |_, _| (),
            ),
            $crate::cache_shape!(text, $family, "_cache", $draft.zone),
            $crate::cache_shape!(text, $family, "_cache_key", $draft.key),
            $crate::cache_shape!(own, $family, "_cache_valid", usize::MAX, $draft.valid, valid),
            $crate::cache_shape!(own, $family, "_cache_methods", usize::MAX, $draft.methods, methods),
            $crate::cache_shape!(number, $family, "_cache_min_uses", $draft.min_uses),
            $crate::cache_shape!(own, $family, "_cache_bypass", usize::MAX, $draft.bypass, bypass),
            $crate::cache_shape!(own, $family, "_no_cache", usize::MAX, $draft.no_cache, no_cache),
            $crate::cache_shape!(own, $family, "_cache_purge", usize::MAX, $draft.purge, purge),
            $crate::cache_shape!(flag, $family, "_cache_lock", $draft.lock),
            $crate::cache_shape!(time, $family, "_cache_lock_age", $draft.lock_age),
            $crate::cache_shape!(time, $family, "_cache_lock_timeout", $draft.lock_timeout),
            $crate::cache_shape!(own, $family, "_cache_use_stale", usize::MAX, $draft.use_stale, use_stale),
            $crate::cache_shape!(flag, $family, "_cache_background_update", $draft.background_update),
            $crate::cache_shape!(flag, $family, "_cache_revalidate", $draft.revalidate),
            foregate_core::Directive::choice(
                concat!($family, "_cache_rfc"),
                foregate_core::Scope::ANY_HTTP,
                $crate::draft::cache::BY_RFC,
                |o| &mut o.$draft.rfc,
            ),
            $crate::cache_shape!(own, $family, "_cache_max_range_offset", 1, $draft.max_range_offset, max_range_offset),
        ]
    };
}

/// One line of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! cache_shape {
    (own, $family:literal, $name:literal, $most:expr, $draft:ident.$slot:ident, $read:ident) => {
        foregate_core::Directive::own(
            concat!($family, $name),
            foregate_core::Scope::ANY_HTTP,
            foregate_core::Args::Between(1, $most),
            |o, node, _| $crate::draft::cache::read::$read(&mut o.$draft, node),
            |o, from| $crate::draft::read::whole(&mut o.$draft.$slot, &from.$draft.$slot),
        )
    };
    ($shape:ident, $family:literal, $name:literal, $draft:ident.$slot:ident) => {
        $crate::shape!($shape, $family, $name, $draft.$slot)
    };
}
