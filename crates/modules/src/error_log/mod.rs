//! `error_log`: where lines about trouble go, and from which level on.

use std::sync::Arc;

use foregate_conf::{Error, Node, Word};
use foregate_core::error_log::{Sink, Target};
use foregate_core::{Args, Compile, Directive, ErrorLog, Level, LogFile, Scope, Syslog};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// Each `error_log` of the block, or of the one around it.
    logs: Option<Vec<Vec<Word>>>,
}

/// Where the lines of one place go. Without settings they go to the built-in error log.
pub struct Settings {
    pub log: ErrorLog,
}

/// Parts of nginx whose debugging it can switch on one by one: all of them are `debug` here.
const DEBUG_LEVELS: [&str; 7] =
    ["debug_core", "debug_alloc", "debug_mutex", "debug_event", "debug_http", "debug_mail", "debug_stream"];

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[Directive::own(
        "error_log",
        Scope::MAIN.or(Scope::ANY_HTTP),
        Args::AtLeast(1),
        read,
        inherit,
    )];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(logs) = options.logs else { return Ok(None) };
        let mut sinks = logs.iter().map(|words| sink(words, cx)).collect::<Result<Vec<_>, _>>()?;
        // Most talkative first: whether anybody wants a line is then mostly known at once.
        sinks.sort_by_key(|it| std::cmp::Reverse(it.level));
        Ok(Some(Settings { log: ErrorLog { sinks } }))
    }
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    level(&node.args[1..])?;
    o.logs.get_or_insert_default().push(node.args.clone());
    Ok(())
}

fn inherit(o: &mut Options, outer: &Options) {
    if o.logs.is_none() {
        o.logs.clone_from(&outer.logs);
    }
}

fn sink(words: &[Word], cx: &mut Compile<'_>) -> Result<Sink, Error> {
    let target = &words[0];
    let to = match target.text.as_str() {
        "stderr" => {
            // Not to be opened: the server sees by it that this stream is used.
            cx.log_files.push("stderr".into());
            Target::File(LogFile::stderr())
        }
        text if Syslog::is_meant(text) => Target::Lines(Arc::new(Syslog::parse(target)?)),
        text if text.starts_with("memory:") => {
            return Err(Error::at(target.span, "nginx was built without debug support")
                .advise("log to a file: a cyclic buffer in memory is for debugging nginx itself"));
        }
        text => {
            let path = cx.full_path(text);
            cx.log_files.push(path.clone());
            Target::File(LogFile::of(&path))
        }
    };
    Ok(Sink { level: level(&words[1..])?, to })
}

/// The level behind the target; `error` where none is named.
fn level(words: &[Word]) -> Result<Level, Error> {
    let invalid = |word: &Word| {
        Error::at(word.span, format!("invalid log level \"{word}\""))
            .advise("one of: debug, info, notice, warn, error, crit, alert, emerg")
    };
    let mut found = None;
    for word in words {
        let debug = DEBUG_LEVELS.contains(&word.text.as_str());
        let level = if debug { Some(Level::Debug) } else { Level::named(word) };
        match (level, found) {
            (None, _) => return Err(invalid(word)),
            (Some(_), Some((_, false))) if debug => return Err(invalid(word)),
            (Some(_), Some(_)) if !debug => {
                return Err(Error::at(word.span, format!("duplicate log level \"{word}\"")));
            }
            (Some(level), _) => found = Some((level, debug)),
        }
    }
    Ok(found.map_or(Level::Error, |it| it.0))
}

#[cfg(test)]
mod tests {
    use foregate_core::{Level, error_log::Target, log};

    use crate::testing::{Site, error};

    #[test]
    fn mistakes_are_told_as_nginx_tells_them() {
        for (conf, expected) in [
            ("error_log logs/x;", ""),
            ("error_log logs/x debug_http debug_event;", ""),
            ("error_log logs/x loud;", "invalid log level \"loud\""),
            ("error_log logs/x warn error;", "duplicate log level \"error\""),
            ("error_log logs/x warn debug_http;", "invalid log level \"debug_http\""),
            ("error_log syslog:tag=x;", "no syslog server specified"),
            ("error_log memory:32m debug;", "nginx was built without debug support"),
        ] {
            assert_eq!(error(conf), expected, "{conf}");
        }
    }

    #[test]
    fn a_block_with_a_log_of_its_own_has_none_of_the_outer_ones() {
        let files = |conf: &str| {
            let site = Site::new(conf);
            let log = &site.settings().error_log.as_ref().unwrap().log;
            let name = |to: &Target| match to {
                Target::File(file) => file.path().display().to_string(),
                Target::Lines(_) => "lines".to_owned(),
            };
            log.sinks.iter().map(|it| format!("{} {}", it.level.name(), name(&it.to))).collect::<Vec<_>>()
        };
        let two = "error_log a crit; error_log stderr info;";
        assert_eq!(files(&format!("{two} server {{}}")), ["info stderr", "crit /etc/nginx/a"]);
        assert_eq!(files(&format!("{two} server {{ error_log /b; }}")), ["error /b"]);
        assert!(Site::new("server {}").settings().error_log.is_none());
        assert_eq!(Site::new(two).log_files, ["/etc/nginx/a", "stderr"].map(std::path::PathBuf::from));
    }

    #[test]
    fn a_line_has_nginxs_form() {
        let path = std::env::temp_dir().join(format!("foregate-error-log-{}", std::process::id()));
        let site = Site::new(&format!("error_log {} warn;", path.display()));
        let sinks = &site.settings().error_log.as_ref().unwrap().log;
        let Target::File(file) = &sinks.sinks[0].to else { panic!("a file") };
        file.open().unwrap();
        let mut house = foregate_core::testing::House::default();
        house.error_log = sinks.clone();
        let ex = house.exchange("GET /a HTTP/1.1\nHost: h\nReferer: r");
        log!(ex, Level::Notice, "too quiet");
        log!(ex, Level::Warn, "loud enough");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let pid = std::process::id();
        let (time, rest) = text.split_at("2026/11/21 09:21:48".len());
        assert!(time.bytes().all(|b| b.is_ascii_digit() || b"/: ".contains(&b)), "{time}");
        assert_eq!(
            rest,
            format!(
                " [warn] {pid}#{pid}: *1 loud enough, client: 127.0.0.1, server: localhost, \
                 request: \"GET /a HTTP/1.1\", host: \"h\", referrer: \"r\"\n"
            )
        );
    }
}
