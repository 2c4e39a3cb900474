//! The thread that keeps certificates: it loads, orders, renews and tries again, and never holds up those who serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foregate_core::{ErrorLog, Level};

use crate::answers::answers;
use crate::attempt::{Attempt, Keys};
use crate::demand::OnDemand;
use crate::issuer::{Issuer, Wish};
use crate::renewal;
use crate::slot::Shown;
use crate::state::Kept;

/// The longest sleep: clocks are set, machines sleep, and other processes renew.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a start issuers are asked for their wishes within this time, not all at once, in milliseconds.
const ASK_AFTER_START_MS: i64 = 3_600_000;
/// A reload may mean that somebody has repaired something: pauses end after this, in milliseconds.
const PAUSE_AFTER_RELOAD_MS: i64 = 60_000;

/// Orders that are under way at the same time.
const ATTEMPTS_MAX: usize = 4;
/// After a restart what has failed is tried again so long after the last attempt at the soonest, in milliseconds.
const PAUSE_AFTER_RESTART_MS: i64 = 900_000;

/// What is wanted now.
#[derive(Clone)]
pub struct Plan {
    pub wishes: Vec<Wish>,
    /// Where names may be demanded.
    pub demands: Vec<Arc<OnDemand>>,
    pub log: ErrorLog,
}

/// The thread's handle; it ends with it.
pub struct Keeper {
    sender: Sender<Message>,
}

impl Keeper {
    /// Fills every slot from its folder, or with a makeshift certificate, then starts the thread that does the rest.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(plan: Plan) -> std::io::Result<Keeper> {
        let entries = prepare(&plan);
        let (sender, receiver) = mpsc::channel();
        plan.demands.iter().for_each(|it| it.served_by(&sender));
        let (Plan { log, demands, .. }, keys) = (plan, Keys::default());
        let keeping = Keeping { log, entries, demands, keys, sender: sender.clone() };
        thread::Builder::new().name("acme".into()).spawn(move || keeping.run(&receiver))?;
        Ok(Keeper { sender })
    }

    /// Another configuration: what it wants takes the place of what was wanted.
    pub fn adopt(&self, plan: Plan) {
        // Slots that are shown from now on must hold something.
        prepare(&plan);
        plan.demands.iter().for_each(|it| it.served_by(&self.sender));
        // It lives as long as this handle.
        _ = self.sender.send(Message::Adopt(plan));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        _ = self.sender.send(Message::End);
    }
}

/// What the thread hears.
pub(crate) enum Message {
    Adopt(Plan),
    Demand(Arc<OnDemand>, String),
    Done(Box<Entry>),
    End,
}

/// One wish and when to look at it again, in milliseconds since the epoch.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) wish: Wish,
    pub(crate) kept: Kept,
    pub(crate) due_ms: i64,
    pub(crate) n_failed: u32,
    /// The issuer has asked not to be asked before, in milliseconds.
    pub(crate) forbidden_ms: i64,
    /// The moment that the issuer suggested, in seconds, and when to ask it again, in milliseconds.
    pub(crate) suggested: Option<(i64, i64)>,
    /// An attempt is under way.
    busy: bool,
    /// A visitor came for this name; nobody has written it down.
    pub(crate) demand: Option<(Arc<OnDemand>, String)>,
    /// The operator's address has said yes to that.
    pub(crate) allowed: bool,
    /// It has said no.
    pub(crate) refused: bool,
}

impl Entry {
    fn of(wish: &Wish) -> Entry {
        Entry {
            wish: wish.clone(),
            kept: Kept::of(wish),
            due_ms: now_ms(),
            n_failed: 0,
            forbidden_ms: 0,
            suggested: None,
            busy: false,
            demand: None,
            allowed: false,
            refused: false,
        }
    }

    /// What failed before this process began is not tried at once: who restarts again and again must not wear out the
    /// issuer's patience.
    fn remember(&mut self) {
        if let Some(patience) = self.kept.patience(&self.wish.issuer) {
            let soonest_ms = (patience.tried_ms + PAUSE_AFTER_RESTART_MS).max(patience.forbidden_ms);
            self.n_failed = patience.n_failed;
            self.forbidden_ms = patience.forbidden_ms;
            self.due_ms = self.due_ms.max(patience.due_ms.min(soonest_ms));
        }
    }

