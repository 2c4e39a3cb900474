//! One look at one wish: what is there is taken, what is missing is ordered, and the next look is set.

use std::collections::HashMap;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foregate_core::{ErrorLog, Level};

use crate::failure::{Failure, Fault};
use crate::http::Http;
use crate::internal;
use crate::issuer::{Issuer, Wish};
use crate::keeper::{Entry, LOOK_EVERY, in_ms, now_ms};
use crate::order::order;
use crate::renewal;
use crate::session::Session;
use crate::slot::Shown;
use crate::state::{self, Account, Patience};

/// Another process has the lock: how soon to see whether it is done.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);
/// An issuer that did not tell when to renew, in milliseconds.
const ASK_AFTER_FAILURE_MS: i64 = 6 * 3_600_000;
/// Issuers that are asked one after the other for one certificate.
const FALLBACKS_MAX: usize = 4;

/// Accounts' keys that are kept nowhere else, by issuer.
pub(crate) type Keys = Arc<Mutex<HashMap<String, Option<String>>>>;

pub(crate) struct Attempt {
    pub(crate) entry: Entry,
    pub(crate) log: ErrorLog,
    pub(crate) keys: Keys,
}

impl Attempt {
    /// Blocks until it is done; gives the entry with the time of the next look.
    pub(crate) fn run(mut self) -> Entry {
        // A mistake of ours must not be the end of all renewals.
        let done = panic::catch_unwind(AssertUnwindSafe(|| self.attend_allowed()));
        let pause = match done.unwrap_or_else(|_| Err(Failure::own("a mistake in the program, see above"))) {
            Ok(pause) => {
                if let Some((by, name)) = &self.entry.demand
                    && self.entry.wish.slot.get().is_some()
                {
                    by.succeeded(name);
                }
                pause
            }
            Err(failure) => self.failed(&failure),
        };
        self.entry.due_ms = now_ms().saturating_add(in_ms(pause));
        if self.entry.n_failed > 0 {
            let (tried_ms, due_ms) = (now_ms(), self.entry.due_ms);
            let (n_failed, forbidden_ms) = (self.entry.n_failed, self.entry.forbidden_ms);
            let issuer = &self.entry.wish.issuer;
            self.entry
                .kept
                .keep_patience(issuer, Some(&Patience { n_failed, tried_ms, due_ms, forbidden_ms }));
        }
        self.entry
    }

    /// Asks first whether a name that was demanded may have a certificate.
    fn attend_allowed(&mut self) -> Result<Duration, Failure> {
        if let (Some((by, name)), false) = (self.entry.demand.clone(), self.entry.allowed) {
            if !by.allows(&name, &self.entry.wish.name_servers)? {
                self.log
                    .write(Level::Info, &format!("no certificate on demand for \"{name}\": it is refused"));
                by.refuse(&name);
                self.entry.refused = true;
                return Ok(Duration::ZERO);
            }
            self.entry.allowed = true;
        }
        self.attend()
    }

