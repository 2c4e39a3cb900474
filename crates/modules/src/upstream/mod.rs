//! `upstream NAME { … }`: groups of servers, how they take turns, and `$upstream_…`.

mod limits;
mod server;
mod sticky;
#[cfg(test)]
mod tests;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Args, Compile, Directive, Prefix, Scope, Variable, duplicate};
use foregate_upstream::{
    Balance, CommonResolver, Ejection, Group, Groups, Keepalive, Measure, Queue, Resolvers, RetryBudget, Server,
    StateFile,
};

use server::ServerDraft;

use crate::known;

pub struct Module;

/// As written: the blocks of the http level, or what one of those blocks holds.
#[derive(Clone, Default)]
pub struct Options {
    groups: Vec<Draft>,
    servers: Vec<ServerDraft>,
    balance: Option<BalanceDraft>,
    keepalive: Option<(u64, bool)>,
    keepalive_requests: Option<u64>,
    keepalive_time: Option<Duration>,
    keepalive_timeout: Option<Duration>,
    sticky: Option<sticky::Draft>,
    zone: Option<Word>,
    state: Option<Word>,
    queue: Option<(u32, Duration)>,
    ejection: Option<Ejection>,
    /// Percent, and the least of a window.
    retry_budget: Option<(u32, u32)>,
    resolver: Option<Vec<Word>>,
    resolver_timeout: Option<Duration>,
    warnings: Vec<Error>,
}

/// One `upstream` block.
#[derive(Clone)]
struct Draft {
    name: Word,
    inside: Box<Options>,
}

#[derive(Clone)]
enum BalanceDraft {
    LeastConn,
    LeastTime(Measure),
    IpHash,
    Hash { key: Word, consistent: bool },
    Random { two: bool, by: Option<Measure> },
}

const U: Scope = Scope::UPSTREAM;
/// nginx's default for `resolver_timeout`.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(30);

impl foregate_core::Module for Module {
    type Options = Options;
    /// The groups are shared by all places: nobody asks for settings.
    type Settings = ();

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::block("upstream", Scope::HTTP, Args::Exactly(1), upstream, own_block_only),
        Directive::own("server", U, Args::AtLeast(1), server::read, own_block_only),
        Directive::own("least_conn", U, Args::NONE, least_conn, own_block_only),
        Directive::own("least_time", U, Args::Between(1, 2), least_time, own_block_only),
        Directive::own("ip_hash", U, Args::NONE, ip_hash, own_block_only),
        Directive::own("hash", U, Args::Between(1, 2), hash, own_block_only),
        Directive::own("random", U, Args::Between(0, 2), random, own_block_only),
        Directive::own("keepalive", U, Args::Between(1, 2), keepalive, own_block_only),
        Directive::number("keepalive_requests", U, |o| &mut o.keepalive_requests),
        Directive::time("keepalive_time", U, |o| &mut o.keepalive_time),
        Directive::time("keepalive_timeout", U, |o| &mut o.keepalive_timeout),
        Directive::own("sticky", U, Args::AtLeast(2), sticky::read, own_block_only),
        Directive::text("state", U, |o| &mut o.state),
        Directive::own("queue", U, Args::Between(1, 2), limits::queue, own_block_only),
        Directive::own("outlier_ejection", U, Args::AtLeast(1), limits::ejection, own_block_only),
        Directive::own("retry_budget", U, Args::Between(1, 2), limits::retry_budget, own_block_only),
        Directive::own("zone", U, Args::Between(1, 2), zone, own_block_only),
        Directive::own("resolver", U, Args::AtLeast(1), resolver, own_block_only),
        Directive::time("resolver_timeout", U, |o| &mut o.resolver_timeout),
    ];
    const VARIABLES: &'static [Variable] = variables::VARIABLES;
    const PREFIXES: &'static [Prefix] = variables::PREFIXES;

    /// Groups stand at the http level alone.
    fn inherit(_: &mut Options, _: &Options) {}

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for draft in &options.groups {
            cx.warnings.extend(draft.inside.warnings.iter().cloned());
            let group = build(draft, cx)?;
            for name in group.unresolved() {
                let what = format!("host not found in upstream \"{name}\"");
                cx.warnings.push(Error::at(draft.name.span, what).warn());
            }
            cx.shared.get_or_default::<Groups>().add(group);
        }
        Ok(())
    }

    fn resolve(_: Options, _: &mut Compile<'_>) -> Result<Option<()>, Error> {
        Ok(None)
    }
}

fn own_block_only(_: &mut Options, _: &Options) {}