    /// Fills the slot from the folder; whether it holds an issuer's certificate then.
    fn load(&self) -> bool {
        let is_issued = || self.wish.slot.get().is_some_and(|it| it.is_issued);
        if !is_issued()
            && let Some(found) = self.kept.load()
        {
            self.wish.slot.put(found);
        }
        is_issued()
    }
}

/// Slots are filled where they are empty.
fn prepare(plan: &Plan) -> Vec<Entry> {
    let issuers =
        plan.wishes.iter().map(|it| &it.issuer).chain(plan.demands.iter().map(|it| &it.rules.issuer));
    let folders: Vec<_> = issuers.filter_map(|it| it.state.clone()).collect();
    let mut entries = Vec::new();
    for wish in &plan.wishes {
        let mut entry = Entry::of(wish);
        entry.load();
        match wish.slot.get() {
            Some(shown) if shown.is_issued => {
                let ask_ms = entry.due_ms + renewal::random_below(ASK_AFTER_START_MS);
                entry.due_ms = renewal::due_s(&shown) * 1000;
                if wish.issuer.uri.is_some() {
                    entry.due_ms = entry.due_ms.min(ask_ms);
                }
            }
            Some(_) => (),
            None => makeshift(wish, &plan.log),
        }
        entry.remember();
        entries.push(entry);
    }
    answers().watch(folders, !plan.wishes.is_empty() || !plan.demands.is_empty());
    entries
}

fn makeshift(wish: &Wish, log: &ErrorLog) {
    let text = format!("no certificate for {} yet: a self-signed one is shown meanwhile", wish.shown());
    log.write(Level::Warn, &text);
    match Shown::makeshift(&wish.names) {
        Ok(shown) => wish.slot.put(shown),
        Err(why) => log.write(Level::Crit, &format!("no self-signed certificate can be made: {why}")),
    }
}

/// What the thread knows.
struct Keeping {
    log: ErrorLog,
    entries: Vec<Entry>,
    demands: Vec<Arc<OnDemand>>,
    keys: Keys,
    /// Of attempts that have ended.
    sender: Sender<Message>,
}

