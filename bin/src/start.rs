//! From the command line to what it asks for: the version, a test, a signal, or a server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use foregate_conf::{self as conf, Files, OsFiles, Recording, Source};
use foregate_core::Level;
use foregate_modules::process;
use foregate_net::process::is_superuser;
use foregate_server::{Endpoint, Loaded, Setup, load};

use crate::built;
use crate::log::{Log, stderr};
use crate::master::{self, Generation, Inherited, sockets};
use crate::options::Options;
use crate::{pid_file, signaller, single};

/// Does what the options say, in the order in which nginx looks at them.
pub(crate) fn run(options: Options) -> ExitCode {
    if options.shows_version() {
        show_version(&options);
        if !options.test {
            return ExitCode::SUCCESS;
        }
    }
    let setup = setup(&options);
    let log = Log::start(&setup.error_log, options.test);
    let inherited = Inherited::take(&log);
    let recording = Recording::new(&OsFiles);
    let Some(loaded) = load_and_complain(&setup, &recording, &log) else {
        if options.test {
            stderr(format_args!("configuration file {} test failed", setup.conf.display()));
        }
        return ExitCode::FAILURE;
    };
    if options.test {
        return test(&options, &setup, loaded, &log);
    }
    if let Some(command) = options.command {
        return signaller::run(command, &loaded.cycle.main.pid, &log);
    }
    if loaded.cycle.main.process.daemon && !inherited.is_from_binary() && !master::is_daemon() {
        return master::daemonise(&inherited, &log);
    }
    let draft = Generation::draft(setup, loaded.cycle, recording.into_replay());
    if draft.main.process.master_process {
        master::run(draft, inherited, log)
    } else {
        single::run(draft, inherited, log)
    }
}

/// Loads the configuration; says what there is to say about it. `None`: it cannot be used.
pub(crate) fn load_and_complain(setup: &Setup, files: &dyn Files, log: &Log) -> Option<Loaded> {
    let complain = |errors: &[conf::Error], sources: &[Source]| {
        errors.iter().for_each(|error| log.complain(error, sources));
    };
    match load(setup, files, None) {
        Ok(loaded) => {
            complain(&loaded.warnings, &loaded.sources);
            let user = check_user(&loaded.cycle.main.process);
            complain(user.as_slice(), &loaded.sources);
            user.is_none_or(|error| error.level == conf::Level::Warn).then_some(loaded)
        }
        Err(failed) => {
            complain(&failed.warnings, &failed.sources);
            log.complain(&failed.error, &failed.sources);
            None
        }
    }
}

/// What is wrong with `user`, which only the process that runs can tell.
fn check_user(settings: &process::Settings) -> Option<conf::Error> {
    let at = |what: String| match settings.user_at {
        Some(span) => conf::Error::at(span, what),
        None => conf::Error::plain(what),
    };
    if is_superuser() {
        return master::user(settings).err().map(at);
    }
    let ignored = "makes sense only if the master process runs with super-user privileges, ignored";
    settings.user.is_some().then(|| at(format!("the \"user\" directive {ignored}")).warn())
}

fn show_version(options: &Options) {
    let mut text = if options.build { built::build_text(knows) } else { built::version_line() };
    if options.help {
        text.push_str(&built::options_text());
    }
    // If stderr is closed there is nobody to show it to.
    _ = io::stderr().write_all(text.as_bytes());
}

fn knows(directive: &str) -> bool {
    foregate_modules::directives().iter().any(|(_, name, _)| *name == directive)
}

/// Where everything is, by the options and the built-in paths; relative names start from the prefix.
fn setup(options: &Options) -> Setup {
    let prefix = options.prefix.clone().map_or_else(|| PathBuf::from(built::PREFIX), PathBuf::from);
    let path = |given: &Option<_>, built_in: &str| match given {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(built_in),
    };
    let error_log = path(&options.error_log, built::ERROR_LOG_PATH);
    Setup {
        conf: prefix.join(path(&options.conf, built::CONF_PATH)),
        // `-e stderr` is the stream, not a file in the prefix.
        error_log: if error_log == Path::new("stderr") { error_log } else { prefix.join(error_log) },
        globals: options.globals.iter().map(|text| text.to_string_lossy().into_owned()).collect(),
        pid: PathBuf::from(built::PID_PATH),
        privileged: is_superuser(),
        prefix,
    }
}

/// `-t` and `-T`: opens what the configuration names, then closes it again.
fn test(options: &Options, setup: &Setup, loaded: Loaded, log: &Log) -> ExitCode {
    let conf = setup.conf.display();
    if !options.quiet {
        stderr(format_args!("the configuration file {conf} syntax is ok"));
    }
    if let Err(text) = try_to_open(&loaded) {
        log.write(Level::Emerg, text);
        stderr(format_args!("configuration file {conf} test failed"));
        return ExitCode::FAILURE;
    }
    if !options.quiet {
        stderr(format_args!("configuration file {conf} test is successful"));
    }
    if options.dump {
        // Whoever reads stdout may have seen enough.
        _ = io::stdout().write_all(&conf::dump(&loaded.sources));
    }
    ExitCode::SUCCESS
}

fn try_to_open(loaded: &Loaded) -> Result<(), String> {
    let cycle = &loaded.cycle;
    let user = master::user(&cycle.main.process)?;
    pid_file::test(&cycle.main.pid)?;
    master::files::make_temp_dirs(cycle.temp_dirs(), user.as_ref())?;
    master::files::open_logs(cycle.log_files())?;
    sockets::test(cycle.endpoints.iter().map(Endpoint::spec))
}
