//! From options to a cycle: inherits, resolves, and builds the tables that requests are routed by.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use foregate_acme::Wish;
use foregate_conf::{Error, Files, Modifier, Node, Word};
use foregate_core::{Compile, ErrorLog, Level, LogFile, Regex, Shared, Variables};
use foregate_modules::{Inherited, Resolved, Settings, family, ssl, variable, variable_names};

use crate::cycle::{Cycle, Main, Place, Server, Setup, folder};
use crate::listen::Listen;
use crate::locations::Locations;
use crate::names::Name;
use crate::reach::Reach;
use crate::read::{Draft, Kind, PlaceDraft, ServerDraft};
use crate::{address, certificates};

/// Compiles the nodes of a configuration; `twins` as for [`Draft::read`].
pub(crate) fn compile(
    setup: &Setup,
    nodes: &[Node],
    files: &dyn Files,
    previous: Option<&Cycle>,
    twins: bool,
    warnings: &mut Vec<Error>,
) -> Result<Cycle, Error> {
    let mut variables = Variables::new(variable, family).suggesting(variable_names);
    let mut draft = Draft::read(nodes, twins, &mut variables)?;
    warnings.append(&mut draft.warnings);
    let mut shared = Shared::default();
    let conf_prefix = folder(&setup.conf);
    let mut cx = Compile {
        variables: &mut variables,
        files,
        prefix: &setup.prefix,
        conf_prefix: &conf_prefix,
        shared: &mut shared,
        previous: previous.map(|it| &it.shared),
        warnings: Vec::new(),
        log_files: Vec::new(),
        temp_dirs: Vec::new(),
        server_names: Vec::new(),
        location: None,
    };
    let compiled = resolve(setup, draft, &mut cx);
    warnings.append(&mut cx.warnings);
    let (log_files, temp_dirs) = (cx.log_files, cx.temp_dirs);
    let Compiled { mut main, servers, places, endpoints, wishes } = compiled?;
    let temp_dirs = distinct(temp_dirs);
    main.reach = Reach::of(nodes, setup, &temp_dirs);
    Ok(Cycle {
        main,
        servers,
        places,
        endpoints,
        variables,
        shared,
        log_files: distinct(log_files),
        temp_dirs,
        wishes,
    })
}

struct Compiled {
    main: Main,
    servers: Vec<Server>,
    places: Vec<Place>,
    endpoints: Vec<address::Endpoint>,
    wishes: Vec<Wish>,
}

fn resolve(setup: &Setup, mut draft: Draft, cx: &mut Compile<'_>) -> Result<Compiled, Error> {
    let mut known = Inherited::default();
    draft.http.inherit(&draft.main, &mut known);
    if draft.has_http {
        draft.http.prepare(cx)?;
    }
    certificates::imply(&mut draft, cx);
    inherit(&mut draft, known);
    let names = all_names(&draft.servers, cx)?;
    let listens = draft.servers.iter().map(|it| listens(it, setup));
    let servers: Vec<_> = listens.zip(names.iter().cloned()).collect();
    let endpoints = address::gather(&servers, &mut cx.warnings)?;
    let (places, tables) = places(setup, draft.places, &draft.servers, cx)?;
    warn_of_protocols(&servers, cx);
    check_certificates(&endpoints, &servers, &draft.servers, &places)?;
    let automatic = certificates::find(&draft.servers, &places, &endpoints, cx)?;
    let tables = draft.servers.iter().zip(tables).zip(automatic.answers);
    let servers = tables.map(|((server, locations), automatic)| Server {
        automatic,
        name: server.names.first().map_or_else(String::new, first_name),
        place: server.place,
        locations,
    });
    let servers = servers.collect();
    let settings = draft.main.resolve(cx, &mut Resolved::default())?;
    let keeps_stderr = cx.log_files.iter().any(|it| it.as_os_str() == "stderr");
    let main = main(setup, settings, keeps_stderr);
    Ok(Compiled { main, servers, places, endpoints, wishes: automatic.wishes })
}

fn main(setup: &Setup, settings: Settings, keeps_stderr: bool) -> Main {
    let process = settings.process.expect("because the process module always resolves");
    let pid = process.pid.as_ref().map_or_else(|| setup.pid.clone(), |it| setup.prefix.join(it));
    let error_log = error_log(setup, settings.error_log.as_deref());
    Main { process, pid, error_log, reach: Reach::default(), keeps_stderr }
}

