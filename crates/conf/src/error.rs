//! What is wrong with a configuration: a place, nginx's wording, and what to write instead.

use std::{fmt, io};

use crate::tree::{Node, Span};

/// How bad a message is; the names are those of nginx's `error_log`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The configuration cannot be used.
    #[default]
    Emerg,
    Alert,
    Crit,
    Error,
    /// The configuration is used, but not all of it as its author may think.
    Warn,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// As in nginx's brackets: `emerg`, `warn`, ...
    pub fn name(self) -> &'static str {
        match self {
            Level::Emerg => "emerg",
            Level::Alert => "alert",
            Level::Crit => "crit",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// One complaint about the user's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub span: Option<Span>,
    /// nginx's wording, without the ` in FILE:LINE` behind it.
    pub what: String,
    /// What to write instead, as one sentence.
    pub advice: Option<String>,
    pub level: Level,
}

impl Error {
    /// An emergency at a place.
    pub fn at(span: Span, what: impl Into<String>) -> Error {
        Error { span: Some(span), what: what.into(), advice: None, level: Level::Emerg }
    }

    /// An emergency without a place.
    pub fn plain(what: impl Into<String>) -> Error {
        Error { span: None, what: what.into(), advice: None, level: Level::Emerg }
    }

    /// The same with advice.
    pub fn advise(mut self, text: impl Into<String>) -> Error {
        self.advice = Some(text.into());
        self
    }

    /// The same at another level.
    pub fn level(mut self, level: Level) -> Error {
        self.level = level;
        self
    }

    /// The same as a warning: the configuration stays usable.
    pub fn warn(self) -> Error {
        self.level(Level::Warn)
    }

    /// `unknown directive "X"`.
    pub fn unknown_directive(node: &Node) -> Error {
        Error::at(node.name.span, format!("unknown directive \"{}\"", node.name))
    }

    /// `"X" directive is not allowed here`.
    pub fn not_allowed_here(node: &Node) -> Error {
        Error::at(node.name.span, format!("\"{}\" directive is not allowed here", node.name))
    }

    /// `directive "X" is not terminated by ";"`: a block where none belongs.
    pub fn not_terminated(node: &Node) -> Error {
        Error::at(node.span, format!("directive \"{}\" is not terminated by \";\"", node.name))
    }

    /// `directive "X" has no opening "{"`: no block where one belongs.
    pub fn no_opening(node: &Node) -> Error {
        Error::at(node.span, format!("directive \"{}\" has no opening \"{{\"", node.name))
    }

    /// `invalid number of arguments in "X" directive`.
    pub fn arity(node: &Node) -> Error {
        Error::at(node.span, format!("invalid number of arguments in \"{}\" directive", node.name))
    }

    /// `"X" directive is duplicate`.
    pub fn duplicate(node: &Node) -> Error {
        Error::directive(node, "is duplicate")
    }

    /// `"X" directive WHAT`, the form of most errors that a directive's reader returns.
    pub fn directive(node: &Node, what: impl fmt::Display) -> Error {
        Error::at(node.span, format!("\"{}\" directive {what}", node.name))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

/// nginx's tail for a failed system call: ` (2: No such file or directory)`, with its leading space.
pub fn os_error(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => {
            let tail = format!(" (os error {code})");
            format!(" ({code}: {})", text.strip_suffix(&tail).unwrap_or(&text))
        }
        None => format!(" ({text})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_as_in_nginx() {
        assert_eq!(os_error(&io::Error::from_raw_os_error(2)), " (2: No such file or directory)");
        assert_eq!(os_error(&io::Error::other("gone")), " (gone)");
    }
}