impl Keeping {
    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let due_ms = self.next().map_or(i64::MAX, |at| self.entries[at].due_ms);
            let wait =
                Duration::from_millis(due_ms.saturating_sub(now_ms()).max(0).unsigned_abs()).min(LOOK_EVERY);
            match receiver.recv_timeout(wait) {
                Ok(Message::Adopt(plan)) => self.adopt(plan),
                Ok(Message::Demand(by, name)) => self.demand(by, name),
                Ok(Message::Done(entry)) => self.done(*entry),
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.look(),
            }
        }
    }

    /// The one to be looked at next, if another attempt may be under way.
    fn next(&self) -> Option<usize> {
        if self.entries.iter().filter(|it| it.busy).count() >= ATTEMPTS_MAX {
            return None;
        }
        let free = (0..self.entries.len()).filter(|at| !self.entries[*at].busy);
        free.min_by_key(|at| self.entries[*at].due_ms)
    }

    /// What goes on being wanted keeps its patience.
    fn adopt(&mut self, plan: Plan) {
        let mut before: BTreeMap<String, Entry> = BTreeMap::new();
        let mut demanded = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            match &entry.demand {
                None => drop(before.insert(id(&entry.wish), entry)),
                Some((by, _)) if plan.demands.iter().any(|it| Arc::ptr_eq(it, by)) => demanded.push(entry),
                Some(_) => {}
            }
        }
        self.entries = prepare(&plan);
        self.log = plan.log;
        self.demands = plan.demands;
        for entry in &mut self.entries {
            if let Some(old) =
                before.remove(&id(&entry.wish)).filter(|it| same(&it.wish.issuer, &entry.wish.issuer))
            {
                (entry.due_ms, entry.n_failed, entry.suggested) = (old.due_ms, old.n_failed, old.suggested);
                (entry.forbidden_ms, entry.busy) = (old.forbidden_ms, old.busy);
                if entry.n_failed > 0 {
                    entry.due_ms = entry.due_ms.min(now_ms() + PAUSE_AFTER_RELOAD_MS).max(entry.forbidden_ms);
                }
            }
        }
        self.entries.extend(demanded);
    }

    /// Somebody has come for a name that has no certificate yet.
    fn demand(&mut self, by: Arc<OnDemand>, name: String) {
        let Some(wish) = by.wish(&name).filter(|_| self.demands.iter().any(|it| Arc::ptr_eq(it, &by))) else {
            return by.refuse(&name);
        };
        let mut entry = Entry::of(&wish);
        if entry.load() {
            by.succeeded(&name);
            entry.allowed = true;
            entry.due_ms = wish.slot.get().map_or(entry.due_ms, |it| renewal::due_s(&it) * 1000);
        } else {
            entry.due_ms = now_ms();
        }
        entry.demand = Some((by, name));
        self.entries.push(entry);
        self.look();
    }

    /// Begins what is due.
    fn look(&mut self) {
        while let Some(at) = self.next().filter(|at| self.entries[*at].due_ms <= now_ms()) {
            self.entries[at].busy = true;
            let (entry, sender) = (self.entries[at].clone(), self.sender.clone());
            let attempt = Attempt { entry, log: self.log.clone(), keys: self.keys.clone() };
            let begun = thread::Builder::new().name("acme order".into()).spawn(move || {
                // Whoever gets it may have ended.
                _ = sender.send(Message::Done(Box::new(attempt.run())));
            });
            if let Err(why) = begun {
                self.log.write(Level::Alert, &format!("a thread cannot be started: {why}"));
                self.entries[at].busy = false;
                self.entries[at].due_ms = now_ms() + in_ms(LOOK_EVERY);
            }
        }
    }

    /// An attempt has ended.
    fn done(&mut self, mut entry: Entry) {
        entry.busy = false;
        let is_it = |it: &Entry| it.busy && Arc::ptr_eq(&it.wish.slot, &entry.wish.slot);
        if let Some(at) = self.entries.iter().position(is_it) {
            match entry.refused {
                true => drop(self.entries.swap_remove(at)),
                false => self.entries[at] = Entry { wish: self.entries[at].wish.clone(), ..entry },
            }
        } else {
            // The configuration has changed meanwhile: what was busy is so no more.
            let id = id(&entry.wish);
            self.entries.iter_mut().filter(|it| self::id(&it.wish) == id).for_each(|it| it.busy = false);
        }
        self.look();
    }
}

fn id(wish: &Wish) -> String {
    Wish::id(&wish.issuer.name, &wish.names, wish.key)
}

fn same(one: &Arc<Issuer>, other: &Arc<Issuer>) -> bool {
    // Whoever has changed an issuer's block wants to see at once whether it helps.
    format!("{one:?}") == format!("{other:?}")
}

pub(crate) fn now_ms() -> i64 {
    in_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn in_ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::tests::issuer;
    use crate::issuer::{Challenge, Identifier};
    use crate::key::Kind;
    use crate::state::Patience;

    #[test]
    fn what_has_failed_is_remembered_over_a_restart_unless_the_issuer_is_another() {
        let folder = std::env::temp_dir().join(format!("foregate-patience-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let wish = |uri: &str| Wish {
            issuer: Arc::new(Issuer { state: Some(folder.clone()), uri: Some(uri.into()), ..issuer() }),
            names: vec![Identifier::read("a.test").unwrap()],
            key: Kind::default(),
            challenge: Challenge::Http01,
            name_servers: Vec::new(),
            slot: Arc::default(),
        };
        let failed = Entry::of(&wish("https://one.test/"));
        let now_ms = now_ms();
        let patience =
            Patience { n_failed: 7, tried_ms: now_ms, due_ms: now_ms + 9_000_000, forbidden_ms: 0 };
        failed.kept.keep_patience(&failed.wish.issuer, Some(&patience));
        let mut again = Entry::of(&wish("https://one.test/"));
        again.remember();
        assert_eq!((again.n_failed, again.due_ms), (7, now_ms + PAUSE_AFTER_RESTART_MS));
        let mut other = Entry::of(&wish("https://other.test/"));
        other.remember();
        assert_eq!(other.n_failed, 0);
        failed.kept.keep_patience(&failed.wish.issuer, None);
        let mut later = Entry::of(&wish("https://one.test/"));
        later.remember();
        assert_eq!(later.n_failed, 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
