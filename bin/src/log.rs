//! Where the master writes: the start's error log with an echo on stderr, later the logs of the configuration.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use foregate_conf as conf;
use foregate_core::{ErrorLog, Level, LogFile};
use foregate_net::sys::errno_text;

use crate::built;

/// The master's log.
#[derive(Clone)]
pub(crate) struct Log {
    to: ErrorLog,
    /// While nobody reads the log yet, grave lines are also written to stderr.
    echo: bool,
    colour: bool,
}

impl Log {
    /// The log of the start: the file of `-e`, or stderr when it is called so or cannot be opened.
    pub(crate) fn start(path: &Path, testing: bool) -> Self {
        let level = if testing { Level::Info } else { Level::Notice };
        make_room(path);
        let mut file = LogFile::of(path);
        let mut echo = path != Path::new("stderr");
        if let Err(error) = file.open() {
            stderr(format_args!(
                "[alert] could not open error log file: open() \"{}\" failed ({})",
                path.display(),
                errno_text(&error)
            ));
            file = LogFile::stderr();
            echo = false;
        }
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { to: ErrorLog::to_file(file, level), echo, colour }
    }

    /// From now on lines go where the configuration says.
    pub(crate) fn follow(&mut self, to: ErrorLog) {
        self.to = to;
    }

    /// From now on stderr is nobody's terminal.
    pub(crate) fn stop_echo(&mut self) {
        self.echo = false;
    }

    pub(crate) fn write(&self, level: Level, text: impl Display) {
        self.to.write(level, &text);
        if self.echo && level <= Level::Warn {
            stderr(format_args!("[{}] {text}", level.name()));
        }
    }

    /// A complaint about the configuration: one line in the log, with the place and the advice on a terminal.
    pub(crate) fn complain(&self, error: &conf::Error, sources: &[conf::Source]) {
        let level = Level::named(error.level.name()).unwrap_or(Level::Emerg);
        let plain = conf::render(error, sources, false);
        self.to.write(level, &plain.lines().next().unwrap_or_default());
        if self.echo && level <= Level::Warn {
            let shown = conf::render(error, sources, self.colour);
            stderr(format_args!("[{}] {}", level.name(), shown.trim_end()));
        }
    }
}

/// Makes the folder of a default path where no package has made it. Elsewhere a missing folder is a mistake to name.
pub(crate) fn make_room(path: &Path) {
    for dir in built::OWN_DIRS {
        if path.starts_with(dir) && !Path::new(dir).exists() {
            // Without the right to it, opening the file says so.
            _ = std::fs::create_dir(dir);
        }
    }
}

/// A line of the program itself on stderr, as nginx begins them.
pub(crate) fn stderr(text: impl Display) {
    // If even stderr is closed there is nobody left to tell.
    _ = writeln!(io::stderr(), "nginx: {text}");
}

/// `open() "/run/nginx.pid" failed (13: Permission denied)`
pub(crate) fn failed(call: &str, path: &Path, error: &io::Error) -> String {
    format!("{call} \"{}\" failed ({})", path.display(), errno_text(error))
}
