//! `health_check`: peers are asked how they are before visitors find out.

use std::sync::Arc;

use foregate_conf::{Error, Node};
use foregate_core::{BoxFuture, Compile, Exchange, Flow, Scope, duplicate};
use foregate_upstream::draft::checks::{checklist, is_taken};
use foregate_upstream::{CHECKS_AGENT, Checked, Checklist, Group, Probe, Route, Rules, Secure};
use foregate_wire::{Method, h1::Version};

use super::options::Options;
use super::pass::{Pass, Url};
use super::request::{Framed, Http, handshake};
use super::settings::{Settings, rules_of_checks};


/// `health_check` as written.
#[derive(Clone)]
pub(super) struct Draft {
    node: Node,
}

/// A compiled check.
pub(super) struct Check {
    list: Checklist,
    group: Arc<Group>,
    url: Url,
    rules: Rules,
}

pub(super) fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.check.is_some() {
        return Err(duplicate(node));
    }
    o.check = Some(Draft { node: node.clone() });
    Ok(())
}

pub(super) fn read_match(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let name = &node.args[0];
    if o.matches.iter().any(|it| it.args[0] == name.text.as_str()) {
        return Err(Error::at(node.span, format!("duplicate match \"{name}\"")));
    }
    o.matches.push(node.clone());
    Ok(())
}

/// Compiles a location's `health_check`, once it is known where the location passes requests to.
pub(super) fn compile(o: &Options, pass: Option<&Pass>, cx: &mut Compile<'_>) -> Result<Option<Box<Check>>, Error> {
    let Some(Draft { node }) = &o.check else { return Ok(None) };
    if is_taken(node, cx) {
        return Ok(None);
    }
    let Some(Pass::To { group, url }) = pass else {
        return Err(Error::at(node.span, "\"health_check\" needs a \"proxy_pass\" without variables in its location"));
    };
    let list = checklist(node, cx)?;
    if list.grpc.is_some() {
        let what = "\"health_check\" with \"type=grpc\" needs a \"grpc_pass\" in its location";
        return Err(Error::at(node.span, what));
    }
    // The URI is the check's own.
    let url = Url { uri: "".into(), ..url.clone() };
    Ok(Some(Box::new(Check { list, group: group.clone(), url, rules: rules_of_checks(o, cx)? })))
}

impl Checked for Settings {
    fn checklist(&self) -> Option<(&Arc<Group>, &Checklist)> {
        self.check.as_ref().map(|it| (&it.group, &it.list))
    }

    fn ask<'a>(&'a self, probe: &'a Probe, ex: &'a mut Exchange) -> BoxFuture<'a, Option<&'static str>> {
        Box::pin(ask(self, probe, ex))
    }
}

async fn ask(on: &Settings, probe: &Probe, ex: &mut Exchange) -> Option<&'static str> {
    let check = on.check.as_ref()?;
    fill(ex, check);
    let Ok(handshake) = handshake(on, &check.url, ex) else { return Some("SSL handshaking to upstream") };
    let secure = handshake.as_ref().map(|it| it as &dyn Secure);
    let mut http = Http::new(on, &check.url);
    let route = Route { view: probe.view.clone(), secure };
    let flow = match on.is_http_2 {
        false => foregate_upstream::run(&check.rules, route, &mut http, ex, None).await,
        true => foregate_upstream::run(&check.rules, route, &mut Framed(http), ex, None).await,
    };
    match flow {
        Flow::Continue(reply) => {
            check.list.expected.fault(ex, reply, check.list.keepalive_time.is_some()).await
        }
        Flow::Break(_) => Some("connecting to upstream"),
    }
}

/// The request of a check: what `proxy_set_header` and its kin look at.
fn fill(ex: &mut Exchange, check: &Check) {
    let uri = &check.list.uri;
    let path = uri.iter().position(|it| *it == b'?').unwrap_or(uri.len());
    (ex.method, ex.method_name, ex.version) = (Method::Get, b"GET".to_vec(), Version::H11);
    ex.target.clone_from(uri);
    ex.uri = uri[..path].to_vec();
    ex.args = uri.get(path + 1..).unwrap_or_default().to_vec();
    ex.line = [b"GET ", &uri[..], b" HTTP/1.1"].concat();
    ex.host = check.url.host.as_bytes().to_vec();
    ex.fields.push(b"Host", check.url.host_header.as_bytes());
    ex.fields.push(b"User-Agent", CHECKS_AGENT);
}
