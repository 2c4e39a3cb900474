//! The servers of a group: listed, added, changed, taken out.

use std::sync::Arc;

use foregate_core::{ErrorLog, Exchange, Json, Method};
use foregate_upstream::{Address, Group, PORT, Peer, Resolve, Server, Unfit, is_word};

use super::flat::{self, Value};
use super::{Answer, Refusal, refuse};

/// Answers for `…/servers` and `…/servers/ID`.
pub(super) async fn servers(group: &Arc<Group>, id: Option<&str>, ex: &mut Exchange) -> Result<Answer, Refusal> {
    let number = id.map(|it| it.parse::<u32>().map_err(|_| refuse(400, "UpstreamBadServerId", "invalid server ID")));
    let cycle = ex.cycle.clone();
    let log = cycle.error_log(ex.location);
    let answer = match (ex.method, number.transpose()?) {
        (Method::Post, None) => add(group, ex, log)?,
        (Method::Patch, Some(id)) => patch(group, id, ex)?,
        (Method::Delete, Some(id)) => {
            let server = find(group, id)?;
            if !group.remove(server.id) {
                return Err(missing(id));
            }
            list(group).into()
        }
        (_, Some(id)) => return Ok(show(group, id)?.into()),
        (_, None) => return Ok(list(group).into()),
    };
    group.save(log).await;
    Ok(answer)
}

/// A server that the group knows by a number.
struct Known {
    id: u32,
    server: Server,
}

/// Only what stands for itself can be changed: an address that a name has found goes with the name.
fn find(group: &Group, id: u32) -> Result<Known, Refusal> {
    let entry = group.entries().into_iter().find(|it| it.0 == id);
    match entry {
        Some((id, server)) => Ok(Known { id, server }),
        None if resolved(group).iter().any(|it| it.number() == id) => {
            Err(refuse(400, "UpstreamServerImmutable", format!("server {id} belongs to a name: change that one")))
        }
        None => Err(missing(id)),
    }
}

fn missing(id: u32) -> Refusal {
    refuse(404, "UpstreamServerNotFound", format!("server with ID \"{id}\" does not exist"))
}

/// The addresses that names have found.
fn resolved(group: &Group) -> Vec<Arc<Peer>> {
    let peers = group.list().into_iter().map(|it| it.0);
    peers.filter(|it| it.number() != it.parent()).collect()
}

fn list(group: &Group) -> Json {
    let mut all = Vec::new();
    let resolved = resolved(group);
    for (id, server) in group.entries() {
        all.push(json(id, &server, None));
        let mine = resolved.iter().filter(|it| it.parent() == id);
        all.extend(mine.map(|it| json(it.number(), &server, Some(it))));
    }
    Json::List(all)
}

fn show(group: &Group, id: u32) -> Result<Json, Refusal> {
    if let Some((id, server)) = group.entries().into_iter().find(|it| it.0 == id) {
        return Ok(json(id, &server, None));
    }
    let peer = resolved(group).into_iter().find(|it| it.number() == id).ok_or_else(|| missing(id))?;
    let parent = group.entries().into_iter().find(|it| it.0 == peer.parent()).ok_or_else(|| missing(id))?;
    Ok(json(id, &parent.1, Some(&peer)))
}

/// As NGINX Plus shows a server; `peer` is an address that its name has found.
fn json(id: u32, server: &Server, peer: Option<&Arc<Peer>>) -> Json {
    let number = |n: u32| Json::from(u64::from(n));
    let seconds = |s: u64| Json::from(format!("{s}s"));
    let written = peer.map_or(server.written.to_string(), |it| it.name.to_string());
    let mut members = vec![
        ("id", number(id)),
        ("server", written.into()),
        ("weight", number(peer.map_or(server.weight, |it| it.weight))),
        ("max_conns", number(server.max_conns)),
        ("max_fails", number(server.max_fails)),
        ("fail_timeout", seconds(server.fail_timeout_s)),
        ("slow_start", seconds(server.slow_start_ms / 1000)),
        ("route", server.route.as_deref().unwrap_or_default().into()),
        ("backup", server.backup.into()),
        ("down", server.down.into()),
    ];
    members.extend(server.drain.then_some(("drain", true.into())));
    let service = server.resolve.as_ref().and_then(|it| it.service.clone());
    members.extend(service.map(|it| ("service", it.into())));
    members.extend(peer.map(|it| ("parent", number(it.parent()))));
    members.extend(peer.map(|_| ("host", server.written.to_string().into())));
    Json::Object(members)
}

