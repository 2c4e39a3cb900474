//! Caches of several instances that purge together by way of a Redis (`proxy_cache_path … redis=SERVER`).
//!
//! Purges are added to a stream, which all instances read: one that was away, or is started later, finds what it has
//! missed. No request waits for it: a purge holds here at once, and elsewhere a moment later.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use foregate_cache::{PurgeTold, Zone, Zones};
use foregate_conf::Error;
use foregate_core::{Compile, ErrorLog, Level, Shared};
use foregate_net::clock;
use foregate_net::runtime::{self, Task};
use foregate_wire::resp::{Reply, command};

use crate::redis::{Connection, Server};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(50);
/// Before the Redis is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Purges in one reply, and told in one write.
const BATCH_MAX: usize = 500;
/// About so many purges are remembered by the Redis.
const STREAM_LEN_MAX: &[u8] = b"100000";

/// Whether every zone's Redis can be found, for `prepare`.
///
/// # Errors
/// One cannot.
pub(crate) fn check(cx: &Compile<'_>) -> Result<(), Error> {
    let zones = cx.shared.get::<Zones>().into_iter().flat_map(|it| it.0.values());
    for zone in zones {
        if let Some(Err(why)) = zone.spec.redis.as_deref().map(Server::parse) {
            return Err(Error::plain(format!(
                "{why} in \"redis=\" of the cache zone \"{}\"",
                zone.spec.name
            )));
        }
    }
    Ok(())
}

/// Tells and hears of purges until the tasks are ended.
pub fn keep_together(shared: &Shared, log: &ErrorLog) -> Vec<Task> {
    let zones = shared.get::<Zones>().into_iter().flat_map(|it| it.0.values());
    let start = |zone: &Arc<Zone>| {
        let server = Server::parse(zone.spec.redis.as_deref()?).ok()?;
        let id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let last = b"0".to_vec();
        let (zone, log) = (zone.clone(), log.clone());
        Some(runtime::spawn(Keeper { zone, log, server, id, last, caught_up: false, away: false }.run()))
    };
    zones.filter_map(start).collect()
}

/// Who speaks with the Redis for one zone.
struct Keeper {
    zone: Arc<Zone>,
    log: ErrorLog,
    server: Server,
    /// What tells us from the others.
    id: String,
    /// The last entry of the stream that was heard.
    last: Vec<u8>,
    /// All that was there at the start has been heard.
    caught_up: bool,
    away: bool,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let why = match Connection::open(&self.server).await {
                Ok(mut redis) => self.stay(&mut redis).await,
                Err(why) => why,
            };
            if !std::mem::replace(&mut self.away, true) {
                self.say(Level::Warn, &format!("is away ({why}): purges stay here until it is back"));
            }
            clock::sleep(RETRY_AFTER).await;
        }
    }

    /// Until something fails: why.
    async fn stay(&mut self, redis: &mut Connection) -> String {
        loop {
            let told = self.zone.take_told();
            for some in told.chunks(BATCH_MAX) {
                if let Err(why) = self.tell(redis, some).await {
                    // What was told already is told twice, which does no harm.
                    self.zone.put_back_told(told.clone());
                    return why;
                }
            }
            match self.hear(redis).await {
                Ok(more) if more => continue,
                Ok(_) => self.caught_up = true,
                Err(why) => return why,
            }
            if std::mem::take(&mut self.away) {
                self.say(Level::Notice, "is back: all purge together");
            }
            clock::sleep(EVERY).await;
        }
    }

    fn stream(&self) -> Vec<u8> {
        format!("foregate:purges:{}", self.zone.spec.name).into_bytes()
    }

    async fn tell(&self, redis: &mut Connection, told: &[PurgeTold]) -> Result<(), String> {
        let (mut commands, stream) = (Vec::new(), self.stream());
        for it in told {
            let (soft, at_us): (&[u8], _) = (if it.soft { b"1" } else { b"0" }, it.at_us.to_string());
            let head: [&[u8]; 6] = [b"XADD", &stream, b"MAXLEN", b"~", STREAM_LEN_MAX, b"*"];
            let body: [&[u8]; 10] = [
                b"from",
                self.id.as_bytes(),
                b"kind",
                it.kind.as_bytes(),
                b"soft",
                soft,
                b"at",
                at_us.as_bytes(),
                b"text",
                &it.text,
            ];
            command(&[&head[..], &body].concat(), &mut commands);
        }
        redis.ask(&commands, told.len()).await.map(drop)
    }

    /// `true`: there may be more.
    async fn hear(&mut self, redis: &mut Connection) -> Result<bool, String> {
        let (mut commands, stream, count) = (Vec::new(), self.stream(), BATCH_MAX.to_string());
        command(&[b"XREAD", b"COUNT", count.as_bytes(), b"STREAMS", &stream, &self.last], &mut commands);
        let reply = redis.ask(&commands, 1).await?.pop().unwrap_or(Reply::Null);
        let entries = match reply {
            Reply::Null => return Ok(false),
            reply => entries(reply).ok_or("it answers something else than was asked")?,
        };
        let n_entries = entries.len();
        let (mut heard, mut refused) = (HashSet::new(), 0_usize);
        for (number, fields) in entries {
            self.last = number;
            let Some((from, told)) = purge(&fields) else { continue };
            // Of what is said over and over, once is enough.
            let is_new = heard.insert((told.kind, told.text.clone(), told.soft)) || !self.caught_up;
            if from != self.id.as_bytes() && is_new && self.zone.hear(&told, self.caught_up).is_err() {
                refused += 1;
            }
        }
        if refused > 0 {
            // One line, however many there were.
            self.say(Level::Error, &format!("tells of {refused} purges more than can be remembered"));
        }
        Ok(n_entries >= BATCH_MAX)
    }

    fn say(&self, level: Level, what: &str) {
        let (server, zone) = (&self.server.name, &self.zone.spec.name);
        self.log.write(level, &format_args!("redis {server} of cache \"{zone}\" {what}"));
    }
}

/// An entry's number and its fields, names and values in turn.
type Entry = (Vec<u8>, Vec<Vec<u8>>);

/// The entries in a reply about one stream.
fn entries(reply: Reply) -> Option<Vec<Entry>> {
    let list = |it: Reply| if let Reply::List(all) = it { Some(all) } else { None };
    let bytes = |it: Reply| if let Reply::Bytes(text) = it { Some(text) } else { None };
    let stream = list(list(reply)?.pop()?)?.pop()?;
    let entry = |it: Reply| {
        let mut parts = list(it)?;
        let fields = list(parts.pop()?)?.into_iter().map(bytes).collect::<Option<_>>()?;
        Some((bytes(parts.pop()?)?, fields))
    };
    list(stream)?.into_iter().map(entry).collect()
}

/// Who has purged, and what. `None`: it is no purge.
fn purge(fields: &[Vec<u8>]) -> Option<(&[u8], PurgeTold)> {
    let find = |name: &[u8]| fields.chunks_exact(2).find(|it| it[0] == name).map(|it| &it[1][..]);
    let at_us = std::str::from_utf8(find(b"at")?).ok()?.parse().ok()?;
    let told = PurgeTold::read(find(b"kind")?, find(b"text")?, find(b"soft")? == b"1", at_us)?;
    Some((find(b"from")?, told))
}
