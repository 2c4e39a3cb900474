//! The API's description by OpenAPI 3, made of the table that it is dispatched by.

use foregate_core::{Json, Method};

use super::caches::PURGE;
use super::{COUNTS, ENDPOINTS, Endpoint, VERSION};

pub(super) fn describe() -> Json {
    let paths = ENDPOINTS.iter().map(|it| (it.path.to_owned(), path(it)));
    let info = vec![
        ("title", Json::from("Foregate's API, as NGINX Plus has it")),
        ("version", VERSION.to_string().into()),
    ];
    let server = Json::Object(vec![("url", format!("/api/{VERSION}").into())]);
    Json::Object(vec![
        ("openapi", "3.0.3".into()),
        ("info", Json::Object(info)),
        ("servers", Json::List(vec![server])),
        ("paths", Json::Map(paths.collect())),
    ])
}

fn path(endpoint: &Endpoint) -> Json {
    let names = endpoint.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<_> = names.map(parameter).collect();
    let mut members = vec![("summary".to_owned(), Json::from(endpoint.what))];
    members.extend((!parameters.is_empty()).then(|| ("parameters".to_owned(), Json::List(parameters))));
    for (method, what) in endpoint.verbs {
        let what = if what.is_empty() { endpoint.what } else { what };
        members.push((verb(*method).to_owned(), operation(endpoint, *method, what)));
    }
    Json::Map(members)
}

fn verb(method: Method) -> &'static str {
    match method {
        Method::Post => "post",
        Method::Patch => "patch",
        Method::Delete => "delete",
        _ => "get",
    }
}

fn parameter(name: &str) -> Json {
    let kind = if name == "id" { "integer" } else { "string" };
    Json::Object(vec![
        ("name", name.into()),
        ("in", "path".into()),
        ("required", true.into()),
        ("schema", Json::Object(vec![("type", kind.into())])),
    ])
}

fn operation(endpoint: &Endpoint, method: Method, what: &str) -> Json {
    let is_purge = endpoint.path.ends_with("/purge");
    let good = match method {
        Method::Post if !is_purge => "201",
        Method::Delete if endpoint.verbs == COUNTS => "204",
        _ => "200",
    };
    let answers = [(good, "Done"), ("400", "Refused"), ("404", "Not found"), ("405", "Not allowed here")];
    let answer = |(code, what): (&str, &str)| {
        (code.to_owned(), Json::Object(vec![("description", what.into())]))
    };
    let mut members = vec![
        ("summary", what.into()),
        ("responses", Json::Map(answers.map(answer).into_iter().collect())),
    ];
    if matches!(method, Method::Post | Method::Patch) {
        members.push(("requestBody", if is_purge { purge_body() } else { body(method) }));
    }
    Json::Object(members)
}

/// What a server is described by.
fn body(method: Method) -> Json {
    let text = ["server", "service", "fail_timeout", "slow_start", "route"].map(|it| (it, "string"));
    let numbers = ["weight", "max_conns", "max_fails"].map(|it| (it, "integer"));
    let flags = ["backup", "down", "drain"].map(|it| (it, "boolean"));
    let all = text.into_iter().chain(numbers).chain(flags);
    let properties = properties(all);
    let mut schema = vec![("type", "object".into()), ("properties", properties)];
    schema.extend((method == Method::Post).then(|| ("required", Json::list(["server"]))));
    content(schema)
}

/// What a purge is described by.
fn purge_body() -> Json {
    content(vec![("type", "object".into()), ("properties", properties(PURGE.into_iter()))])
}

fn properties<'a>(all: impl Iterator<Item = (&'a str, &'a str)>) -> Json {
    Json::Map(all.map(|(name, kind)| (name.to_owned(), Json::Object(vec![("type", kind.into())]))).collect())
}

fn content(schema: Vec<(&'static str, Json)>) -> Json {
    let json = Json::Object(vec![("schema", Json::Object(schema))]);
    let content = Json::Map(vec![("application/json".to_owned(), json)]);
    Json::Object(vec![("required", true.into()), ("content", content)])
}
