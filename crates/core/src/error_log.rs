//! `error_log`: lines in nginx's exact form, so that fail2ban and its kin read them.

use std::fmt::{self, Write};
use std::sync::Arc;

use crate::log_file::LogFile;
use crate::time;

/// How grave a line is, gravest first, as syslog counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

const NAMES: [(Level, &str); 8] = [
    (Level::Emerg, "emerg"),
    (Level::Alert, "alert"),
    (Level::Crit, "crit"),
    (Level::Error, "error"),
    (Level::Warn, "warn"),
    (Level::Notice, "notice"),
    (Level::Info, "info"),
    (Level::Debug, "debug"),
];

impl Level {
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, it)| *it == name).map(|(level, _)| *level)
    }

    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }
}

/// Where lines of one place go; the first sink is the gravest configured.
#[derive(Clone, Default)]
pub struct ErrorLog {
    pub sinks: Vec<Sink>,
}

/// One target and the least grave level that it wants.
#[derive(Clone)]
pub struct Sink {
    pub level: Level,
    pub to: Target,
}

#[derive(Clone)]
pub enum Target {
    File(Arc<LogFile>),
    /// Something that takes whole lines without their end: syslog.
    Lines(Arc<dyn Lines>),
}

/// Takes the text of a line (without time and pid, see [`line`]) and its level.
pub trait Lines: Send + Sync {
    fn line(&self, level: Level, text: &str);
}

/// The longest line: nginx cuts at 2048 bytes as well.
const LINE_BYTES_MAX: usize = 2048;

impl ErrorLog {
    pub fn to_file(file: Arc<LogFile>, level: Level) -> Self {
        Self { sinks: vec![Sink { level, to: Target::File(file) }] }
    }

    pub fn wants(&self, level: Level) -> bool {
        self.sinks.iter().any(|sink| level <= sink.level)
    }

    /// A line about the process.
    pub fn write(&self, level: Level, text: &dyn fmt::Display) {
        self.lines(level, |line| _ = write!(line, "{text}"));
    }

    /// A line about a connection: `*96 text`, and behind it what `describe` appends.
    pub fn write_about(
        &self,
        level: Level,
        connection: u64,
        text: &dyn fmt::Display,
        describe: &dyn Fn(&mut String),
    ) {
        self.lines(level, |line| {
            _ = write!(line, "*{connection} {text}");
            describe(line);
        });
    }

    fn lines(&self, level: Level, fill: impl Fn(&mut String)) {
        let mut text = String::new();
        fill(&mut text);
        if text.len() > LINE_BYTES_MAX {
            let cut = (0..=LINE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
        }
        for sink in self.sinks.iter().filter(|sink| level <= sink.level) {
            match &sink.to {
                Target::File(file) => file.write(format!("{}\n", line(level, &text)).as_bytes()),
                Target::Lines(lines) => lines.line(level, &text),
            }
        }
    }
}

/// `2026/11/21 09:21:48 [error] 19891#19891: text`, without a line end.
pub fn line(level: Level, text: &str) -> String {
    let pid = std::process::id();
    format!("{} [{}] {pid}#{pid}: {text}", time::error_log(time::now_s()), level.name())
}