/// Each place takes what it did not write from the one around it; an `if` takes the content handler too.
fn inherit(draft: &mut Draft, mut known: Inherited) {
    for at in 0..draft.places.len() {
        let (before, rest) = draft.places.split_at_mut(at);
        let place = &mut rest[0];
        if place.twin.is_some() {
            continue;
        }
        let outer = place.parent.map_or(&draft.http, |parent| &before[parent as usize].options);
        place.options.inherit(outer, &mut known);
        if matches!(place.kind, Kind::If | Kind::LimitExcept(_)) {
            place.options.inherit_handler(outer);
        }
    }
}

fn listens(server: &ServerDraft, setup: &Setup) -> Vec<Listen> {
    match server.listens.is_empty() {
        true => vec![Listen::default_for(server.span, setup.privileged)],
        false => server.listens.clone(),
    }
}

fn all_names(servers: &[ServerDraft], cx: &mut Compile<'_>) -> Result<Vec<Vec<Name>>, Error> {
    let hostname = foregate_core::hostname().to_owned();
    servers.iter().map(|server| names(server, &hostname, cx)).collect()
}

fn names(server: &ServerDraft, hostname: &str, cx: &mut Compile<'_>) -> Result<Vec<Name>, Error> {
    if server.names.is_empty() {
        return Ok(vec![Name::Exact("".into())]);
    }
    let mut names = Vec::new();
    for word in &server.names {
        if word.text.contains('/') {
            let what = format!("server name \"{word}\" has suspicious symbols");
            cx.warn(Error::at(word.span, what).warn());
        }
        names.extend(Name::read(word, hostname, |pattern| cx.regex(pattern, true))?);
    }
    Ok(names)
}

/// The first server of an address that takes TLS connections needs a certificate; where it refuses connections on
/// purpose, the others need one or must refuse as well.
fn check_certificates(
    endpoints: &[address::Endpoint],
    listens: &[(Vec<Listen>, Vec<Name>)],
    servers: &[ServerDraft],
    places: &[Place],
) -> Result<(), Error> {
    let ssl = |server: usize| places[servers[server].place as usize].settings.ssl.as_ref();
    let has_certificate = |server: usize| ssl(server).is_some_and(|it| it.has_certificate());
    let rejects = |server: usize| ssl(server).is_some_and(|it| it.reject);
    let missing = |server: usize| {
        let what = "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive";
        Err(Error::at(servers[server].span, what).advise(certificates::ADVICE))
    };
    for endpoint in endpoints {
        let specific = endpoint.specific.iter().map(|(addr, address)| (addr, address));
        for (addr, address) in specific.chain([(&endpoint.addr, &endpoint.default)]) {
            let default = address.default_server as usize;
            if !address.ssl || has_certificate(default) {
                continue;
            }
            if !rejects(default) {
                return missing(default);
            }
            let here = |server: usize| listens[server].0.iter().any(|it| !it.quic && it.addr == *addr);
            let lacks = |server: &usize| here(*server) && !has_certificate(*server) && !rejects(*server);
            if let Some(server) = (0..servers.len()).find(lacks) {
                return missing(server);
            }
        }
    }
    Ok(())
}

/// Says so where `listen` asks for a protocol in an old way, and once where it asks for one that is not spoken.
fn warn_of_protocols(listens: &[(Vec<Listen>, Vec<Name>)], cx: &mut Compile<'_>) {
    let all = || listens.iter().flat_map(|(listens, _)| listens);
    let old = "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead";
    all().filter(|it| it.http2).for_each(|it| cx.warn(Error::at(it.span, old).warn()));
    if let Some(listen) = all().find(|it| it.quic) {
        ssl::http3_is_missing(listen.span, cx);
    }
}

/// `$server_name`: the first name, without the dot of `.example.com`, with `$hostname` filled in.
fn first_name(word: &Word) -> String {
    match word.text.as_str() {
        "$hostname" => foregate_core::hostname().to_ascii_lowercase(),
        regex if regex.starts_with('~') => regex.to_owned(),
        name => name.strip_prefix('.').unwrap_or(name).to_ascii_lowercase(),
    }
}

