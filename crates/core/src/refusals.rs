//! What all directives have in common that refuse requests: how grave that is to the log, and who has gone meanwhile.

use crate::error_log::Level;

/// What nginx logs for a client that closed its connection before it was answered.
pub const CLIENT_GONE: u16 = 499;

/// The words of `limit_req_log_level` and its kin.
pub const LEVELS: [&str; 4] = ["info", "notice", "warn", "error"];

/// The level of a chosen word; nginx's default is the gravest.
pub fn level(chosen: Option<usize>) -> Level {
    const BY_WORD: [Level; LEVELS.len()] = [Level::Info, Level::Notice, Level::Warn, Level::Error];
    BY_WORD[chosen.unwrap_or(LEVELS.len() - 1).min(LEVELS.len() - 1)]
}
