//! `health_check` and `match`: peers are asked how they are before visitors find out.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Client, Compile, Exchange, Flow, Household, Nobody, Regex, Scope, duplicate};
use foregate_net::runtime::{self, Task};
use foregate_upstream::{
    Checker, Checklist, Expected, FieldTest, Group, Groups, Probe, Route, Rules, Secure, Test, start_check,
};
use foregate_wire::{Fields, Method, h1::Version};

use super::options::Options;
use super::pass::{Pass, Url};
use super::request::{Http, handshake};
use super::settings::{Settings, rules_of_checks};

/// NGINX Plus's default.
const INTERVAL: Duration = Duration::from_secs(5);
/// How requests of checks name their sender.
const AGENT: &[u8] = b"foregate health check";

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

/// The `match` blocks of a configuration by name.
#[derive(Default)]
struct Matches(HashMap<String, Arc<Expected>>);

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

/// Compiles the `match` blocks.
pub(super) fn prepare(o: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
    for node in &o.matches {
        let expected = Arc::new(expected(node, cx)?);
        cx.shared.get_or_default::<Matches>().0.insert(node.args[0].text.clone(), expected);
    }
    Ok(())
}

fn expected(node: &Node, cx: &mut Compile<'_>) -> Result<Expected, Error> {
    let mut all = Expected { name: node.args[0].text.clone(), status: None, ..Expected::default() };
    for child in node.body() {
        if child.is_block() {
            return Err(Error::not_terminated(child));
        }
        match child.name.text.as_str() {
            "status" if all.status.is_some() => return Err(duplicate(child)),
            "status" => all.status = Some(statuses(child)?),
            "header" => all.fields.push(field(child, cx)?),
            "body" if all.body.is_some() => return Err(duplicate(child)),
            "body" => match &*child.args {
                [how, pattern] if *how == "~" || *how == "!~" => {
                    all.body = Some(Test { holds: *how == "~", what: cx.regex(pattern, false)? });
                }
                _ => return Err(Error::arity(child)),
            },
            "require" if child.args.is_empty() => return Err(Error::arity(child)),
            "require" => {
                for word in &child.args {
                    all.require.push(cx.template(word)?);
                }
            }
            _ => return Err(Error::unknown_directive(child)),
        }
    }
    Ok(all)
}

/// `status 200 301-303;`, `status ! 500;`
fn statuses(node: &Node) -> Result<Test<Vec<RangeInclusive<u16>>>, Error> {
    let holds = node.args.first().is_none_or(|it| *it != "!");
    let words = if holds { &node.args[..] } else { &node.args[1..] };
    if words.is_empty() {
        return Err(Error::arity(node));
    }
    let code = |text: &str| text.parse::<u16>().ok().filter(|it| (100..=999).contains(it));
    let range = |word: &Word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let range = code(first).zip(code(last)).filter(|(first, last)| first <= last);
        range.map(|(first, last)| first..=last).ok_or_else(|| invalid(word))
    };
    Ok(Test { holds, what: words.iter().map(range).collect::<Result<_, _>>()? })
}

/// `header NAME;`, `header ! NAME;`, `header NAME = VALUE;` and the same with `!=`, `~`, `!~`.
fn field(node: &Node, cx: &mut Compile<'_>) -> Result<(String, FieldTest), Error> {
    let test = match &*node.args {
        [_] => FieldTest::Exists(true),
        [not, name] if *not == "!" => return Ok((name.text.clone(), FieldTest::Exists(false))),
        [_, how, value] if *how == "=" || *how == "!=" => {
            FieldTest::Is(Test { holds: *how == "=", what: value.bytes().to_vec() })
        }
        [_, how, pattern] if *how == "~" || *how == "!~" => {
            let what: Regex = cx.regex(pattern, false)?;
            FieldTest::Matches(Test { holds: *how == "~", what })
        }
        [_, how, _] => return Err(invalid(how)),
        _ => return Err(Error::arity(node)),
    };
    Ok((node.args[0].text.clone(), test))
}

fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid parameter \"{word}\""))
}

/// Compiles a location's `health_check`, once it is known where the location passes requests to.
pub(super) fn compile(o: &Options, pass: Option<&Pass>, cx: &mut Compile<'_>) -> Result<Option<Box<Check>>, Error> {
    let Some(Draft { node }) = &o.check else { return Ok(None) };
    let Some(Pass::To { group, url }) = pass else {
        return Err(Error::at(node.span, "\"health_check\" needs a \"proxy_pass\" without variables in its location"));
    };
    let list = checklist(node, cx)?;
    // The URI is the check's own.
    let url = Url { uri: "".into(), ..url.clone() };
    Ok(Some(Box::new(Check { list, group: group.clone(), url, rules: rules_of_checks(o, cx)? })))
}

