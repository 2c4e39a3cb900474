//! What a token says, once it has been judged, and the variables that show it.
//!
//! A variable may be asked for ahead of the access phase (`limit_req` by `$jwt_claim_sub`): then the token is judged
//! at once, if its keys are at hand. Nothing is ever shown of a token that no key has signed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use foregate_conf::{Error, Node};
use foregate_core::hash::ByteMap;
use foregate_core::{Compile, Evaluate, Evaluator, Exchange};
use foregate_jose::json::{Object, Value};
use foregate_jose::{Keys, Refused, Times, Token};
use foregate_net::clock;

use super::{Settings, read, token};

/// Good tokens that one thread remembers under fixed keys, so that a client's next request costs no signature.
pub(super) const KNOWN_MAX: usize = 512;

/// What was found of a token.
pub(super) enum Judged {
    Missing,
    Refused(Refused),
    Good(Rc<Good>),
}

/// A token that a key has signed.
pub(super) struct Good {
    token: Token,
    claims: Object,
}

/// A note on the exchange, and under which settings it was made.
struct Verdict {
    id: u64,
    judged: Rc<Judged>,
}

impl Judged {
    /// What has been found under these settings.
    pub(super) fn of(on: &Settings, ex: &Exchange) -> Option<Rc<Self>> {
        let verdict = ex.notes.get::<Verdict>().filter(|it| it.id == on.id)?;
        Some(verdict.judged.clone())
    }

    pub(super) fn keep(self, on: &Settings, ex: &mut Exchange) -> Rc<Self> {
        let judged = Rc::new(self);
        ex.notes.put(Verdict { id: on.id, judged: judged.clone() });
        judged
    }
}

thread_local! {
    /// By a hash of settings and token.
    static KNOWN: RefCell<ByteMap<Rc<Good>>> = RefCell::default();
}

#[cfg(test)]
pub(super) fn n_known() -> usize {
    KNOWN.with_borrow(ByteMap::len)
}

/// Looks at a token with these keys.
pub(super) fn judge(on: &Settings, text: &[u8], sets: &[Arc<Keys>]) -> Judged {
    let fixed = on.key_files.is_empty() && on.key_requests.is_empty();
    let name = fixed.then(|| digest(&SHA256, &[&on.id.to_le_bytes()[..], text].concat()));
    let known = name.as_ref().and_then(|name| KNOWN.with_borrow(|it| it.get(name.as_ref()).cloned()));
    let is_new = known.is_none();
    let good = match known {
        Some(good) => good,
        None => match verify(text, sets) {
            Ok(good) => Rc::new(good),
            Err(why) => return Judged::Refused(why),
        },
    };
    let times = Times { now: (clock::unix_ms() / 1000) as i64, leeway: on.leeway };
    if let Err(why) = times.check(&good.claims) {
        return Judged::Refused(why);
    }
    if let Some(name) = name.filter(|_| is_new) {
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(name.as_ref().into(), good.clone());
        });
    }
    Judged::Good(good)
}

/// The set that knows most about the token has the last word about why it is refused.
fn verify(text: &[u8], sets: &[Arc<Keys>]) -> Result<Good, Refused> {
    let token = Token::parse(text)?;
    let mut why = Refused::NoKeyFor(token.alg);
    for keys in sets {
        match token.verify(keys) {
            Ok(()) => {
                let claims = token.claims()?;
                return Ok(Good { token, claims });
            }
            Err(Refused::Signature) => why = Refused::Signature,
            Err(unknown @ Refused::UnknownKey(_)) if why != Refused::Signature => why = unknown,
            Err(_) => (),
        }
    }
    Err(why)
}

/// The good token of this exchange or of the one that it was made for.
fn good(ex: &mut Exchange) -> Option<Rc<Good>> {
    let noted = |judged: &Rc<Judged>| match &**judged {
        Judged::Good(good) => Some(good.clone()),
        _ => None,
    };
    let cycle = ex.cycle.clone();
    let on = crate::settings(&*cycle, ex.location).auth_jwt.as_deref();
    if let Some(verdict) = ex.notes.get::<Verdict>().filter(|it| on.is_none_or(|on| on.id == it.id)) {
        return noted(&verdict.judged);
    }
    if let Some(kin) = &ex.kin
        && let Some(verdict) = kin.notes.borrow().get::<Verdict>()
    {
        return noted(&verdict.judged);
    }
    let on = on.filter(|on| on.key_requests.is_empty() && on.key_files.is_empty() && !on.keys.is_empty())?;
    let judged = match token(on, ex) {
        Some(text) => judge(on, &text, std::slice::from_ref(&on.keys)),
        None => Judged::Missing,
    };
    noted(&judged.keep(on, ex))
}

fn show(value: Option<&Value>, out: &mut Vec<u8>) -> bool {
    let Some(value) = value else { return false };
    let mut text = String::new();
    value.show(&mut text);
    out.extend_from_slice(text.as_bytes());
    true
}

pub(super) fn claim(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    good(ex).is_some_and(|good| show(good.claims.get_any_case(name), out))
}

pub(super) fn header(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    good(ex).is_some_and(|good| show(good.token.header.get_any_case(name), out))
}

pub(super) fn payload(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let Some(good) = good(ex) else { return false };
    // Between members there may be line ends, which do not belong into header fields; within texts there are none.
    out.extend(good.token.payload.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
    true
}

/// Which half of a token.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Header,
    Claims,
}

/// A variable of `auth_jwt_claim_set` or `auth_jwt_header_set`: a way through objects.
struct Way {
    part: Part,
    names: Vec<String>,
}

impl Evaluate for Way {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        let Some(good) = good(ex) else { return false };
        let object = match self.part {
            Part::Header => &good.token.header,
            Part::Claims => &good.claims,
        };
        show(object.at(self.names.iter().map(String::as_str)), out)
    }
}

pub(super) fn define(node: &Node, part: Part, cx: &mut Compile<'_>) -> Result<(), Error> {
    let name = &node.args[0];
    let slot = cx.variables.declare(read::bare(name)?, name.span)?;
    let names = node.args[1..].iter().map(|it| it.text.clone()).collect();
    // Asked for too early it has no value, and later it has one.
    cx.variables.define(slot, Evaluator { how: Arc::new(Way { part, names }), volatile: true });
    Ok(())
}