/// Resolves every place and builds each server's table of locations.
fn places(
    setup: &Setup,
    drafts: Vec<PlaceDraft>,
    servers: &[ServerDraft],
    cx: &mut Compile<'_>,
) -> Result<(Vec<Place>, Vec<Arc<Locations>>), Error> {
    let mut known = Resolved::default();
    let mut places: Vec<Place> = Vec::with_capacity(drafts.len());
    let mut entries: HashMap<u32, Vec<Entry>> = HashMap::new();
    let around: Vec<_> = (0..drafts.len()).map(|at| location_of(&drafts, at as u32)).collect();
    for (at, draft) in drafts.into_iter().enumerate() {
        cx.location.clone_from(&around[at]);
        let at = at as u32;
        cx.server_names = servers[draft.server as usize].names.iter().map(|it| it.text.clone()).collect();
        let settings = match draft.twin {
            Some(twin) => places[twin as usize].settings.clone(),
            None => Arc::new(draft.options.resolve(cx, &mut known)?),
        };
        let error_log = error_log(setup, settings.error_log.as_deref());
        let mut name = String::new();
        match (draft.kind, draft.parent) {
            (Kind::Location { modifier, path }, Some(parent)) => {
                name = path.text.clone();
                let redirects = settings.proxy.is_some()
                    || settings.grpc.is_some()
                    || settings.fastcgi.as_ref().is_some_and(|it| it.passing.is_some());
                entries.entry(parent).or_default().push(Entry { place: at, modifier, path, redirects });
            }
            (Kind::LimitExcept(methods), Some(parent)) => {
                places[parent as usize].limit_except = Some(Box::new((methods, at)));
            }
            _ => (),
        }
        places.push(Place { settings, limit_except: None, name, error_log });
    }
    let mut made: HashMap<u32, Arc<Locations>> = HashMap::new();
    let mut tables = Vec::with_capacity(servers.len());
    for server in servers {
        let locations = match made.entry(server.place) {
            hash_map::Entry::Occupied(twin) => twin.get().clone(),
            hash_map::Entry::Vacant(first) => {
                first.insert(Arc::new(table(server.place, &mut entries, cx)?)).clone()
            }
        };
        tables.push(locations);
    }
    Ok((places, tables))
}

/// The location that a place is, or is in.
fn location_of(drafts: &[PlaceDraft], mut at: u32) -> Option<(Modifier, Word)> {
    loop {
        let draft = &drafts[at as usize];
        if let Kind::Location { modifier, path } = &draft.kind {
            return Some((*modifier, path.clone()));
        }
        at = draft.parent?;
    }
}

/// One location of a table that is being built.
struct Entry {
    place: u32,
    modifier: Modifier,
    path: Word,
    redirects: bool,
}

fn table(
    parent: u32,
    entries: &mut HashMap<u32, Vec<Entry>>,
    cx: &mut Compile<'_>,
) -> Result<Locations, Error> {
    let mut table = Locations::default();
    for entry in entries.remove(&parent).unwrap_or_default() {
        let Entry { place, modifier, path, redirects } = entry;
        let new = match modifier {
            Modifier::Exact => table.add_exact(path.bytes(), place),
            Modifier::Prefix => table.add_prefix(path.bytes(), place, false, redirects),
            Modifier::NoRegex => table.add_prefix(path.bytes(), place, true, redirects),
            Modifier::Named => {
                let name = path.bytes().strip_prefix(b"@").unwrap_or(path.bytes());
                table.named.insert(name.into(), place).is_none()
            }
            Modifier::Regex | Modifier::RegexNoCase => {
                let regex: Regex = cx.regex(&path, modifier == Modifier::RegexNoCase)?;
                table.add_regex(regex, place);
                true
            }
        };
        if !new {
            return Err(Error::at(path.span, format!("duplicate location \"{path}\"")));
        }
        if entries.contains_key(&place) {
            table.nest(place, self::table(place, entries, cx)?);
        }
    }
    table.finish();
    Ok(table)
}

/// The error log of a place: its own, or the one that was given at the start.
fn error_log(setup: &Setup, settings: Option<&foregate_modules::error_log::Settings>) -> ErrorLog {
    match settings {
        Some(settings) => settings.log.clone(),
        None => ErrorLog::to_file(LogFile::of(&setup.error_log), Level::Error),
    }
}

fn distinct(mut paths: Vec<std::path::PathBuf>) -> Vec<std::path::PathBuf> {
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}
