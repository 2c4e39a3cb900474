//! What a block writes about passing requests on, every field unset until it does.

use std::time::Duration;

use foregate_conf::Word;
use foregate_core::TempPath;
use foregate_upstream::{Conditions, Ignored};

#[derive(Clone, Default)]
pub struct Options {
    pub(super) pass: Option<PassDraft>,
    pub(super) redirects: Option<Vec<RedirectDraft>>,
    /// Pattern and replacement; empty where the directive says `off`.
    pub(super) cookie_domains: Option<Vec<(Word, Word)>>,
    pub(super) cookie_paths: Option<Vec<(Word, Word)>>,
    pub(super) cookie_flags: Option<Vec<(Word, Vec<Word>)>>,
    pub(super) headers: Option<Vec<(Word, Word)>>,
    pub(super) body: Option<Word>,
    pub(super) method: Option<Word>,
    pub(super) pass_request_headers: Option<bool>,
    pub(super) pass_request_body: Option<bool>,
    pub(super) pass_trailers: Option<bool>,
    pub(super) http_version: Option<usize>,
    pub(super) early_hints: Option<Vec<Word>>,

    pub(super) buffering: Option<bool>,
    pub(super) request_buffering: Option<bool>,
    pub(super) ignore_client_abort: Option<bool>,
    pub(super) intercept_errors: Option<bool>,
    pub(super) force_ranges: Option<bool>,
    pub(super) buffer_size: Option<u64>,
    pub(super) buffers: Option<(u64, u64)>,
    pub(super) busy_buffers_size: Option<u64>,
    pub(super) limit_rate: Option<Word>,
    pub(super) temp_path: Option<TempPath>,
    pub(super) max_temp_file_size: Option<u64>,
    pub(super) temp_file_write_size: Option<u64>,

    /// `None` inside: `off`.
    pub(super) bind: Option<Option<(Word, bool)>>,
    pub(super) socket_keepalive: Option<bool>,
    pub(super) recv_buffer: Option<u64>,
    pub(super) send_buffer: Option<u64>,
    pub(super) send_lowat: Option<u64>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) send_timeout: Option<Duration>,
    pub(super) read_timeout: Option<Duration>,

    pub(super) next: Option<Conditions>,
    pub(super) next_tries: Option<u64>,
    pub(super) next_timeout: Option<Duration>,

    /// `None` inside: `off`.
    pub(super) store: Option<Option<Word>>,
    pub(super) store_access: Option<u32>,

    pub(super) pass_header: Option<Vec<String>>,
    pub(super) hide_header: Option<Vec<String>>,
    pub(super) ignored: Option<Ignored>,
    pub(super) hash_max: Option<u64>,
    pub(super) hash_bucket: Option<u64>,

    pub(super) ssl: super::ssl::Options,
}

/// `proxy_pass` as written.
#[derive(Clone)]
pub(super) struct PassDraft {
    pub(super) url: Word,
    /// It stands in an `if` or a `limit_except`, which have no name of their own.
    pub(super) nameless: bool,
}

/// One `proxy_redirect`; a list without any is `off`.
#[derive(Clone)]
pub(super) enum RedirectDraft {
    Default,
    To { pattern: Word, replacement: Word },
}
