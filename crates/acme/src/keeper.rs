//! The thread that keeps certificates: it loads, orders, renews and tries again, and never holds up those who serve.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foregate_core::{ErrorLog, Level};

use crate::answers::answers;
use crate::failure::{Failure, Fault};
use crate::http::Http;
use crate::internal;
use crate::issuer::{Issuer, Wish};
use crate::order::order;
use crate::renewal;
use crate::session::Session;
use crate::slot::Shown;
use crate::state::{self, Kept};

/// The longest sleep: clocks are set, machines sleep, and other processes renew.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Another process has the lock: how soon to see whether it is done.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);
/// After a start issuers are asked for their wishes within this time, not all at once, in milliseconds.
const ASK_AFTER_START_MS: i64 = 3_600_000;
/// A reload may mean that somebody has repaired something: pauses end after this, in milliseconds.
const PAUSE_AFTER_RELOAD_MS: i64 = 60_000;
/// An issuer that did not tell when to renew, in milliseconds.
const ASK_AFTER_FAILURE_MS: i64 = 6 * 3_600_000;
/// Issuers that are asked one after the other for one certificate.
const FALLBACKS_MAX: usize = 4;

/// What is wanted now.
#[derive(Clone)]
pub struct Plan {
    pub wishes: Vec<Wish>,
    pub log: ErrorLog,
}

/// The thread's handle; it ends with it.
pub struct Keeper {
    sender: Sender<Plan>,
}

impl Keeper {
    /// Fills every slot from its folder, or with a makeshift certificate, then starts the thread that does the rest.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(plan: Plan) -> std::io::Result<Keeper> {
        let entries = prepare(&plan);
        let (sender, receiver) = mpsc::channel();
        let keeping = Keeping { log: plan.log, entries, keys: HashMap::new() };
        thread::Builder::new().name("acme".into()).spawn(move || keeping.run(&receiver))?;
        Ok(Keeper { sender })
    }

    /// Another configuration: what it wants takes the place of what was wanted.
    pub fn adopt(&self, plan: Plan) {
        // Slots that are shown from now on must hold something.
        prepare(&plan);
        // It lives as long as this handle.
        _ = self.sender.send(plan);
    }
}

/// One wish and when to look at it again, in milliseconds since the epoch.
struct Entry {
    wish: Wish,
    kept: Kept,
    due_ms: i64,
    n_failed: u32,
    /// The issuer has asked not to be asked before, in milliseconds.
    forbidden_ms: i64,
    /// The moment that the issuer suggested, in seconds, and when to ask it again, in milliseconds.
    suggested: Option<(i64, i64)>,
}

/// Slots are filled where they are empty.
fn prepare(plan: &Plan) -> Vec<Entry> {
    let mut folders = Vec::new();
    let mut entries = Vec::new();
    for wish in &plan.wishes {
        folders.extend(wish.issuer.state.clone());
        let kept = Kept::of(wish);
        let mut due_ms = now_ms();
        if wish.slot.get().is_none_or(|it| !it.is_issued)
            && let Some(found) = kept.load()
        {
            wish.slot.put(found);
        }
        match wish.slot.get() {
            Some(shown) if shown.is_issued => {
                let ask_ms = due_ms + renewal::random_below(ASK_AFTER_START_MS);
                due_ms = renewal::due_s(&shown) * 1000;
                if wish.issuer.uri.is_some() {
                    due_ms = due_ms.min(ask_ms);
                }
            }
            Some(_) => (),
            None => {
                let text =
                    format!("no certificate for {} yet: a self-signed one is shown meanwhile", wish.shown());
                plan.log.write(Level::Warn, &text);
                match Shown::makeshift(&wish.names) {
                    Ok(shown) => wish.slot.put(shown),
                    Err(why) => {
                        plan.log.write(Level::Crit, &format!("no self-signed certificate can be made: {why}"))
                    }
                }
            }
        }
        entries.push(Entry {
            wish: wish.clone(),
            kept,
            due_ms,
            n_failed: 0,
            forbidden_ms: 0,
            suggested: None,
        });
    }
    answers().watch(folders, !plan.wishes.is_empty());
    entries
}

/// What the thread knows.
struct Keeping {
    log: ErrorLog,
    entries: Vec<Entry>,
    /// Accounts' keys that are kept nowhere else, by issuer.
    keys: HashMap<String, Option<String>>,
}

impl Keeping {
    fn run(mut self, receiver: &Receiver<Plan>) {
        loop {
            let due_ms = self.entries.iter().map(|it| it.due_ms).min().unwrap_or(i64::MAX);
            let wait =
                Duration::from_millis(due_ms.saturating_sub(now_ms()).max(0).unsigned_abs()).min(LOOK_EVERY);
            match receiver.recv_timeout(wait) {
                Ok(plan) => self.adopt(plan),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.look(),
            }
        }
    }

    /// What goes on being wanted keeps its patience.
    fn adopt(&mut self, plan: Plan) {
        let id = |wish: &Wish| Wish::id(&wish.issuer.name, &wish.names, wish.key);
        let mut before: BTreeMap<String, Entry> =
            std::mem::take(&mut self.entries).into_iter().map(|it| (id(&it.wish), it)).collect();
        self.entries = prepare(&plan);
        self.log = plan.log;
        for entry in &mut self.entries {
            if let Some(old) =
                before.remove(&id(&entry.wish)).filter(|it| same(&it.wish.issuer, &entry.wish.issuer))
            {
                (entry.due_ms, entry.n_failed, entry.suggested) = (old.due_ms, old.n_failed, old.suggested);
                entry.forbidden_ms = old.forbidden_ms;
                if entry.n_failed > 0 {
                    entry.due_ms = entry.due_ms.min(now_ms() + PAUSE_AFTER_RELOAD_MS).max(entry.forbidden_ms);
                }
            }
        }
    }