fn checklist(node: &Node, cx: &mut Compile<'_>) -> Result<Checklist, Error> {
    let mut list = Checklist {
        interval: INTERVAL,
        jitter: Duration::ZERO,
        fails: 1,
        passes: 1,
        uri: b"/".to_vec(),
        port: None,
        mandatory: false,
        keepalive_time: None,
        expected: Arc::default(),
    };
    let mut persistent = None;
    for word in &node.args {
        let wrong = || invalid(word);
        let time = |text| value::time_ms(text).map(Duration::from_millis).ok_or_else(wrong);
        let count = |text: &str| text.parse().ok().filter(|it| *it > 0).ok_or_else(wrong);
        match word.split_once('=') {
            None if *word == "mandatory" => list.mandatory = true,
            // States outlive reloads in any case.
            None if *word == "persistent" => persistent = Some(word),
            Some(("interval", text)) => list.interval = time(text)?.max(Duration::from_millis(1)),
            Some(("jitter", text)) => list.jitter = time(text)?,
            Some(("keepalive_time", text)) => list.keepalive_time = Some(time(text)?),
            Some(("fails", text)) => list.fails = count(text)?,
            Some(("passes", text)) => list.passes = count(text)?,
            Some(("port", text)) => list.port = Some(text.parse().ok().filter(|it| *it > 0).ok_or_else(wrong)?),
            Some(("uri", text)) if text.starts_with('/') => list.uri = text.as_bytes().to_vec(),
            Some(("match", name)) => {
                let found = cx.shared.get_or_default::<Matches>().0.get(name).cloned();
                let missing = || Error::at(word.span, format!("match \"{name}\" is not defined"));
                list.expected = found.ok_or_else(missing)?;
            }
            Some(("type", "http")) => (),
            Some(("type", "grpc")) | Some(("grpc_service" | "grpc_status", _)) => {
                return Err(Error::at(word.span, "health checks by gRPC are not supported yet"));
            }
            _ => return Err(wrong()),
        }
    }
    match persistent {
        Some(word) if !list.mandatory => {
            Err(Error::at(word.span, "\"persistent\" needs \"mandatory\" in \"health_check\""))
        }
        _ => Ok(list),
    }
}

/// Starts the checks of a configuration on this thread: `places` are its locations, by number. They end with the tasks.
pub fn start<'a>(
    places: impl Iterator<Item = (u32, &'a Arc<Settings>)>,
    cycle: &Rc<dyn Household>,
) -> Vec<Task> {
    let checked: Vec<_> = places.filter(|(_, on)| on.check.is_some()).collect();
    let Some(groups) = cycle.shared().get::<Groups>() else { return Vec::new() };
    let wanted = checked.iter().filter_map(|(_, on)| on.check.as_ref().map(|it| (it.group.clone(), &it.list)));
    let checkers = Checker::all(wanted, groups);
    let tasks = checked.iter().zip(checkers).map(|((place, on), checker)| {
        runtime::spawn(keep_checking((*on).clone(), *place, checker, Rc::downgrade(cycle)))
    });
    tasks.collect()
}

async fn keep_checking(on: Arc<Settings>, place: u32, checker: Rc<Checker>, cycle: Weak<dyn Household>) {
    let Some(check) = &on.check else { return };
    while let Some(cycle) = cycle.upgrade() {
        for probe in checker.round(&check.list) {
            let (on, cycle, checker, peer) = (on.clone(), cycle.clone(), checker.clone(), probe.clone());
            start_check(probe, async move {
                let Some(check) = &on.check else { return };
                let fault = ask(&on, check, &peer, place, cycle.clone()).await;
                checker.settle(&check.list, &peer, fault, cycle.error_log(place));
            });
        }
        drop(cycle);
        checker.pause(&check.list).await;
    }
}

/// Asks a peer; says what is wrong with it.
async fn ask(
    on: &Settings,
    check: &Check,
    probe: &Probe,
    place: u32,
    cycle: Rc<dyn Household>,
) -> Option<&'static str> {
    let mut ex = Exchange::vacant(cycle, &Nobody::new());
    fill(&mut ex, check, place);
    let Ok(handshake) = handshake(on, &check.url, &mut ex) else { return Some("SSL handshaking to upstream") };
    let secure = handshake.as_ref().map(|it| it as &dyn Secure);
    let mut http = Http::new(on, &check.url);
    let route = Route { view: probe.view.clone(), secure };
    match foregate_upstream::run(&check.rules, route, &mut http, &mut ex, None).await {
        Flow::Continue(reply) => {
            check.list.expected.fault(&mut ex, reply, check.list.keepalive_time.is_some()).await
        }
        Flow::Break(_) => Some("connecting to upstream"),
    }
}

/// The request of a check: what `proxy_set_header` and its kin look at.
fn fill(ex: &mut Exchange, check: &Check, place: u32) {
    let uri = &check.list.uri;
    let path = uri.iter().position(|it| *it == b'?').unwrap_or(uri.len());
    ex.client = Rc::new(Nobodys);
    ex.location = place;
    (ex.method, ex.method_name, ex.version) = (Method::Get, b"GET".to_vec(), Version::H11);
    ex.target.clone_from(uri);
    ex.uri = uri[..path].to_vec();
    ex.args = uri.get(path + 1..).unwrap_or_default().to_vec();
    ex.line = [b"GET ", &uri[..], b" HTTP/1.1"].concat();
    ex.host = check.url.host.as_bytes().to_vec();
    ex.fields.push(b"Host", check.url.host_header.as_bytes());
    ex.fields.push(b"User-Agent", AGENT);
}

/// Waits as long as it takes.
struct Nobodys;

impl Client for Nobodys {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn send_interim<'a>(
        &'a self,
        _: u16,
        _: &'a Fields,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(std::future::ready(()))
    }
}