    fn account(&self, issuer: &Issuer, uri: &str) -> Result<Account, Failure> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        state::account(issuer, uri, keys.entry(issuer.name.clone()).or_default())
    }

    /// Says so, and returns how long to wait.
    fn failed(&mut self, failure: &Failure) -> Duration {
        let entry = &mut self.entry;
        entry.n_failed += 1;
        let pause = renewal::pause(failure, entry.n_failed);
        if let Some((by, name)) = &entry.demand {
            by.failed(name);
        }
        entry.forbidden_ms = now_ms() + in_ms(failure.retry_after.unwrap_or_default());
        let what = if entry.wish.slot.get().is_some_and(|it| it.is_issued) { "renewed" } else { "had" };
        let (names, seconds) = (entry.wish.shown(), pause.as_secs());
        let text =
            format!("the certificate for {names} cannot be {what}: {failure}; trying again in {seconds} s");
        self.log.write(Level::Error, &text);
        pause
    }

    /// Takes what another process has got, or orders; returns how long there is nothing to do.
    fn attend(&mut self) -> Result<Duration, Failure> {
        let entry = &self.entry;
        let (wish, kept) = (entry.wish.clone(), entry.kept.clone());
        let Some(_lock) = kept.lock()? else { return Ok(LOCKED_PAUSE) };
        let current = wish.slot.get().filter(|it| it.is_issued);
        if let Some(found) = kept.load().filter(renewal::is_fresh)
            && current.as_ref().is_none_or(|it| it.chain_pem != found.chain_pem)
        {
            self.log.write(
                Level::Notice,
                &format!("the certificate for {} was found in the folder", wish.shown()),
            );
            return Ok(self.take(found));
        }
        if let Some(current) = &current {
            let pause = self.suggested_pause(current);
            if !pause.is_zero() {
                return Ok(pause);
            }
        }
        let shown = self.ask_all(&wish, current.as_deref())?;
        let text = format!("the certificate for {} was issued by {}", wish.shown(), issuer_name(&shown));
        self.log.write(Level::Notice, &text);
        let saved = kept.save(&shown);
        let pause = self.take(shown);
        if let Err(why) = saved {
            self.log.write(Level::Alert, &format!("the certificate for {} is not kept: {why}", wish.shown()));
        }
        Ok(pause)
    }

    /// It is shown from now on; returns how long it is good for, or until its issuer is to be asked.
    fn take(&mut self, shown: Shown) -> Duration {
        let due_s = renewal::due_s(&shown);
        let entry = &mut self.entry;
        entry.wish.slot.put(shown);
        if std::mem::take(&mut entry.n_failed) > 0 {
            entry.kept.keep_patience(&entry.wish.issuer, None);
        }
        // The issuer is asked for its own wish soon, and often enough.
        entry.suggested = Some((due_s, now_ms()));
        let left = (due_s * 1000 - now_ms()).clamp(0, in_ms(LOOK_EVERY));
        Duration::from_millis(left.unsigned_abs())
    }

    /// Until the renewal: none when it is time. The issuer may suggest another moment than a part of the lifetime.
    fn suggested_pause(&mut self, current: &Shown) -> Duration {
        let now = now_ms();
        let entry = &self.entry;
        let (mut renew_s, mut ask_ms) = entry.suggested.unwrap_or_else(|| (renewal::due_s(current), now));
        let issuer = entry.wish.issuer.clone();
        if ask_ms <= now && renew_s * 1000 > now && issuer.uri.is_some() {
            ask_ms = now + ASK_AFTER_FAILURE_MS;
            match self.suggestion(&issuer, current) {
                Ok(Some(it)) => {
                    renew_s = it.renew_s;
                    ask_ms = now + in_ms(it.ask_again_in);
                }
                Ok(None) => (),
                Err(why) => self.log.write(Level::Info, &format!("the issuer suggests no renewal: {why}")),
            }
        }
        self.entry.suggested = Some((renew_s, ask_ms));
        let next_ms = if issuer.uri.is_some() { ask_ms.min(renew_s * 1000) } else { renew_s * 1000 };
        Duration::from_millis((next_ms - now).max(0).unsigned_abs())
    }

    fn suggestion(
        &mut self,
        issuer: &Issuer,
        current: &Shown,
    ) -> Result<Option<renewal::Suggestion>, Failure> {
        let Some(uri) = &issuer.uri else { return Ok(None) };
        let http = Http::new(&issuer.trust)?.asking(&self.entry.wish.name_servers);
        let account = self.account(issuer, uri)?;
        drop(account.lock);
        let session = Session::open(&http, &account.signer, uri)?;
        renewal::suggestion(&session, current)
    }

    /// The issuer, and those that stand in for it.
    fn ask_all(&mut self, wish: &Wish, current: Option<&Shown>) -> Result<Shown, Failure> {
        let mut issuer = wish.issuer.clone();
        for _ in 0..FALLBACKS_MAX {
            match (self.ask(wish, &issuer, current), &issuer.fallback) {
                (Err(failure), Some(other)) => {
                    let names = wish.shown();
                    let text = format!(
                        "issuer {} gives no certificate for {names}: {failure}; asking {}",
                        issuer.name, other.name
                    );
                    self.log.write(Level::Warn, &text);
                    issuer = other.clone();
                }
                (done, _) => return done,
            }
        }
        Err(Failure::own("no issuer of the chain of fallbacks issues"))
    }

    fn ask(&mut self, wish: &Wish, issuer: &Issuer, current: Option<&Shown>) -> Result<Shown, Failure> {
        let Some(uri) = &issuer.uri else {
            return internal::issue(wish, issuer.state.as_ref(), issuer.lifetime);
        };
        let http = Http::new(&issuer.trust)?.asking(&wish.name_servers);
        let replaces = current.and_then(renewal::certificate_id);
        let mut done = self.ask_once(wish, issuer, uri, &http, replaces.as_deref());
        // Its issuer has forgotten the account: a new one is made.
        if done.as_ref().is_err_and(|it| it.problem == "accountDoesNotExist") {
            done = self.ask_once(wish, issuer, uri, &http, None);
        }
        done
    }

    fn ask_once(
        &mut self,
        wish: &Wish,
        issuer: &Issuer,
        uri: &str,
        http: &Http,
        replaces: Option<&str>,
    ) -> Result<Shown, Failure> {
        let account = self.account(issuer, uri)?;
        let mut session = Session::open(http, &account.signer, uri)?;
        let known = account.kid.clone();
        let kid = session.enter(issuer, known.clone())?;
        if known.is_none() {
            self.log.write(Level::Notice, &format!("registered with issuer {} as {kid}", issuer.name));
            state::keep_account(issuer, uri, &account.signer, Some(&kid))?;
        }
        drop(account.lock);
        let done = order(&mut session, wish, issuer, replaces);
        if done.as_ref().is_err_and(|it| it.fault == Fault::Refused && it.problem == "accountDoesNotExist") {
            state::keep_account(issuer, uri, &account.signer, None)?;
        }
        done
    }
}

fn issuer_name(shown: &Shown) -> impl Display {
    let own = shown.certified.cert.first().and_then(|it| foregate_net::tls::x509::Certificate::parse(it));
    own.map_or_else(String::new, |it| it.issuer.rfc2253())
}
