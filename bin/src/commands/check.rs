//! `foregate check`: is this configuration right, and if not, where and what to write instead.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use foregate_conf::{Level, OsFiles, Source, render};
use foregate_core::Json;
use foregate_net::{names, process::is_superuser};
use foregate_server::Setup;
use foregate_server::diagnose::{self, Examined, Finding, Listed, Verdict, lint, place_text};

use super::{Arg, Args, unknown};
use crate::built;

const HELP: &str = "Usage: foregate check [-c FILE] [-p PREFIX] [--lint] [--compat] [--offline] [--json]

Says whether a configuration is right, and where it is not. Opens no port, no log and no pid file, so that anybody may
run it at any time.

  -c FILE      the configuration file (default: /etc/nginx/nginx.conf); \"foregate check FILE\" means the same
  -p PREFIX    the prefix that relative paths start from
  --lint       look for well-known traps too: each with its place, why it is one, and the repair
  --compat     list every directive, of included files too: supported, ignored (why) or refused (why)
  --offline    ask no name server and read no certificate: for a configuration that belongs to another machine
  --json       one JSON object on stdout: valid, errors, warnings, findings; with --compat directives and counts

Exit status: 0, or 1 where the configuration cannot be used, with --compat where any directive is refused.
Traps alone do not make it 1.
";

/// What the command line asked for.
#[derive(Default)]
struct Wish {
    file: Option<String>,
    prefix: Option<String>,
    lint: bool,
    compat: bool,
    json: bool,
    offline: bool,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let mut wish = Wish::default();
    let mut args = Args::new(args);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Flag(name) => match name.as_str() {
                "c" if wish.file.is_none() => wish.file = Some(args.value("c")?),
                "p" => wish.prefix = Some(args.value("p")?),
                "lint" => wish.lint = true,
                "compat" => wish.compat = true,
                "json" => wish.json = true,
                "offline" => wish.offline = true,
                "help" | "h" => return Ok(help(HELP)),
                _ => return Err(unknown(&Arg::Flag(name))),
            },
            Arg::Plain(path) if wish.file.is_none() => wish.file = Some(path),
            other => return Err(unknown(&other)),
        }
    }
    let setup = setup(wish.file.as_deref(), wish.prefix.as_deref())?;
    if wish.offline {
        names::go_offline();
    }
    let examined = diagnose::examine(&setup, &OsFiles, wish.offline);
    let report = Report::new(&wish, &examined);
    match wish.json {
        true => println!("{}", report.to_json()),
        false => report.print(&setup.conf),
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn help(text: &str) -> ExitCode {
    print!("{text}");
    ExitCode::SUCCESS
}

/// What is needed to look at a configuration file, the default one where none is named.
pub(super) fn setup(file: Option<&str>, prefix: Option<&str>) -> Result<Setup, String> {
    let file = file.unwrap_or(built::CONF_PATH);
    let conf = std::path::absolute(file).map_err(|e| format!("{file}: {e}"))?;
    Ok(Setup {
        conf,
        prefix: PathBuf::from(prefix.unwrap_or(built::PREFIX)),
        error_log: Path::new(built::ERROR_LOG_PATH).into(),
        globals: Vec::new(),
        pid: PathBuf::from(built::PID_PATH),
        privileged: is_superuser(),
    })
}

/// All that there is to say.
struct Report<'a> {
    sources: &'a [Source],
    /// Why the configuration cannot be used.
    error: Option<Finding>,
    warnings: Vec<Finding>,
    traps: Option<Vec<Finding>>,
    listed: Option<Vec<Listed>>,
}

impl<'a> Report<'a> {
    fn new(wish: &Wish, examined: &'a Examined) -> Self {
        let traps = wish.lint.then(|| lint::lint(&examined.nodes));
        let listed = wish.compat.then(|| diagnose::list(&examined.nodes));
        let warnings = examined.warnings.iter().cloned().map(Finding::of_load);
        Self {
            sources: &examined.sources,
            error: examined.outcome.as_ref().err().cloned().map(Finding::of_load),
            warnings: warnings.collect(),
            traps,
            listed,
        }
    }

    fn is_good(&self) -> bool {
        self.error.is_none() && self.counts().is_none_or(|it| it.refused == 0)
    }

    fn counts(&self) -> Option<Counts> {
        self.listed.as_deref().map(Counts::of)
    }

