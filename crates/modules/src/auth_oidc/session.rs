//! Who is logged in: what a session holds, how it is read from the visitor's cookies, and how it goes on.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::PoisonError;

use aws_lc_rs::digest::{SHA256, digest};
use foregate_core::{Exchange, Level, log};
use foregate_jose::Token;
use foregate_jose::json::{Object, Value};
use foregate_net::clock;

use super::Settings;
use super::cookies::{self, Fresh};
use super::login::attributes;
use super::provider::Provider;
use super::tokens::{self, Failed, now};

/// A session is written anew when this part of its time has passed.
const PARTS: i64 = 8;
/// Renewals that are remembered, for the requests that were sent with the old cookie.
const RENEWALS_MAX: usize = 256;
/// For so long, milliseconds.
const RENEWAL_MS: u64 = 60_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Session {
    pub(super) id_token: String,
    pub(super) access_token: String,
    /// Empty: there is none.
    pub(super) refresh_token: String,
    /// When the tokens are to be renewed, seconds since the epoch.
    pub(super) due: i64,
    /// When the visitor was last known to be there, seconds since the epoch.
    pub(super) seen: i64,
    /// JSON; empty where nobody asked for it.
    pub(super) userinfo: String,
}

/// A note on an exchange whose visitor is logged in.
pub(super) struct Current(pub(super) Rc<Session>);

impl Session {
    /// The visitor's session, if there is one that has not ended.
    pub(super) fn read(provider: &Provider, ex: &Exchange) -> Option<Session> {
        let sealed = cookies::get_long(ex, &provider.cookie_name)?;
        let text = provider.sealer.open("session", &sealed)?;
        let session = Session::parse(&text)?;
        let until = session.seen.saturating_add(provider.session_timeout.as_secs() as i64);
        (until > now()).then_some(session)
    }

    fn parse(text: &str) -> Option<Session> {
        let object = Object::parse(text.as_bytes()).ok()?;
        let text = |name: &str| object.text(name).unwrap_or_default().to_owned();
        let number = |name: &str| object.get(name).and_then(Value::as_seconds);
        Some(Session {
            id_token: text("i"),
            access_token: text("a"),
            refresh_token: text("r"),
            due: number("e")?,
            seen: number("s")?,
            userinfo: text("u"),
        })
    }

    fn text(&self) -> String {
        let mut object = Object::default();
        for (name, value) in
            [("i", &self.id_token), ("a", &self.access_token), ("r", &self.refresh_token), ("u", &self.userinfo)]
        {
            if !value.is_empty() {
                object.push(name, Value::Text(value.clone()));
            }
        }
        object.push("e", Value::Number(self.due.to_string().into()));
        object.push("s", Value::Number(self.seen.to_string().into()));
        object.to_string()
    }

    /// The cookies that keep it.
    pub(super) fn cookies(&self, provider: &Provider, ex: &Exchange) -> Vec<String> {
        let sealed = provider.sealer.seal("session", &self.text()).unwrap_or_default();
        let lines = cookies::set_long(ex, &provider.cookie_name, &sealed, &attributes(provider, ex));
        lines.unwrap_or_else(|| {
            log!(
                ex,
                Level::Error,
                "the session at \"{}\" has {} bytes, which is more than cookies hold: let the provider put less into its tokens",
                provider.name,
                sealed.len()
            );
            Vec::new()
        })
    }

    /// What the ID token says; it was checked when it came.
    pub(super) fn claims(&self) -> Object {
        let token = Token::parse(self.id_token.as_bytes()).ok();
        token.and_then(|it| it.claims().ok()).unwrap_or_default()
    }
}

/// Renewals under way and done, by the refresh token that they used up.
#[derive(Default)]
pub(super) struct Renewals(VecDeque<Renewal>);

struct Renewal {
    of: [u8; 32],
    /// `clock::ms`.
    since: u64,
    /// `None`: it is under way.
    session: Option<Session>,
}

enum Turn {
    Mine,
    UnderWay,
    Done(Session),
}

impl Renewals {
    /// Whose turn it is to use a refresh token: it is good only once with many providers, and browsers ask for much at
    /// once.
    fn turn(&mut self, of: [u8; 32]) -> Turn {
        let now = clock::ms();
        self.0.retain(|it| now < it.since + RENEWAL_MS);
        match self.0.iter().find(|it| it.of == of) {
            Some(Renewal { session: Some(session), .. }) => Turn::Done(session.clone()),
            Some(_) => Turn::UnderWay,
            None => {
                self.0.truncate(RENEWALS_MAX - 1);
                self.0.push_front(Renewal { of, since: now, session: None });
                Turn::Mine
            }
        }
    }

    fn settle(&mut self, of: [u8; 32], session: Option<&Session>) {
        match session {
            Some(session) => {
                if let Some(it) = self.0.iter_mut().find(|it| it.of == of) {
                    it.session = Some(session.clone());
                }
            }
            None => self.0.retain(|it| it.of != of),
        }
    }
}

/// The session as it goes on, renewed where it is time; the answer will set its cookies. `None`: it has ended.
pub(super) async fn keep_fresh(on: &Settings, ex: &mut Exchange, session: Session) -> Option<Session> {
    let provider = &*on.provider;
    let mut going = session.clone();
    if now() >= session.due && !session.refresh_token.is_empty() {
        going = renewed(on, ex, session.clone()).await?;
    }
    let slides = provider.session_timeout.as_secs() as i64 / PARTS;
    if now() - going.seen > slides {
        going.seen = now();
    }
    if going != session {
        let lines = going.cookies(provider, ex);
        ex.notes.put(Fresh(lines));
    }
    Some(going)
}

async fn renewed(on: &Settings, ex: &mut Exchange, session: Session) -> Option<Session> {
    let provider = &*on.provider;
    let mut of = [0; 32];
    of.copy_from_slice(digest(&SHA256, session.refresh_token.as_bytes()).as_ref());
    let renewals = || provider.renewals.lock().unwrap_or_else(PoisonError::into_inner);
    let turn = renewals().turn(of);
    match turn {
        Turn::Done(session) => return Some(session),
        Turn::UnderWay => return Some(session),
        Turn::Mine => (),
    }
    let done = tokens::renew(on, &session).await;
    renewals().settle(of, done.as_ref().ok());
    match done {
        Ok(session) => Some(session),
        Err(Failed::Refused(why)) => {
            log!(ex, Level::Info, "the session at \"{}\" is over: {why}", provider.name);
            None
        }
        Err(Failed::Broken(why)) => {
            // The visitor has done nothing wrong: the session lasts its time.
            log!(ex, Level::Error, "tokens could not be renewed at \"{}\": {why}", provider.name);
            Some(session)
        }
    }
}
