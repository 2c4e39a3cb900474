//! `api`: NGINX Plus's REST API, version 9: what the server does, and the servers of groups while they serve.

mod caches;
mod change;
mod flat;
mod openapi;
mod show;
#[cfg(test)]
mod tests;
mod zones;

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foregate_cache::Zones;
use foregate_conf::{Error, Node};
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Json, Method, Reply, Scope, Stop};
use foregate_net::clock;
use foregate_upstream::{Group, Groups};
use foregate_wire::Buf;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// Whether it may write.
    api: Option<bool>,
}

pub struct Settings {
    write: bool,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::own("api", Scope::LOCATION, Args::Between(0, 1), read, |_, _| ())];

    fn inherit_handler(options: &mut Options, outer: &Options) {
        options.api = options.api.or(outer.api);
    }

    fn prepare(_: &Options, _: &mut Compile<'_>) -> Result<(), Error> {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        LOADED_MS.store(clock::unix_ms(), Ordering::Relaxed);
        Ok(())
    }

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.api.map(|write| Settings { write }))
    }
}

/// Configurations that this process has loaded, and when the last one was.
static GENERATION: AtomicU64 = AtomicU64::new(0);
static LOADED_MS: AtomicU64 = AtomicU64::new(0);

/// The variable of the environment by which a worker is told how many there were before it.
pub const RESPAWNED: &str = "FOREGATE_RESPAWNED";

/// The version that is spoken. What is asked of an older one is answered as this one does.
const VERSION: u64 = 9;
/// The longest body of a request, bytes.
const BODY_BYTES_MAX: u64 = 64 << 10;

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let write = match node.args.first() {
        None => false,
        Some(word) if *word == "write=on" => true,
        Some(word) if *word == "write=off" => false,
        Some(word) => return Err(Error::at(word.span, format!("invalid parameter \"{word}\""))),
    };
    match o.api.replace(write) {
        None => Ok(()),
        Some(_) => Err(foregate_core::duplicate(node)),
    }
}

/// What may be asked for, and what it does: dispatch, the lists of a folder's names and the description are made of it.
pub(crate) struct Endpoint {
    /// Behind the version. `{…}` stands for any name.
    path: &'static str,
    what: &'static str,
    verbs: &'static [(Method, &'static str)],
}

const READ: &[(Method, &str)] = &[(Method::Get, "")];
const COUNTS: &[(Method, &str)] = &[(Method::Get, ""), (Method::Delete, "Counts from 0 again")];

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/", what: "The names at the top", verbs: READ },
    Endpoint { path: "/nginx", what: "Version, process and configuration of the server", verbs: READ },
    Endpoint { path: "/processes", what: "Workers that were started again", verbs: COUNTS },
    Endpoint { path: "/connections", what: "Connections of clients", verbs: COUNTS },
    Endpoint { path: "/http", what: "The names below http", verbs: READ },
    Endpoint { path: "/http/requests", what: "Requests of clients", verbs: COUNTS },
    Endpoint { path: "/http/server_zones", what: "All zones of servers (status_zone)", verbs: READ },
    Endpoint { path: "/http/server_zones/{zone}", what: "What the servers of a zone were asked", verbs: COUNTS },
    Endpoint { path: "/http/location_zones", what: "All zones of locations (status_zone)", verbs: READ },
    Endpoint { path: "/http/location_zones/{zone}", what: "What the locations of a zone were asked", verbs: COUNTS },
    Endpoint { path: "/http/caches", what: "All caches, and what they do", verbs: READ },
    Endpoint { path: "/http/caches/{cache}", what: "One cache", verbs: READ },
    Endpoint { path: "/http/caches/{cache}/top", what: "The objects that are asked for most", verbs: READ },
    Endpoint {
        path: "/http/caches/{cache}/purge",
        what: "Purges a key, all that begin alike, or all that have a tag",
        verbs: &[(Method::Post, "")],
    },
    Endpoint { path: "/http/shield", what: "What the shield has refused", verbs: READ },
    Endpoint { path: "/http/upstreams", what: "All groups that have a zone, and what their peers do", verbs: READ },
    Endpoint { path: "/http/upstreams/{upstream}", what: "One group", verbs: COUNTS },
    Endpoint {
        path: "/http/upstreams/{upstream}/servers",
        what: "The servers of a group",
        verbs: &[(Method::Get, "Lists them"), (Method::Post, "Adds one")],
    },
    Endpoint {
        path: "/http/upstreams/{upstream}/servers/{id}",
        what: "One server of a group",
        verbs: &[
            (Method::Get, "Shows it"),
            (Method::Patch, "Changes its parameters"),
            (Method::Delete, "Takes it out"),
        ],
    },
    Endpoint { path: "/openapi.json", what: "This description", verbs: READ },
];

/// Why something cannot be done: status, NGINX Plus's code, and a sentence.
pub(crate) struct Refusal {
    status: u16,
    code: &'static str,
    text: String,
}

pub(crate) fn refuse(status: u16, code: &'static str, text: impl Into<String>) -> Refusal {
    Refusal { status, code, text: text.into() }
}

/// A good answer.
pub(crate) struct Answer {
    status: u16,
    value: Json,
    /// `Location`.
    at: Option<String>,
}

impl From<Json> for Answer {
    fn from(value: Json) -> Self {
        Self { status: 200, value, at: None }
    }
}