    fn to_json(&self) -> Json {
        let all = |findings: &[Finding]| Json::list(findings.iter().map(|it| it.to_json(self.sources)));
        let mut members = vec![
            ("valid", self.error.is_none().into()),
            ("errors", all(self.error.as_slice())),
            ("warnings", all(&self.warnings)),
            ("findings", all(self.traps.as_deref().unwrap_or_default())),
        ];
        if let (Some(listed), Some(counts)) = (&self.listed, self.counts()) {
            members.push(("directives", Json::list(listed.iter().map(|it| it.to_json(self.sources)))));
            members.push(("counts", counts.to_json()));
        }
        Json::Object(members)
    }

    fn print(&self, conf: &Path) {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let told = self.warnings.iter().chain(&self.error).chain(self.traps.iter().flatten());
        told.for_each(|it| show(it, self.sources, colour));
        if let (Some(listed), Some(counts)) = (&self.listed, self.counts()) {
            print!("{}", table(listed, &counts, self.sources));
        }
        eprintln!("{}", self.verdict(conf));
    }

    /// The last line: what all of it comes to.
    fn verdict(&self, conf: &Path) -> String {
        let name = conf.display();
        let traps = self.traps.as_ref().map(|it| match it.len() {
            0 => " No traps were found.".to_owned(),
            1 => " 1 trap was found.".to_owned(),
            n => format!(" {n} traps were found."),
        });
        let traps = traps.unwrap_or_default();
        match (&self.error, self.warnings.len()) {
            (Some(_), _) => format!("{name} cannot be used.{traps}"),
            (None, 0) => format!("{name} is right.{traps}"),
            (None, 1) => format!("{name} can be used; there is 1 warning.{traps}"),
            (None, n) => format!("{name} can be used; there are {n} warnings.{traps}"),
        }
    }
}

fn show(finding: &Finding, sources: &[Source], colour: bool) {
    let error = &finding.error;
    let (paint, plain) = match (colour, error.level) {
        (false, _) => ("", ""),
        (true, Level::Warn) => ("\x1b[1;33m", "\x1b[0m"),
        (true, Level::Notice) => ("\x1b[1;36m", "\x1b[0m"),
        (true, _) => ("\x1b[1;31m", "\x1b[0m"),
    };
    let code = match finding.code {
        "configuration-error" | "configuration-warning" => String::new(),
        code => format!("[{code}]"),
    };
    eprintln!("{paint}{}{code}:{plain} {}", finding.severity(), render(error, sources, colour));
}

/// Directives by what becomes of them.
struct Counts {
    supported: u64,
    ignored: u64,
    refused: u64,
}

impl Counts {
    fn of(listed: &[Listed]) -> Self {
        let count = |word: &str| listed.iter().filter(|it| it.verdict.word() == word).count() as u64;
        Self { supported: count("supported"), ignored: count("ignored"), refused: count("refused") }
    }

    fn to_json(&self) -> Json {
        Json::Object(vec![
            ("supported", self.supported.into()),
            ("ignored", self.ignored.into()),
            ("refused", self.refused.into()),
        ])
    }
}

/// The supported ones by name with their number, each other one with its place and its reason.
fn table(listed: &[Listed], counts: &Counts, sources: &[Source]) -> String {
    let mut out = String::new();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for it in listed.iter().filter(|it| it.verdict == Verdict::Supported) {
        *names.entry(&it.name).or_default() += 1;
    }
    // Writing to a string cannot fail.
    _ = writeln!(out, "supported: {}", counts.supported);
    for (name, n) in names {
        _ = if n > 1 { writeln!(out, "  {name} ({n})") } else { writeln!(out, "  {name}") };
    }
    _ = writeln!(out, "ignored: {}", counts.ignored);
    for it in listed {
        if let Verdict::TunedAway(why) = &it.verdict {
            _ = writeln!(out, "  {} in {}: {why}", it.name, place_text(it.span, sources));
        }
    }
    _ = writeln!(out, "refused: {}", counts.refused);
    for it in listed {
        if let Verdict::Refused { why, instead } = &it.verdict {
            _ = writeln!(out, "  {} in {}: {why}", it.name, place_text(it.span, sources));
            if let Some(instead) = instead {
                _ = writeln!(out, "    help: {instead}");
            }
        }
    }
    out
}
