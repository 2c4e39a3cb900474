//! What concerns the processes: `user`, `worker_processes`, `pid`, `daemon`, `events { … }`.

use std::time::Duration;

use foregate_conf::{Error, Node, Span, Word, value as values};
use foregate_core::{Args, Compile, Directive, Scope, duplicate};
use foregate_net::events::Events;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    user: Option<(String, Option<String>)>,
    user_at: Option<Span>,
    daemon: Option<bool>,
    master_process: Option<bool>,
    pid: Option<Word>,
    workers: Option<usize>,
    nofile: Option<u64>,
    shutdown_timeout: Option<Duration>,
    env: Vec<String>,
    connections: Option<u64>,
    use_: Option<Word>,
    accept_mutex: Option<bool>,
    multi_accept: Option<bool>,
    load_module: Vec<Word>,
    hardening: Option<Hardening>,
}

/// What the master and the worker's start read.
#[derive(Clone, Debug)]
pub struct Settings {
    pub user: Option<(String, Option<String>)>,
    /// Where `user` stands: whether it can be obeyed only the master knows.
    pub user_at: Option<Span>,
    pub daemon: bool,
    pub master_process: bool,
    /// As written; relative ones start from the prefix. Empty: the built-in path.
    pub pid: Option<String>,
    /// Threads of the worker.
    pub workers: usize,
    pub nofile: Option<u64>,
    pub shutdown_timeout: Option<Duration>,
    /// `NAME` or `NAME=value`.
    pub env: Vec<String>,
    /// Client connections for each thread.
    pub connections: usize,
    /// How threads wait for sockets; unset is automatic.
    pub events: Option<Events>,
    pub multi_accept: bool,
    pub hardening: Hardening,
}

/// What the worker gives up for good before it serves, besides the rights of the superuser (`hardening`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// Files that the configuration does not name.
    pub landlock: bool,
    /// System calls that serving does not need.
    pub seccomp: bool,
}

impl Hardening {
    const ON: Self = Self { landlock: true, seccomp: true };
    const OFF: Self = Self { landlock: false, seccomp: false };
}

/// nginx's default for `worker_connections`.
const CONNECTIONS: u64 = 512;
/// What `use` has a meaning for. nginx's `poll` and `select` are no better than what is chosen without it.
const EVENTS: [Events; 2] = [Events::Epoll, Events::IoUring];
/// More threads than this is a typing error.
const WORKERS_MAX: usize = 1024;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("user", Scope::MAIN, Args::Between(1, 2), user, keep),
        Directive::flag("daemon", Scope::MAIN, |o| &mut o.daemon),
        Directive::flag("master_process", Scope::MAIN, |o| &mut o.master_process),
        Directive::text("pid", Scope::MAIN, |o| &mut o.pid),
        Directive::own("worker_processes", Scope::MAIN, Args::Exactly(1), workers, keep),
        Directive::number("worker_rlimit_nofile", Scope::MAIN, |o| &mut o.nofile),
        Directive::time("worker_shutdown_timeout", Scope::MAIN, |o| &mut o.shutdown_timeout),
        Directive::own("env", Scope::MAIN, Args::Exactly(1), env, keep),
        Directive::own("load_module", Scope::MAIN, Args::Exactly(1), load_module, keep),
        Directive::own("hardening", Scope::MAIN, Args::Between(1, 2), hardening, keep),
        Directive::number("worker_connections", Scope::EVENTS, |o| &mut o.connections),
        Directive::own("use", Scope::EVENTS, Args::Exactly(1), use_, keep),
        Directive::flag("accept_mutex", Scope::EVENTS, |o| &mut o.accept_mutex),
        Directive::flag("multi_accept", Scope::EVENTS, |o| &mut o.multi_accept),
    ];

    /// Only the main block has processes.
    fn inherit(_: &mut Options, _: &Options) {}

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(Some(Settings {
            user: options.user,
            user_at: options.user_at,
            daemon: options.daemon.unwrap_or(true),
            master_process: options.master_process.unwrap_or(true),
            pid: options.pid.map(|it| it.text),
            workers: options.workers.unwrap_or(1),
            nofile: options.nofile,
            shutdown_timeout: options.shutdown_timeout,
            env: options.env,
            connections: options.connections.unwrap_or(CONNECTIONS) as usize,
            events: options.use_.and_then(|it| EVENTS.into_iter().find(|events| events.name() == it.text)),
            multi_accept: options.multi_accept.unwrap_or(false),
            hardening: options.hardening.unwrap_or(Hardening::ON),
        }))
    }
}

fn keep(_: &mut Options, _: &Options) {}

fn user(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.user.is_some() {
        return Err(duplicate(node));
    }
    o.user_at = Some(node.span);
    o.user = Some((node.args[0].text.clone(), node.args.get(1).map(|it| it.text.clone())));
    Ok(())
}

fn workers(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.workers.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    let n = match word.text.as_str() {
        "auto" => std::thread::available_parallelism().map_or(1, usize::from),
        text => values::number(text).map_or(0, |n| n as usize),
    };
    if !(1..=WORKERS_MAX).contains(&n) {
        return Err(Error::directive(node, "invalid value").advise("a number of threads, or auto: one for each core"));
    }
    o.workers = Some(n);
    Ok(())
}

fn env(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.env.push(node.args[0].text.clone());
    Ok(())
}

/// Distributions load nginx's modules by files: ours are built in, so there is nothing to load.
fn load_module(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.load_module.push(node.args[0].clone());
    Ok(())
}

/// `hardening on | off | [landlock] [seccomp]`: ours, not nginx's.
fn hardening(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.hardening.is_some() {
        return Err(duplicate(node));
    }
    let mut chosen = Hardening::OFF;
    for word in &node.args {
        match word.text.as_str() {
            "on" if node.args.len() == 1 => chosen = Hardening::ON,
            "off" if node.args.len() == 1 => {}
            "landlock" => chosen.landlock = true,
            "seccomp" => chosen.seccomp = true,
            _ => {
                let what = format!("invalid value \"{word}\"");
                return Err(Error::at(word.span, what).advise("on, off, landlock, seccomp, or the last two"));
            }
        }
    }
    o.hardening = Some(chosen);
    Ok(())
}

fn use_(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word = &node.args[0];
    if o.use_.is_some() {
        return Err(duplicate(node));
    }
    if !["epoll", "io_uring", "poll", "select"].contains(&word.text.as_str()) {
        return Err(Error::at(word.span, format!("invalid event type \"{word}\"")));
    }
    o.use_ = Some(word.clone());
    Ok(())
}