fn build(draft: &Draft, cx: &mut Compile<'_>) -> Result<Group, Error> {
    let inside = &draft.inside;
    let balance = match &inside.balance {
        None => Balance::Turn,
        Some(BalanceDraft::LeastConn) => Balance::LeastConn,
        Some(BalanceDraft::IpHash) => Balance::IpHash,
        Some(BalanceDraft::LeastTime(measure)) => Balance::LeastTime(*measure),
        Some(BalanceDraft::Random { two, by }) => Balance::Random { two: *two, by: *by },
        Some(BalanceDraft::Hash { key, consistent }) => {
            Balance::Hash { key: cx.template(key)?, consistent: *consistent }
        }
    };
    let usual = Keepalive::default();
    let (connections, local) = inside.keepalive.unwrap_or((usual.connections as u64, usual.local));
    let keepalive = (connections > 0).then(|| Keepalive {
        connections: connections as usize,
        local,
        requests: inside.keepalive_requests.unwrap_or(usual.requests),
        time: inside.keepalive_time.unwrap_or(usual.time),
        timeout: inside.keepalive_timeout.unwrap_or(usual.timeout),
    });
    let name = &draft.name.text;
    let resolver = resolver_of(draft, cx)?;
    let servers = match &inside.state {
        None => servers(draft, resolver.as_ref())?,
        Some(file) => kept(file, resolver.as_ref(), cx)?,
    };
    let previous = cx.previous.and_then(|it| it.get::<Groups>()).and_then(|it| it.explicit(name));
    let previous = previous.map(|it| &**it);
    let mut group = Group::new(name, servers, balance, keepalive, previous);
    group.resolver = resolver;
    group.state_file = inside.state.as_ref().map(|it| StateFile::new(cx.full_path(it)));
    if let Some(previous) = previous {
        group.keep_members_of(previous);
    }
    group.queue = inside.queue.map(|(max, timeout)| Queue::new(max, timeout));
    group.ejection = inside.ejection;
    group.retry_budget = inside.retry_budget.map(|(percent, min)| RetryBudget::new(percent, min));
    if let Some(zone) = &inside.zone {
        group.set_zone(zone);
    }
    group.sticky = inside.sticky.as_ref().map(|it| it.compile(previous, cx)).transpose()?;
    Ok(group)
}

/// The name servers that names are asked of while serving.
fn resolver_of(draft: &Draft, cx: &mut Compile<'_>) -> Result<Option<Arc<Resolvers>>, Error> {
    let inside = &draft.inside;
    let timeout = inside.resolver_timeout.unwrap_or(RESOLVER_TIMEOUT);
    Ok(match &inside.resolver {
        Some(words) => Some(Arc::new(Resolvers::read(words, timeout)?)),
        None => cx.shared.get_or_default::<CommonResolver>().0.clone(),
    })
}

/// The servers, those with `resolve` with the name servers that they are asked of.
fn servers(draft: &Draft, resolver: Option<&Arc<Resolvers>>) -> Result<Vec<Server>, Error> {
    let inside = &draft.inside;
    if inside.servers.iter().all(|it| it.resolve.is_none()) {
        return Ok(inside.servers.iter().map(|it| it.server.clone()).collect());
    }
    let resolver = resolver.ok_or_else(|| {
        let what = format!("no resolver defined to resolve names at run time in upstream \"{}\"", draft.name);
        Error::at(draft.name.span, what).advise("say in the http block who is to be asked: resolver 127.0.0.53;")
    })?;
    Ok(inside.servers.iter().map(|it| it.with(resolver)).collect())
}

/// The servers of a `state` file, which need not be there yet.
fn kept(file: &Word, resolver: Option<&Arc<Resolvers>>, cx: &Compile<'_>) -> Result<Vec<Server>, Error> {
    let path = cx.full_path(file);
    let failed = |why: &dyn std::fmt::Display| {
        Error::at(file.span, format!("cannot load state \"{}\": {why}", path.display()))
    };
    let bytes = match cx.files.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(&foregate_net::sys::errno_text(&error))),
    };
    let text = String::from_utf8_lossy(&bytes);
    Server::from_state(&text, resolver).map_err(|line| failed(&format_args!("line {line} cannot be read")))
}

fn upstream(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let name = node.args[0].clone();
    if o.groups.iter().any(|it| it.name.eq_ignore_ascii_case(&name)) {
        return Err(Error::at(node.span, format!("duplicate upstream \"{name}\"")));
    }
    let mut inside = Options::default();
    for child in node.body() {
        inner(&mut inside, child)?;
    }
    if let (Some(_), Some(server)) = (&inside.state, node.body().iter().find(|it| it.name == "server")) {
        return Err(Error::at(server.span, "\"server\" and \"state\" cannot stand in one upstream")
            .advise("the state file holds the servers: add them by the API"));
    }
    if inside.state.is_some() && inside.zone.is_none() {
        return Err(Error::at(node.span, format!("\"state\" needs a \"zone\" in upstream \"{name}\"")));
    }
    if inside.servers.is_empty() && inside.state.is_none() {
        return Err(Error::at(node.span, "no servers are inside upstream")
            .advise("write at least one: server 127.0.0.1:8080;"));
    }
    if inside.state.is_none() && inside.servers.iter().all(|it| it.server.backup) {
        return Err(Error::at(node.span, format!("no servers in upstream \"{name}\"")));
    }
    o.groups.push(Draft { name, inside: Box::new(inside) });
    Ok(())
}

