//! What a block writes about passing requests on, every field unset until it does.

use foregate_conf::{Node, Word};
use foregate_upstream::TlsDraft;
use foregate_upstream::draft::Draft;

use super::checks;

#[derive(Clone, Default)]
pub struct Options {
    pub(super) upstream: Draft,
    pub(super) pass: Option<PassDraft>,
    pub(super) check: Option<checks::Draft>,
    /// The `match` blocks of the http level.
    pub(super) matches: Vec<Node>,
    pub(super) redirects: Option<Vec<RedirectDraft>>,
    /// Pattern and replacement; empty where the directive says `off`.
    pub(super) cookie_domains: Option<Vec<(Word, Word)>>,
    pub(super) cookie_paths: Option<Vec<(Word, Word)>>,
    pub(super) cookie_flags: Option<Vec<(Word, Vec<Word>)>>,
    pub(super) headers: Option<Vec<(Word, Word)>>,
    pub(super) body: Option<Word>,
    pub(super) method: Option<Word>,
    pub(super) pass_trailers: Option<bool>,
    pub(super) http_version: Option<usize>,
    pub(super) early_hints: Option<Vec<Word>>,

    pub(super) hash_max: Option<u64>,
    pub(super) hash_bucket: Option<u64>,

    pub(super) ssl: TlsDraft,
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