fn add(group: &Arc<Group>, ex: &mut Exchange, log: &ErrorLog) -> Result<Answer, Refusal> {
    let fields = body(ex)?;
    let Some((_, Value::Text(written))) = fields.iter().find(|(name, _)| name == "server") else {
        return Err(format_error("missing \"server\" argument"));
    };
    let bad = |what: &str| refuse(400, "UpstreamBadAddress", format!("{what} in upstream \"{written}\""));
    let address = Address::parse(written, PORT, false).map_err(bad)?;
    if !is_word(written) {
        return Err(bad("invalid host"));
    }
    let mut server = Server::new(&address, written);
    let service = fields.iter().find(|it| it.0 == "service").map(|it| it.1.clone());
    if server.is_named() {
        let resolver = group.resolver.clone().ok_or_else(|| {
            refuse(400, "UpstreamConfNoResolver", format!("no resolver defined to resolve {written}"))
        })?;
        server.resolve = Some(Resolve { resolver, service: None });
    }
    match (service, &mut server.resolve) {
        (None, _) => (),
        (Some(Value::Text(name)), _) if name.is_empty() => {
            return Err(refuse(400, "UpstreamBadService", "\"service\" is empty"));
        }
        (Some(Value::Text(name)), _) if !is_word(&name) => {
            return Err(refuse(400, "UpstreamBadService", "invalid \"service\""));
        }
        (Some(_), _) if !address.no_port => {
            return Err(bad("a service may not have port"));
        }
        (Some(Value::Text(name)), Some(resolve)) => resolve.service = Some(name),
        (Some(_), _) => return Err(bad("a service requires domain name")),
    }
    set_all(&mut server, &fields, group, &["server", "service"])?;
    let id = group.add(server.clone(), log);
    let mut at = String::from_utf8_lossy(&ex.uri).into_owned();
    if !at.ends_with('/') {
        at.push('/');
    }
    at += &id.to_string();
    Ok(Answer { status: 201, value: json(id, &server, None), at: Some(at) })
}

fn patch(group: &Group, id: u32, ex: &mut Exchange) -> Result<Answer, Refusal> {
    let Known { id, mut server } = find(group, id)?;
    let fields = body(ex)?;
    let own = |(name, value): &&(String, Value)| {
        matches!(name.as_str(), "server" | "service") && *value != Value::Text(server.written.to_string())
    };
    if fields.iter().any(|it| own(&it)) {
        return Err(refuse(400, "UpstreamServerImmutable", "server address is immutable"));
    }
    set_all(&mut server, &fields, group, &["server"])?;
    if !group.change(id, server.clone()) {
        return Err(missing(id));
    }
    Ok(json(id, &server, None).into())
}

fn set_all(
    server: &mut Server,
    fields: &[(String, Value)],
    group: &Group,
    others: &[&str],
) -> Result<(), Refusal> {
    for (name, value) in fields.iter().filter(|it| !others.contains(&it.0.as_str())) {
        let invalid = || {
            let code = match name.as_str() {
                "weight" => "UpstreamBadWeight",
                "max_conns" => "UpstreamBadMaxConns",
                "max_fails" => "UpstreamBadMaxFails",
                "fail_timeout" => "UpstreamBadFailTimeout",
                "slow_start" => "UpstreamBadSlowStart",
                "route" => "UpstreamBadRoute",
                _ => "UpstreamConfFormatError",
            };
            refuse(400, code, format!("invalid \"{name}\""))
        };
        if let ("down" | "drain" | "backup" | "id", value) = (name.as_str(), value) {
            match (name.as_str(), value) {
                ("down", Value::Bool(it)) => server.down = *it,
                ("drain", Value::Bool(it)) => server.drain = *it,
                ("backup", Value::Bool(true)) if !group.may_have_backups() => {
                    let what = format!("upstream \"{}\" has no backup", group.name);
                    return Err(refuse(400, "UpstreamNoBackup", what));
                }
                ("backup", Value::Bool(it)) => server.backup = *it,
                ("id", _) => (),
                _ => return Err(invalid()),
            }
            continue;
        }
        let text = match value {
            Value::Text(it) | Value::Number(it) => it.as_str(),
            Value::Bool(_) => return Err(invalid()),
        };
        if name == "route" && text.is_empty() {
            server.route = None;
            continue;
        }
        if name == "route" && !is_word(text) {
            return Err(invalid());
        }
        server.set(name, Some(text)).map_err(|why| match why {
            Unfit::Unknown => format_error(&format!("unknown parameter \"{name}\"")),
            Unfit::RouteLong => refuse(400, "UpstreamBadRoute", "route is too long"),
            Unfit::Value | Unfit::RouteEmpty => invalid(),
        })?;
    }
    Ok(())
}

fn body(ex: &mut Exchange) -> Result<Vec<(String, Value)>, Refusal> {
    let bytes = ex.body.memory.clone().unwrap_or_default();
    if bytes.is_empty() && ex.body.file.is_some() {
        return Err(refuse(400, "BodyReadError", "reading request body failed"));
    }
    flat::parse(&bytes).map_err(|why| match why {
        flat::Wrong::Nested => format_error("nested object or list"),
        flat::Wrong::Text => refuse(415, "JsonError", "JSON error"),
    })
}

fn format_error(text: &str) -> Refusal {
    refuse(400, "UpstreamConfFormatError", text)
}
