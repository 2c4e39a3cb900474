//! `health_check` and `match` as they are written, whatever the protocol.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Node, Span, Word, value};
use foregate_core::{Compile, Regex, duplicate};

use crate::checks::{Checklist, Expected, FieldTest, GrpcCheck, Test};

/// NGINX Plus's default.
const INTERVAL: Duration = Duration::from_secs(5);
/// The largest status of gRPC.
const GRPC_STATUS_MAX: u32 = 16;

/// The `match` blocks of a configuration by name.
#[derive(Default)]
struct Matches(HashMap<String, Arc<Expected>>);

/// Where directives stand that a protocol has taken for its own.
#[derive(Default)]
struct Taken(Vec<Span>);

/// Notes that a `health_check` belongs to the protocol that reads it.
pub fn take(node: &Node, cx: &mut Compile<'_>) {
    cx.shared.get_or_default::<Taken>().0.push(node.span);
}

/// Whether a `health_check` belongs to another protocol.
pub fn is_taken(node: &Node, cx: &mut Compile<'_>) -> bool {
    cx.shared.get_or_default::<Taken>().0.contains(&node.span)
}

/// Compiles the `match` blocks.
///
/// # Errors
/// What cannot be compiled, in its place.
pub fn prepare(matches: &[Node], cx: &mut Compile<'_>) -> Result<(), Error> {
    for node in matches {
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

/// Reads the parameters of `health_check`.
///
/// # Errors
/// Those that there are not, or not together.
pub fn checklist(node: &Node, cx: &mut Compile<'_>) -> Result<Checklist, Error> {
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
        grpc: None,
    };
    let (mut persistent, mut http_only) = (None, None);
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
            Some(("port", text)) => {
                list.port = Some(text.parse().ok().filter(|it| *it > 0).ok_or_else(wrong)?)
            }
            Some(("uri", text)) if text.starts_with('/') => list.uri = text.as_bytes().to_vec(),
            Some(("match", name)) => {
                let found = cx.shared.get_or_default::<Matches>().0.get(name).cloned();
                let missing = || Error::at(word.span, format!("match \"{name}\" is not defined"));
                list.expected = found.ok_or_else(missing)?;
            }
            Some(("type", "http")) => (),
            Some(("type", "grpc")) => _ = list.grpc.get_or_insert_default(),
            Some(("grpc_service", name)) => grpc(&mut list, word)?.service = name.into(),
            Some(("grpc_status", code)) => {
                let code = code.parse().ok().filter(|it| *it <= GRPC_STATUS_MAX);
                grpc(&mut list, word)?.status = code.ok_or_else(wrong)?;
            }
            _ => return Err(wrong()),
        }
        let (name, _) = word.split_once('=').unwrap_or_default();
        http_only = http_only.or(Some(word).filter(|_| matches!(name, "uri" | "match")));
    }
    if let (Some(word), Some(_)) = (http_only, &list.grpc) {
        return Err(Error::at(word.span, format!("\"{word}\" has no meaning with \"type=grpc\"")));
    }
    match persistent {
        Some(word) if !list.mandatory => {
            Err(Error::at(word.span, "\"persistent\" needs \"mandatory\" in \"health_check\""))
        }
        _ => Ok(list),
    }
}

/// As in NGINX Plus, what belongs to gRPC stands behind `type=grpc`.
fn grpc<'a>(list: &'a mut Checklist, word: &Word) -> Result<&'a mut GrpcCheck, Error> {
    let what = format!("\"{word}\" must stand behind \"type=grpc\"");
    list.grpc.as_mut().ok_or_else(|| Error::at(word.span, what))
}
