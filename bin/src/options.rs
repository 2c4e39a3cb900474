//! The command line as nginx reads it: short options, glued together or apart, every message on stderr.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What the options asked for. Fields that were not given stay empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `-?` or `-h`: print the version and the list of options.
    pub(crate) help: bool,
    /// `-v`: print the version.
    pub(crate) version: bool,
    /// `-V`: print the version and what this build contains.
    pub(crate) build: bool,
    /// `-t` or `-T`: read and open everything, then exit.
    pub(crate) test: bool,
    /// `-T`: after a successful test write every file read to stdout.
    pub(crate) dump: bool,
    /// `-q`: a successful test says nothing.
    pub(crate) quiet: bool,
    /// `-p`: the prefix that relative paths start from.
    pub(crate) prefix: Option<OsString>,
    /// `-e`: the error log used before the configuration names one; `stderr` is understood.
    pub(crate) error_log: Option<OsString>,
    /// `-c`: the configuration file.
    pub(crate) conf: Option<OsString>,
    /// `-g`: directives of the main context, read before the file. nginx keeps the last one only.
    pub(crate) globals: Option<OsString>,
    /// `-s`: what to tell the running master.
    pub(crate) command: Option<Command>,
}

/// The parameter of `-s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Stop,
    Quit,
    Reopen,
    Reload,
}

impl Command {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"stop" => Some(Self::Stop),
            b"quit" => Some(Self::Quit),
            b"reopen" => Some(Self::Reopen),
            b"reload" => Some(Self::Reload),
            _ => None,
        }
    }
}

impl Options {
    /// Reads the arguments after the program's name. The error is nginx's line without its `nginx: `.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let bytes = arg.as_bytes();
            let Some(letters) = bytes.strip_prefix(b"-") else {
                return Err(format!("invalid option: \"{}\"", arg.display()));
            };
            for (at, &letter) in letters.iter().enumerate() {
                if options.switch(letter) {
                    continue;
                }
                options.parameter(letter, &letters[at + 1..], &mut args)?;
                break;
            }
        }
        Ok(options)
    }

    /// Whether the program only has to print about itself.
    pub(crate) fn shows_version(&self) -> bool {
        self.help || self.version || self.build
    }

    fn switch(&mut self, letter: u8) -> bool {
        match letter {
            b'?' | b'h' => self.help = true,
            b'v' => self.version = true,
            b'V' => self.build = true,
            b't' => self.test = true,
            b'T' => (self.test, self.dump) = (true, true),
            b'q' => self.quiet = true,
            _ => return false,
        }
        true
    }

    /// An option with a parameter: the rest of this argument, or else the next argument.
    fn parameter(
        &mut self,
        letter: u8,
        glued: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let what = match letter {
            b'p' => "directory name",
            b'e' | b'c' => "file name",
            b'g' | b's' => "parameter",
            _ => return Err(format!("invalid option: \"{}\"", OsStr::from_bytes(&[letter]).display())),
        };
        let value = if glued.is_empty() { rest.next() } else { Some(OsString::from_vec(glued.to_vec())) };
        let Some(value) = value else {
            return Err(format!("option \"-{}\" requires {what}", char::from(letter)));
        };
        match letter {
            b'p' => self.prefix = Some(value),
            b'e' => self.error_log = Some(value),
            b'c' => self.conf = Some(value),
            b'g' => self.globals = Some(value),
            _ => match Command::named(value.as_bytes()) {
                Some(command) => self.command = Some(command),
                None => return Err(format!("invalid option: \"-s {}\"", value.display())),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn letters_and_parameters_may_be_glued() {
        let options = parse("-tq -c/etc/x -p /srv -g daemon").expect("because these are nginx's options");
        assert!(options.test && options.quiet && !options.dump);
        assert_eq!(options.conf.as_deref(), Some(OsStr::new("/etc/x")));
        assert_eq!(options.prefix.as_deref(), Some(OsStr::new("/srv")));
        assert_eq!(options.globals.as_deref(), Some(OsStr::new("daemon")));
        assert_eq!(parse("-sreload").map(|o| o.command), Ok(Some(Command::Reload)));
        assert_eq!(parse("-tc x").map(|o| (o.test, o.conf)), Ok((true, Some("x".into()))));
    }

    #[test]
    fn mistakes_read_as_nginx_writes_them() {
        for (line, message) in [
            ("foo", "invalid option: \"foo\""),
            ("-x", "invalid option: \"x\""),
            ("-tx", "invalid option: \"x\""),
            ("--help", "invalid option: \"-\""),
            ("-c", "option \"-c\" requires file name"),
            ("-e", "option \"-e\" requires file name"),
            ("-p", "option \"-p\" requires directory name"),
            ("-g", "option \"-g\" requires parameter"),
            ("-s", "option \"-s\" requires parameter"),
            ("-s foo", "invalid option: \"-s foo\""),
        ] {
            assert_eq!(parse(line), Err(message.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_lone_dash_is_no_mistake() {
        assert_eq!(parse("-"), Ok(Options::default()));
    }
}