/// Content phase.
pub async fn serve(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    if ex.method == Method::Head {
        return Break(Stop::status(405));
    }
    if ex.body.length.is_some_and(|it| it > BODY_BYTES_MAX) {
        return Break(Stop::status(413));
    }
    if let Err(error) = ex.read_body().await {
        return Break(Stop::status(error.status()));
    }
    let (status, value, at) = match answer(on, ex).await {
        Ok(Answer { status, value, at }) => (status, value, at),
        Err(refusal) => (refusal.status, refusal_json(&refusal, ex), None),
    };
    if status == 204 {
        return Continue(Reply::status(204));
    }
    let mut reply = Reply::bytes(status, b"application/json", Buf::from_vec(value.to_string().into_bytes()));
    reply.fields.push(b"Cache-Control", b"no-store");
    if let Some(at) = at {
        reply.fields.push(b"Location", at.as_bytes());
    }
    Continue(reply)
}

fn refusal_json(refusal: &Refusal, ex: &mut Exchange) -> Json {
    let mut id = Vec::new();
    if let Some(variable) = crate::variable("request_id") {
        (variable.get)(ex, &mut id);
    }
    let error = vec![
        ("status", u64::from(refusal.status).into()),
        ("text", refusal.text.as_str().into()),
        ("code", refusal.code.into()),
    ];
    Json::Object(vec![
        ("error", Json::Object(error)),
        ("request_id", Json::bytes(&id)),
        ("href", "https://nginx.org/en/docs/http/ngx_http_api_module.html".into()),
    ])
}

async fn answer(on: &Settings, ex: &mut Exchange) -> Result<Answer, Refusal> {
    let path = String::from_utf8_lossy(ex.uri.get(ex.matched_prefix..).unwrap_or_default()).into_owned();
    let segments: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    let Some((version, rest)) = segments.split_first() else {
        return Ok(Json::list(1..=VERSION).into());
    };
    if !version.parse().is_ok_and(|it: u64| (1..=VERSION).contains(&it)) {
        return Err(refuse(404, "UnknownVersion", "unknown version"));
    }
    let Some(endpoint) = ENDPOINTS.iter().find(|it| fits(it.path, rest)) else {
        return Err(refuse(404, "PathNotFound", "path not found"));
    };
    let writes = ex.method != Method::Get;
    if !endpoint.verbs.iter().any(|it| it.0 == ex.method) || (writes && !on.write) {
        return Err(refuse(405, "MethodDisabled", "method disabled"));
    }
    if endpoint.verbs == COUNTS && writes {
        match rest {
            ["http", "upstreams", name] => group(ex, name)?.forget_counts(),
            ["http", kind, name] => zones::find(kind, name, ex)?.forget(),
            _ => show::forget(endpoint.path),
        }
        return Ok(Answer { status: 204, value: Json::Object(Vec::new()), at: None });
    }
    let wanted = wanted_fields(ex);
    let value = match (endpoint.path, rest) {
        ("/nginx", _) => show::server(ex),
        ("/processes", _) => show::processes(),
        ("/connections", _) => show::connections(),
        ("/http/requests", _) => show::requests(),
        (_, ["http", kind @ ("server_zones" | "location_zones")]) => zones::all(kind, ex),
        (_, ["http", kind @ ("server_zones" | "location_zones"), name]) => {
            zones::show(kind, &*zones::find(kind, name, ex)?)
        }
        ("/http/caches", _) => caches::all(ex.cycle.shared().get::<Zones>()),
        (_, ["http", "caches", name]) => caches::one(&*caches::find(ex, name)?),
        (_, ["http", "caches", name, "top"]) => caches::top(&*caches::find(ex, name)?),
        (_, ["http", "caches", name, "purge"]) => return caches::purge(&caches::find(ex, name)?, ex).await,
        ("/http/shield", _) => show::shield(),
        ("/http/upstreams", _) => show::groups(ex.cycle.shared().get::<Groups>()),
        ("/openapi.json", _) => openapi::describe(),
        (_, ["http", "upstreams", name]) => show::group(&*group(ex, name)?),
        (_, ["http", "upstreams", name, "servers", rest @ ..]) => {
            let group = group(ex, name)?;
            return change::servers(&group, rest.first().copied(), ex).await;
        }
        (folder, _) => show::folder(folder),
    };
    Ok(only(value, wanted.as_deref()).into())
}

fn fits(pattern: &str, segments: &[&str]) -> bool {
    let mut parts = pattern.split('/').filter(|it| !it.is_empty());
    let all = segments.iter().all(|it| parts.next().is_some_and(|part| part == *it || part.starts_with('{')));
    all && parts.next().is_none()
}

fn group(ex: &Exchange, name: &str) -> Result<Arc<Group>, Refusal> {
    let groups = ex.cycle.shared().get::<Groups>();
    let group = groups.and_then(|it| it.explicit(name)).filter(|it| it.name == name);
    match group {
        None => Err(refuse(404, "UpstreamNotFound", "upstream not found")),
        Some(group) if group.zone.is_none() => Err(refuse(400, "UpstreamStatic", "upstream is static")),
        Some(group) => Ok(group.clone()),
    }
}

/// `?fields=a,b`
fn wanted_fields(ex: &Exchange) -> Option<Vec<String>> {
    let args = String::from_utf8_lossy(&ex.args).into_owned();
    let fields = args.split('&').find_map(|it| it.strip_prefix("fields="))?;
    Some(fields.split(',').map(str::to_owned).collect())
}

/// The members that were asked for.
fn only(value: Json, wanted: Option<&[String]>) -> Json {
    match (value, wanted) {
        (Json::Object(mut members), Some(wanted)) => {
            members.retain(|(name, _)| wanted.iter().any(|it| it == name));
            Json::Object(members)
        }
        (value, _) => value,
    }
}
