//! The condition of an `if`.

use foregate_conf::Error;
use foregate_core::{Compile, Exchange, Regex, Template, TooHard};

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
    pub(super) fn compile(written: &foregate_conf::Condition, cx: &mut Compile<'_>) -> Result<Self, Error> {
        use foregate_conf::Condition as Written;
        Ok(match written {
            Written::Variable(variable) => Self::Truth(cx.template(variable)?),
            Written::Equals { variable, value, negated } => {
                Self::Equal { left: cx.template(variable)?, right: cx.template(value)?, negated: *negated }
            }
            Written::Matches { variable, pattern, nocase, negated } => {
                let regex = Box::new(cx.regex(pattern, *nocase)?);
                Self::Match { subject: cx.template(variable)?, regex, negated: *negated }
            }
            Written::File { test, path, negated } => {
                let what = match test {
                    b'f' => FileTest::Plain,
                    b'd' => FileTest::Folder,
                    b'e' => FileTest::Exists,
                    _ => FileTest::Executable,
                };
                Self::File { path: cx.template(path)?, what, negated: *negated }
            }
        })
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
    fn holds(self, ex: &mut Exchange, path: &[u8]) -> bool {
        let cycle = ex.cycle.clone();
        let Some(files) = &crate::settings(&*cycle, ex.location).files else { return false };
        files.look(ex, path).is_some_and(|it| match self {
            Self::Plain => it.is_file,
            Self::Folder => it.is_folder,
            Self::Exists => true,
            Self::Executable => it.is_executable,
        })
    }
}
