//! `sticky cookie|route|learn …` inside of an `upstream` block.

use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Compile, Scope, Template, duplicate};
use foregate_upstream::{Cookie, Expires, Group, How, Sessions, Sticky, is_same_site};

use super::Options;

/// As written.
#[derive(Clone)]
pub(super) enum Draft {
    Cookie { name: Word, rest: Vec<Word> },
    Route(Vec<Word>),
    Learn(Vec<Word>),
}

/// nginx's default for `timeout=`.
const TIMEOUT: Duration = Duration::from_secs(600);
/// nginx's smallest zone: eight pages.
const ZONE_BYTES_MIN: u64 = 8 * 4096;

pub(super) fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.sticky.is_some() {
        return Err(duplicate(node));
    }
    let how = &node.args[0];
    o.sticky = Some(match how.text.as_str() {
        "cookie" => Draft::Cookie { name: node.args[1].clone(), rest: node.args[2..].to_vec() },
        "route" => Draft::Route(node.args[1..].to_vec()),
        "learn" => Draft::Learn(node.args[1..].to_vec()),
        _ => return Err(Error::at(how.span, format!("unknown parameter \"{how}\""))),
    });
    Ok(())
}

impl Draft {
    pub(super) fn compile(&self, previous: Option<&Group>, cx: &mut Compile<'_>) -> Result<Sticky, Error> {
        match self {
            Self::Cookie { name, rest } => cookie(name, rest, cx),
            Self::Route(words) => {
                if let Some(word) = words.iter().find(|word| !word.starts_with('$')) {
                    return Err(Error::at(word.span, format!("invalid variable name \"{word}\"")));
                }
                let lookup = words.iter().map(|word| cx.template(word)).collect::<Result<_, _>>()?;
                Ok(Sticky { lookup, how: How::Route })
            }
            Self::Learn(words) => learn(words, previous, cx),
        }
    }
}

/// nginx puts the directive's name in front of these.
fn fail(word: &Word, what: &str) -> Error {
    Error::at(word.span, format!("\"sticky\" directive {what}"))
}

fn cookie(name: &Word, rest: &[Word], cx: &mut Compile<'_>) -> Result<Sticky, Error> {
    if name.is_empty() {
        return Err(fail(name, "empty cookie name"));
    }
    let mut cookie = Cookie {
        name: name.text.clone(),
        expires: None,
        domain: None,
        path: None,
        http_only: false,
        secure: false,
        same_site: None,
    };
    for word in rest {
        attribute(&mut cookie, word, cx)?;
    }
    let own = Word::new(format!("$cookie_{name}").into_bytes(), name.span, false);
    Ok(Sticky { lookup: vec![cx.template(&own)?], how: How::Cookie(cookie) })
}

fn attribute(cookie: &mut Cookie, word: &Word, cx: &mut Compile<'_>) -> Result<(), Error> {
    let (name, given) = match word.split_once('=') {
        Some((name, given)) => (name, Some(given)),
        None => (word.text.as_str(), None),
    };
    let tail = || word.trimmed(name.len() + 1, 0);
    let twice = match name {
        "domain" => cookie.domain.is_some(),
        "path" => cookie.path.is_some(),
        "expires" => cookie.expires.is_some(),
        "httponly" => cookie.http_only,
        "secure" => cookie.secure,
        "samesite" => cookie.same_site.is_some(),
        _ => false,
    };
    if twice {
        return Err(fail(word, &format!("parameter \"{name}\" is duplicate")));
    }
    match (name, given) {
        ("domain" | "path", Some("")) => return Err(fail(word, &format!("no value for \"{name}\""))),
        ("domain", Some(_)) => cookie.domain = Some(cx.template(&tail())?),
        ("path", Some(path)) => cookie.path = Some(path.to_owned()),
        ("expires", Some("max")) => cookie.expires = Some(Expires::Max),
        ("expires", Some(time)) => {
            let time = value::time_s(time).ok_or_else(|| fail(word, "invalid \"expires\" parameter value"))?;
            cookie.expires = Some(Expires::In(time));
        }
        ("httponly", None) => cookie.http_only = true,
        ("secure", None) => cookie.secure = true,
        ("samesite", Some(site)) => {
            if !site.contains('$') && !is_same_site(site.as_bytes()) {
                return Err(fail(word, "invalid \"samesite\" parameter value"));
            }
            cookie.same_site = Some(cx.template(&tail())?);
        }
        _ => return Err(Error::at(word.span, format!("unknown parameter \"{word}\""))),
    }
    Ok(())
}

fn learn(words: &[Word], previous: Option<&Group>, cx: &mut Compile<'_>) -> Result<Sticky, Error> {
    let (mut create, mut lookup) = (Vec::new(), Vec::new());
    let (mut zone, mut timeout, mut at_head) = (None, None, false);
    for word in words {
        match word.split_once('=') {
            Some(("zone", given)) => {
                if zone.replace(zone_of(word, given)?).is_some() {
                    return Err(fail(word, "duplicate zone"));
                }
            }
            Some(("timeout", given)) => {
                let time = value::time_ms(given).filter(|it| *it > 0);
                let time = time.ok_or_else(|| fail(word, "invalid timeout"))?;
                if timeout.replace(Duration::from_millis(time)).is_some() {
                    return Err(fail(word, "duplicate timeout"));
                }
            }
            Some(("create", given)) => create.push(variable(word, "create", given, cx)?),
            Some(("lookup", given)) => lookup.push(variable(word, "lookup", given, cx)?),
            None if *word == "header" => at_head = true,
            _ => return Err(Error::at(word.span, format!("unknown parameter \"{word}\""))),
        }
    }
    let missing = |name: &str| fail(&words[0], &format!("\"{name}\" parameter is not specified"));
    let (name, bytes) = match zone {
        _ if lookup.is_empty() => return Err(missing("lookup")),
        _ if create.is_empty() => return Err(missing("create")),
        None => return Err(missing("zone")),
        Some(zone) => zone,
    };
    let new = Sessions::new(&name, bytes, timeout.unwrap_or(TIMEOUT));
    let sessions = match previous.and_then(|it| it.sticky.as_ref()) {
        Some(Sticky { how: How::Learn { sessions: old, .. }, .. }) if old.is_same(&new) => old.clone(),
        _ => Arc::new(new),
    };
    Ok(Sticky { lookup, how: How::Learn { create, sessions, at_head } })
}

fn zone_of(word: &Word, given: &str) -> Result<(String, u64), Error> {
    let Some((name, size)) = given.split_once(':') else { return Err(fail(word, "zone size is not specified")) };
    if name.is_empty() {
        return Err(fail(word, "zone name is not specified"));
    }
    let bytes = value::size(size).ok_or_else(|| fail(word, "invalid zone size"))?;
    if bytes < ZONE_BYTES_MIN {
        return Err(fail(word, "zone is too small"));
    }
    Ok((name.to_owned(), bytes))
}

fn variable(word: &Word, name: &str, given: &str, cx: &mut Compile<'_>) -> Result<Template, Error> {
    if !given.starts_with('$') {
        return Err(fail(word, &format!("missing variable in the \"{name}\" parameter")));
    }
    cx.template(&word.trimmed(name.len() + 1, 0))
}
