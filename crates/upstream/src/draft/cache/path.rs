//! `…_cache_path`: a folder, the zone that keeps its keys, and the limits of both.

use std::path::PathBuf;
use std::time::Duration;

use foregate_cache as cache;
use foregate_cache::Pace;
use foregate_conf::{Error, Node, Span, Word, value};
use foregate_core::{Compile, ZoneSpec};

use super::CacheDraft;

/// As nginx: two pages.
const ZONE_BYTES_MIN: u64 = 2 * 4096;
/// As nginx: folders within folders, and the characters of their names.
const LEVELS_MAX: usize = 3;
const LEVEL_CHARS_MAX: usize = 2;

/// Our own: what is asked for often is served out of memory, up to so much.
pub(super) const MEMORY_BYTES: u64 = 64 << 20;

/// nginx's defaults.
const INACTIVE: Duration = Duration::from_secs(600);
pub(super) const PACE: Pace =
    Pace { files: 100, sleep: Duration::from_millis(50), threshold: Duration::from_millis(200) };

/// One directive as read.
#[derive(Clone)]
pub struct Line {
    pub(super) zone: ZoneSpec,
    pub(super) span: Span,
    /// Its name.
    pub(super) directive: &'static str,
    path: Word,
    levels: Vec<usize>,
    inactive: Duration,
    max_bytes: u64,
    min_free_bytes: u64,
    memory_bytes: u64,
    redis: Option<String>,
    use_temp_path: bool,
    manager: Pace,
    loader: Pace,
    /// nginx's commercial edition removes what a wildcard purges only if it is told to; here it is always done.
    purger: Pace,
}

impl Line {
    pub(super) fn spec(&self, cx: &Compile<'_>) -> cache::ZoneSpec {
        cache::ZoneSpec {
            name: self.zone.name.clone(),
            // Without a slash at its end, so that paths are equal where folders are.
            path: cx.full_path(&self.path).components().collect::<PathBuf>(),
            levels: self.levels.clone(),
            bytes: self.zone.bytes,
            inactive: self.inactive,
            max_bytes: self.max_bytes,
            min_free_bytes: self.min_free_bytes,
            memory_bytes: self.memory_bytes,
            redis: self.redis.clone(),
            use_temp_path: self.use_temp_path,
            manager: self.manager,
            loader: self.loader,
        }
    }
}

/// Reads the directive of this name.
pub fn read(o: &mut CacheDraft, directive: &'static str, node: &Node) -> Result<(), Error> {
    let mut line = Line {
        zone: ZoneSpec { name: String::new(), bytes: 0 },
        span: node.span,
        directive,
        path: node.args[0].clone(),
        levels: Vec::new(),
        inactive: INACTIVE,
        max_bytes: u64::MAX,
        min_free_bytes: 0,
        memory_bytes: MEMORY_BYTES,
        redis: None,
        use_temp_path: true,
        manager: PACE,
        loader: PACE,
        purger: PACE,
    };
    for word in &node.args[1..] {
        let (name, text) = word.split_once('=').unwrap_or((word, ""));
        line.parameter(word, name, text)?;
    }
    if line.zone.name.is_empty() {
        return Err(Error::at(node.span, format!("\"{}\" must have \"keys_zone\" parameter", node.name))
            .advise("such as keys_zone=one:10m: a name, and room for 8,000 keys a megabyte"));
    }
    o.paths.push(line);
    Ok(())
}

impl Line {
    fn parameter(&mut self, word: &Word, name: &str, text: &str) -> Result<(), Error> {
        let invalid = || Error::at(word.span, format!("invalid {name} value \"{word}\""));
        let seconds = || value::time_s(text).map(Duration::from_secs).ok_or_else(invalid);
        match name {
            "levels" => {
                let levels = levels(text);
                self.levels =
                    levels.ok_or_else(|| Error::at(word.span, format!("invalid \"levels\" \"{word}\"")))?;
            }
            "use_temp_path" => {
                self.use_temp_path = match text {
                    "on" => true,
                    "off" => false,
                    _ => {
                        let what =
                            format!("invalid use_temp_path value \"{word}\", it must be \"on\" or \"off\"");
                        return Err(Error::at(word.span, what));
                    }
                }
            }
            "keys_zone" => self.zone = zone(word, text)?,
            "inactive" => self.inactive = seconds()?,
            "max_size" => self.max_bytes = value::offset(text).ok_or_else(invalid)?,
            "redis" if text.is_empty() => return Err(invalid()),
            "redis" => self.redis = Some(text.to_owned()),
            "memory" if text == "off" => self.memory_bytes = 0,
            "memory" => self.memory_bytes = value::offset(text).ok_or_else(invalid)?,
            "min_free" => self.min_free_bytes = value::offset(text).ok_or_else(invalid)?,
            "purger" => {
                if !matches!(text, "on" | "off") {
                    return Err(invalid());
                }
            }
            _ => {
                let (whose, what) = name.split_once('_').unwrap_or((name, ""));
                let pace = match whose {
                    "manager" => Some(&mut self.manager),
                    "loader" => Some(&mut self.loader),
                    "purger" => Some(&mut self.purger),
                    _ => None,
                };
                let time = || value::time_ms(text).map(Duration::from_millis).ok_or_else(invalid);
                match (pace, what) {
                    (Some(pace), "files") => pace.files = value::number(text).ok_or_else(invalid)?,
                    (Some(pace), "sleep") => pace.sleep = time()?,
                    (Some(pace), "threshold") => pace.threshold = time()?,
                    _ => return Err(Error::at(word.span, format!("invalid parameter \"{word}\""))),
                }
            }
        }
        Ok(())
    }
}

/// `1:2`
fn levels(text: &str) -> Option<Vec<usize>> {
    let level = |it: &str| it.parse().ok().filter(|n| (1..=LEVEL_CHARS_MAX).contains(n) && it.len() == 1);
    let levels: Vec<usize> = text.split(':').map(level).collect::<Option<_>>()?;
    (levels.len() <= LEVELS_MAX).then_some(levels)
}

/// `NAME:SIZE`
fn zone(word: &Word, text: &str) -> Result<ZoneSpec, Error> {
    let invalid = || {
        Error::at(word.span, format!("invalid keys zone size \"{word}\"")).advise("such as keys_zone=one:10m")
    };
    let (name, size) = text.split_once(':').ok_or_else(invalid)?;
    let bytes = value::size(size).ok_or_else(invalid)?;
    if bytes < ZONE_BYTES_MIN {
        return Err(
            Error::at(word.span, format!("keys zone \"{word}\" is too small")).advise("8k is the least")
        );
    }
    Ok(ZoneSpec { name: name.to_owned(), bytes })
}
