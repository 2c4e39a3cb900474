//! `$oidc_claim_…` and their kin: what is known of who is logged in.

use std::rc::Rc;

use foregate_core::Exchange;
use foregate_jose::json::Object;

use super::session::{Current, Session};

/// The session of this exchange or of the one that it was made for.
fn session(ex: &Exchange) -> Option<Rc<Session>> {
    if let Some(Current(session)) = ex.notes.get() {
        return Some(session.clone());
    }
    let kin = ex.kin.as_ref()?;
    kin.notes.borrow().get::<Current>().map(|it| it.0.clone())
}

fn push(text: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text.as_bytes());
    !text.is_empty()
}

pub(super) fn id_token(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    session(ex).is_some_and(|it| push(&it.id_token, out))
}

pub(super) fn access_token(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    session(ex).is_some_and(|it| push(&it.access_token, out))
}

pub(super) fn userinfo(ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    session(ex).is_some_and(|it| push(&it.userinfo, out))
}

/// From the ID token, else from what the provider says of the user.
pub(super) fn claim(ex: &mut Exchange, name: &str, out: &mut Vec<u8>) -> bool {
    let Some(session) = session(ex) else { return false };
    let claims = session.claims();
    let info = match session.userinfo.is_empty() || claims.get_any_case(name).is_some() {
        true => Object::default(),
        false => Object::parse(session.userinfo.as_bytes()).unwrap_or_default(),
    };
    let Some(value) = claims.get_any_case(name).or_else(|| info.get_any_case(name)) else { return false };
    let mut text = String::new();
    value.show(&mut text);
    out.extend_from_slice(text.as_bytes());
    true
}