/// One directive inside of an `upstream` block.
fn inner(inside: &mut Options, node: &Node) -> Result<(), Error> {
    let mine = <Module as foregate_core::Module>::DIRECTIVES;
    let ours = |it: &&Directive<Options>| it.name == node.name.text && it.scope.contains(U);
    if let Some(directive) = mine.iter().find(ours) {
        return directive.apply(inside, node, U);
    }
    let Some(known) = known::find(&node.name.text) else { return Err(Error::unknown_directive(node)) };
    match known.judge(node, U)? {
        Some(warning) => {
            inside.warnings.push(warning);
            Ok(())
        }
        None => Ok(()),
    }
}

impl Options {
    fn set_balance(&mut self, node: &Node, balance: BalanceDraft) {
        if self.balance.replace(balance).is_some() {
            self.warnings.push(Error::at(node.span, "load balancing method redefined").warn());
        }
    }

    /// The chosen method spreads requests by a key: no server can wait in reserve.
    fn forbids_backup(&self) -> bool {
        use BalanceDraft::{Hash, IpHash, Random};
        matches!(self.balance, Some(IpHash | Hash { .. } | Random { .. }))
    }
}

fn least_conn(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.set_balance(node, BalanceDraft::LeastConn);
    Ok(())
}

fn ip_hash(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.set_balance(node, BalanceDraft::IpHash);
    Ok(())
}

fn hash(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let consistent = match node.args.get(1) {
        None => false,
        Some(word) if *word == "consistent" => true,
        Some(word) => return Err(invalid(word)),
    };
    o.set_balance(node, BalanceDraft::Hash { key: node.args[0].clone(), consistent });
    Ok(())
}

fn least_time(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let inflight = match node.args.get(1) {
        None => false,
        Some(word) if *word == "inflight" => true,
        Some(word) => return Err(invalid(word)),
    };
    let word = &node.args[0];
    let header = header_or_last_byte(word);
    let header = header.ok_or_else(|| Error::at(word.span, format!("invalid value \"{word}\"")))?;
    o.set_balance(node, BalanceDraft::LeastTime(Measure { header, inflight }));
    Ok(())
}

fn header_or_last_byte(text: &str) -> Option<bool> {
    match text {
        "header" => Some(true),
        "last_byte" => Some(false),
        _ => None,
    }
}

fn random(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    match node.args.first() {
        Some(word) if *word != "two" => return Err(invalid(word)),
        _ => (),
    }
    let by = match node.args.get(1) {
        None => None,
        Some(word) if *word == "least_conn" => None,
        Some(word) => {
            let header = word.strip_prefix("least_time=").and_then(header_or_last_byte);
            let header = header.ok_or_else(|| invalid(word))?;
            Some(Measure { header, inflight: false })
        }
    };
    o.set_balance(node, BalanceDraft::Random { two: !node.args.is_empty(), by });
    Ok(())
}

fn keepalive(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.keepalive.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    let n = value::number(word).ok_or_else(|| {
        Error::at(word.span, format!("invalid value \"{word}\" in \"keepalive\" directive"))
    })?;
    let local = match node.args.get(1) {
        None => false,
        Some(word) if *word == "local" => true,
        Some(word) => return Err(invalid(word)),
    };
    o.keepalive = Some((n, local));
    Ok(())
}

/// All threads share the state of every group: the zone is only a name.
fn zone(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.zone.is_some() {
        return Err(duplicate(node));
    }
    let name = &node.args[0];
    if name.is_empty() {
        return Err(Error::at(name.span, format!("invalid zone name \"{name}\"")));
    }
    if let Some(size) = node.args.get(1)
        && value::size(size).is_none()
    {
        return Err(Error::at(size.span, format!("invalid zone size \"{size}\"")));
    }
    o.zone = Some(name.clone());
    Ok(())
}

fn resolver(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.resolver.is_some() {
        return Err(duplicate(node));
    }
    Resolvers::read(&node.args, RESOLVER_TIMEOUT)?;
    o.resolver = Some(node.args.clone());
    Ok(())
}

fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid parameter \"{word}\""))
}