    /// Deals with the one that is due first, if it is.
    fn look(&mut self) {
        let Some(at) = (0..self.entries.len()).min_by_key(|at| self.entries[*at].due_ms) else { return };
        if self.entries[at].due_ms > now_ms() {
            return;
        }
        // A mistake of ours must not be the end of all renewals.
        let done = panic::catch_unwind(AssertUnwindSafe(|| self.attend(at)));
        let pause = match done.unwrap_or_else(|_| Err(Failure::own("a mistake in the program, see above"))) {
            Ok(pause) => pause,
            Err(failure) => self.failed(at, &failure),
        };
        self.entries[at].due_ms = now_ms().saturating_add(in_ms(pause));
    }

    /// Says so, and returns how long to wait.
    fn failed(&mut self, at: usize, failure: &Failure) -> Duration {
        let entry = &mut self.entries[at];
        entry.n_failed += 1;
        let pause = renewal::pause(failure, entry.n_failed);
        entry.forbidden_ms = now_ms() + in_ms(failure.retry_after.unwrap_or_default());
        let what = if entry.wish.slot.get().is_some_and(|it| it.is_issued) { "renewed" } else { "had" };
        let (names, seconds) = (entry.wish.shown(), pause.as_secs());
        let text =
            format!("the certificate for {names} cannot be {what}: {failure}; trying again in {seconds} s");
        self.log.write(Level::Error, &text);
        pause
    }

    /// Takes what another process has got, or orders; returns how long there is nothing to do.
    fn attend(&mut self, at: usize) -> Result<Duration, Failure> {
        let entry = &self.entries[at];
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
            return Ok(self.take(at, found));
        }
        if let Some(current) = &current {
            let pause = self.suggested_pause(at, current);
            if !pause.is_zero() {
                return Ok(pause);
            }
        }
        let shown = self.ask_all(&wish, current.as_deref())?;
        let text = format!("the certificate for {} was issued by {}", wish.shown(), issuer_name(&shown));
        self.log.write(Level::Notice, &text);
        let saved = kept.save(&shown);
        let pause = self.take(at, shown);
        if let Err(why) = saved {
            self.log.write(Level::Alert, &format!("the certificate for {} is not kept: {why}", wish.shown()));
        }
        Ok(pause)
    }

    /// It is shown from now on; returns how long it is good for, or until its issuer is to be asked.
    fn take(&mut self, at: usize, shown: Shown) -> Duration {
        let due_s = renewal::due_s(&shown);
        let entry = &mut self.entries[at];
        entry.wish.slot.put(shown);
        entry.n_failed = 0;
        // The issuer is asked for its own wish soon, and often enough.
        entry.suggested = Some((due_s, now_ms()));
        let left = (due_s * 1000 - now_ms()).clamp(0, in_ms(LOOK_EVERY));
        Duration::from_millis(left.unsigned_abs())
    }

    /// Until the renewal: none when it is time. The issuer may suggest another moment than a part of the lifetime.
    fn suggested_pause(&mut self, at: usize, current: &Shown) -> Duration {
        let now = now_ms();
        let entry = &self.entries[at];
        let (mut renew_s, mut ask_ms) = entry.suggested.unwrap_or_else(|| (renewal::due_s(current), now));
        let issuer = entry.wish.issuer.clone();
        if ask_ms <= now && renew_s * 1000 > now && issuer.uri.is_some() {
            ask_ms = now + ASK_AFTER_FAILURE_MS;
            match self.suggestion(at, &issuer, current) {
                Ok(Some(it)) => {
                    renew_s = it.renew_s;
                    ask_ms = now + in_ms(it.ask_again_in);
                }
                Ok(None) => (),
                Err(why) => self.log.write(Level::Info, &format!("the issuer suggests no renewal: {why}")),
            }
        }
        self.entries[at].suggested = Some((renew_s, ask_ms));
        let next_ms = if issuer.uri.is_some() { ask_ms.min(renew_s * 1000) } else { renew_s * 1000 };
        Duration::from_millis((next_ms - now).max(0).unsigned_abs())
    }

    fn suggestion(
        &mut self,
        at: usize,
        issuer: &Issuer,
        current: &Shown,
    ) -> Result<Option<renewal::Suggestion>, Failure> {
        let Some(uri) = &issuer.uri else { return Ok(None) };
        let http = Http::new(&issuer.trust)?.asking(&self.entries[at].wish.name_servers);
        let account = state::account(issuer, uri, self.keys.entry(issuer.name.clone()).or_default())?;
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
        let account = state::account(issuer, uri, self.keys.entry(issuer.name.clone()).or_default())?;
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

fn same(one: &Arc<Issuer>, other: &Arc<Issuer>) -> bool {
    // Whoever has changed an issuer's block wants to see at once whether it helps.
    format!("{one:?}") == format!("{other:?}")
}

fn issuer_name(shown: &Shown) -> impl Display {
    let own = shown.certified.cert.first().and_then(|it| foregate_net::tls::x509::Certificate::parse(it));
    own.map_or_else(String::new, |it| it.issuer.rfc2253())
}

fn now_ms() -> i64 {
    in_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn in_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
