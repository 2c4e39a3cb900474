//! One `access_log`: where its lines go, in which format, and when.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Word, value as values};
use foregate_core::{Compile, Exchange, Level, LogFile, Syslog, Template, log};

use super::files::{self, Cache};
use super::{Format, Known, buffer};

pub(super) struct Access {
    to: Target,
    format: Arc<Format>,
    /// `if=`
    pub(super) only_if: Option<Template>,
}

enum Target {
    File { file: Arc<LogFile>, buffering: Option<Buffering> },
    /// The path holds variables.
    Named { path: Template, root: Option<Template> },
    Syslog(Box<Syslog>),
}

/// `buffer=`, `flush=` and `gzip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buffering {
    pub(super) bytes: usize,
    pub(super) flush: Option<Duration>,
    pub(super) gzip: Option<u32>,
}

/// What `gzip` buffers without a `buffer=`.
const GZIP_BUFFER_BYTES: u64 = 64 * 1024;
const GZIP_LEVEL: u32 = 1;

impl Access {
    /// Compiles `path [format [buffer=…] [gzip[=…]] [flush=…] [if=…]]`.
    pub(super) fn compile(words: &[Word], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let name = words.get(1).map_or("combined", |it| &it.text);
        let known = cx.shared.get_or_default::<Known>();
        let Some(format) = known.formats.get(&name.to_ascii_lowercase()).cloned() else {
            return Err(unknown_format(words.get(1).unwrap_or(&words[0]), known));
        };
        let parameters = Parameters::read(words.get(2..).unwrap_or_default(), cx)?;
        let buffering = parameters.buffering(&words[0])?;
        let to = Target::compile(&words[0], buffering, cx)?;
        Ok(Self { to, format, only_if: parameters.only_if })
    }

    pub(super) fn write(&self, cache: Option<&Cache>, ex: &mut Exchange) {
        let fill = |ex: &mut Exchange, out: &mut Vec<u8>| {
            self.format.fill(ex, out);
            out.push(b'\n');
        };
        match &self.to {
            Target::File { file, buffering } => {
                buffer::append(file, buffering.as_ref(), |out| fill(ex, out));
            }
            Target::Named { path, root } => {
                if root.as_ref().is_none_or(|root| root_exists(root, ex)) {
                    let path = path.fill_new(ex);
                    let mut line = Vec::new();
                    fill(ex, &mut line);
                    files::write(Path::new(std::ffi::OsStr::from_bytes(&path)), cache, &line, ex);
                }
            }
            Target::Syslog(syslog) => {
                if syslog.send(|out| self.format.fill(ex, out)).is_err() {
                    log!(ex, Level::Warn, "send() to syslog failed");
                }
            }
        }
    }
}

impl Target {
    fn compile(word: &Word, buffering: Option<Buffering>, cx: &mut Compile<'_>) -> Result<Self, Error> {
        let fail = |what: &str| Err(Error::at(word.span, what));
        if Syslog::is_meant(word) {
            return match buffering {
                Some(_) => fail("logs to syslog cannot be buffered"),
                None => Ok(Self::Syslog(Box::new(Syslog::parse(word)?))),
            };
        }
        let path = cx.full_path(word);
        if word.contains('$') {
            if buffering.is_some() {
                return fail("buffered logs cannot have variables in name");
            }
            let full = Word::new(path.into_os_string().into_encoded_bytes(), word.span, word.quoted);
            return Ok(Self::Named { path: cx.template(&full)?, root: root(word, cx)? });
        }
        if let Some(buffering) = buffering {
            let buffered = &mut cx.shared.get_or_default::<Known>().buffered;
            if *buffered.entry(path.clone()).or_insert(buffering) != buffering {
                return fail(&format!("access_log \"{word}\" already defined with conflicting parameters"));
            }
        }
        cx.log_files.push(path.clone());
        Ok(Self::File { file: LogFile::of(&path), buffering })
    }
}

/// A name from the client shall make no files: such a log is written only where the folder that the request would
/// be served from exists.
fn root(word: &Word, cx: &mut Compile<'_>) -> Result<Option<Template>, Error> {
    match cx.variables.find("document_root") {
        Some(_) => cx.template(&Word::new(b"$document_root".to_vec(), word.span, false)).map(Some),
        None => Ok(None),
    }
}

fn root_exists(root: &Template, ex: &mut Exchange) -> bool {
    let root = root.fill_new(ex);
    let root = Path::new(std::ffi::OsStr::from_bytes(&root));
    let why = match std::fs::metadata(root) {
        Ok(facts) if facts.is_dir() => return true,
        Ok(_) => " (20: Not a directory)".to_owned(),
        Err(why) => foregate_conf::os_error(&why),
    };
    log!(ex, Level::Error, "testing \"{}\" existence failed{why}", root.display());
    false
}

fn unknown_format(word: &Word, known: &Known) -> Error {
    let error = Error::at(word.span, format!("unknown log format \"{word}\""));
    if word.contains('=') {
        return error.advise(format!("the format comes before the parameters: access_log PATH combined {word}"));
    }
    match foregate_conf::suggest(word, known.formats.keys().map(String::as_str)) {
        Some(near) => error.advise(format!("did you mean {near}?")),
        None => error,
    }
}

#[derive(Default)]
struct Parameters {
    size: Option<u64>,
    flush: Option<Duration>,
    gzip: Option<u32>,
    only_if: Option<Template>,
}

impl Parameters {
    fn read(words: &[Word], cx: &mut Compile<'_>) -> Result<Self, Error> {
        let mut all = Self::default();
        for word in words {
            let bad = |what: &str, value: &str| Error::at(word.span, format!("invalid {what} \"{value}\""));
            match word.split_once('=') {
                Some(("buffer", value)) => {
                    let size = values::size(value).filter(|it| *it > 0);
                    all.size = Some(size.ok_or_else(|| bad("buffer size", value))?);
                }
                Some(("flush", value)) => {
                    let flush = values::time_ms(value).filter(|it| *it > 0).map(Duration::from_millis);
                    all.flush = Some(flush.ok_or_else(|| bad("flush time", value))?);
                }
                Some(("gzip", value)) => {
                    let level = values::number(value).filter(|it| (1..=9).contains(it));
                    all.gzip = Some(level.ok_or_else(|| bad("compression level", value))? as u32);
                    all.size = all.size.or(Some(GZIP_BUFFER_BYTES));
                }
                None if *word == "gzip" => {
                    all.gzip = Some(GZIP_LEVEL);
                    all.size = all.size.or(Some(GZIP_BUFFER_BYTES));
                }
                Some(("if", _)) => all.only_if = Some(cx.template(&word.trimmed("if=".len(), 0))?),
                _ => return Err(bad("parameter", word)),
            }
        }
        Ok(all)
    }

    fn buffering(&self, path: &Word) -> Result<Option<Buffering>, Error> {
        match self.size {
            Some(size) => Ok(Some(Buffering { bytes: size as usize, flush: self.flush, gzip: self.gzip })),
            None if self.flush.is_some() => {
                Err(Error::at(path.span, format!("no buffer is defined for access_log \"{path}\"")))
            }
            None => Ok(None),
        }
    }
}
