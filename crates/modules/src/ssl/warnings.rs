//! What of a configuration cannot be had: said once, however many servers ask for it.

use std::collections::HashSet;

use foregate_conf::{Error, Span};
use foregate_core::Compile;

use super::Options;

/// What has been said already.
#[derive(Default)]
struct Said(HashSet<&'static str>);

/// Warns, unless something under this key was said before.
pub(super) fn once(key: &'static str, span: Span, what: impl Into<String>, cx: &mut Compile<'_>) {
    if cx.shared.get_or_default::<Said>().0.insert(key) {
        cx.warn(Error::at(span, what).warn());
    }
}

/// `listen … quic`.
pub fn http3_is_missing(span: Span, cx: &mut Compile<'_>) {
    once("http3", span, "HTTP/3 is not available yet in this version: clients get HTTP/1.1", cx);
}

/// What tunes the TLS library of nginx and not ours.
pub(super) fn about_settings(o: &Options, cx: &mut Compile<'_>) {
    if let Some(word) = &o.dhparam {
        let what = "\"ssl_dhparam\" is ignored: keys are exchanged over elliptic curves only";
        once("dhparam", word.span, what, cx);
    }
}
