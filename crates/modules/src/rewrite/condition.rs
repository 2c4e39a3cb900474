//! The condition of an `if`.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Level, Regex, Template, TooHard, log};

/// A compiled condition.
pub(super) enum Condition {
    /// True unless empty or "0".
    Truth(Template),
    Equal { left: Template, right: Template, negated: bool },
    Match { subject: Template, regex: Box<Regex>, negated: bool },
    File { path: Template, what: FileTest, negated: bool },
}

#[derive(Clone, Copy)]
pub(super) enum FileTest {
    Plain,
    Folder,
    Exists,
    Executable,
}

impl Condition {
    /// The words inside the parentheses: `$a`, `$a = b`, `$a ~ re`, `-f path` and their negations.
    pub(super) fn compile(words: &[Word], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let invalid = |word: &Word| Err(Error::at(word.span, format!("invalid condition \"{word}\"")));
        match words {
            [variable] if is_variable(variable) => Ok(Self::Truth(cx.template(variable)?)),
            [variable, operator, value] if is_variable(variable) => {
                let left = cx.template(variable)?;
                let negated = operator.text.starts_with('!');
                match operator.text.trim_start_matches('!') {
                    "=" => Ok(Self::Equal { left, right: cx.template(value)?, negated }),
                    "~" | "~*" => {
                        let regex = Box::new(cx.regex(value, operator.text.ends_with('*'))?);
                        Ok(Self::Match { subject: left, regex, negated })
                    }
                    _ => Err(Error::at(operator.span, format!("unexpected \"{operator}\" in condition"))
                        .advise("one of: = != ~ ~* !~ !~*")),
                }
            }
            [operator, path] => {
                let what = match operator.text.trim_start_matches('!') {
                    "-f" => FileTest::Plain,
                    "-d" => FileTest::Folder,
                    "-e" => FileTest::Exists,
                    "-x" => FileTest::Executable,
                    _ => return invalid(operator),
                };
                Ok(Self::File { path: cx.template(path)?, what, negated: operator.text.starts_with('!') })
            }
            [word, ..] => invalid(word),
            [] => Err(Error::plain("invalid condition \"\"")),
        }
    }

    pub(super) fn holds(&self, ex: &mut Exchange, logs: bool) -> Result<bool, TooHard> {
        match self {
            Self::Truth(value) => Ok(!matches!(&*value.fill_new(ex), b"" | b"0")),
            Self::Equal { left, right, negated } => {
                Ok((left.fill_new(ex) == right.fill_new(ex)) != *negated)
            }
            Self::Match { subject, regex, negated } => {
                let subject = subject.fill_new(ex);
                let matched = regex.matches(ex, &subject)?;
                if logs {
                    super::program::log_match(ex, regex.pattern(), &subject, matched);
                }
                if !matched {
                    ex.captures.clear();
                }
                Ok(matched != *negated)
            }
            Self::File { path, what, negated } => {
                let path = path.fill_new(ex);
                Ok(what.holds(ex, &path) != *negated)
            }
        }
    }
}

impl FileTest {
    fn holds(self, ex: &Exchange, path: &[u8]) -> bool {
        use std::os::unix::{ffi::OsStrExt, fs::PermissionsExt};
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
        let facts = match std::fs::metadata(path) {
            Ok(facts) => facts,
            Err(why) => {
                let usual = [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory];
                if !usual.contains(&why.kind()) {
                    let why = foregate_net::sys::errno_text(&why);
                    log!(ex, Level::Crit, "stat() \"{}\" failed ({why})", path.display());
                }
                return false;
            }
        };
        match self {
            Self::Plain => facts.is_file(),
            Self::Folder => facts.is_dir(),
            Self::Exists => true,
            Self::Executable => facts.permissions().mode() & 0o100 != 0,
        }
    }
}

fn is_variable(word: &Word) -> bool {
    word.text.len() > 1 && word.text.starts_with('$')
}
