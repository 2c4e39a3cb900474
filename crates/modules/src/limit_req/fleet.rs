//! Several instances that count together by way of a Redis: what each has counted is exchanged in batches.
//!
//! No request waits for it. Each instance counts in its own buckets at once; some twenty times a second it tells what
//! has been counted since, and hears what all have in those buckets together. In between it may let pass what the
//! others do too: that is taken as a debt then, so that over any longer time no more pass than one instance would
//! let. Without the Redis each goes on alone, with an equal share of rate and burst.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use foregate_core::{ErrorLog, Level, Shared};
use foregate_net::runtime::{self, Task};
use foregate_net::clock;
use foregate_wire::resp::{Reply, command};

use super::bucket::News;
use crate::redis::{Connection, Server};
use super::zone::{self, Zone, Zones};

/// Between two exchanges.
const EVERY: Duration = Duration::from_millis(50);
/// Without anything to tell, the others are told this often that we are there.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);
/// Who gives no sign of life for so long is not counted among those who share.
const MEMBER_MS: u64 = 5_000;
/// Before the Redis is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Away for longer, buckets have leaked elsewhere what they have leaked here.
const APART_AFTER: Duration = Duration::from_secs(1);
/// Buckets in one command: the Redis serves nobody else meanwhile.
const BATCH_MAX: usize = 256;

/// Batches on their way at once.
const BATCHES_AT_ONCE: usize = 8;
/// More than any bucket holds; keeps sums within 64 bits whatever a Redis says.
const LEVEL_MAX: i64 = i64::MAX / 4;
const MEMBERS_MAX: i64 = 10_000;

/// What the Redis does with one batch. A bucket there is `LEVEL:MS`: thousandths of a request, and when it was so.
///
/// KEYS: the set of members, the buckets. ARGV: rate in thousandths a second, who asks, after how many milliseconds
/// members are forgotten, what was counted for each bucket. The answer: how many members, what is in each bucket.
const SCRIPT: &str = "\
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local rate = tonumber(ARGV[1])
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local out = { redis.call('ZCARD', KEYS[1]) }
for i = 2, #KEYS do
  local level = 0
  local kept = redis.call('GET', KEYS[i])
  if kept then
    local colon = string.find(kept, ':', 1, true)
    local ms = now - tonumber(string.sub(kept, colon + 1))
    level = math.max(0, tonumber(string.sub(kept, 1, colon - 1)) - rate * math.max(0, ms) / 1000)
  end
  level = level + tonumber(ARGV[i + 2])
  if level > 0 then
    redis.call('SET', KEYS[i], string.format('%.3f:%.0f', level, now), 'PX', math.ceil(level * 1000 / rate) + 1000)
  end
  out[i] = math.floor(level)
end
return out
";

/// A zone's part in a fleet.
pub(super) struct Fleet {
    server: Server,
    /// What tells us from the others.
    id: String,
    /// How many we were when we last heard of it.
    n_members: AtomicI64,
    /// 1 while all count together, `n_members` while each is alone.
    n_apart: AtomicI64,
}

impl Fleet {
    /// With what is known of the others from the configuration before.
    pub(super) fn new(server: Server, before: Option<&Self>) -> Self {
        let new_id = || format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let number = |of: fn(&Self) -> &AtomicI64| before.map_or(1, |it| of(it).load(Ordering::Relaxed));
        Self {
            server,
            id: before.map_or_else(new_id, |it| it.id.clone()),
            n_members: AtomicI64::new(number(|it| &it.n_members)),
            n_apart: AtomicI64::new(number(|it| &it.n_apart)),
        }
    }

    /// The Redis is away from `n` who counted together by it.
    #[cfg(test)]
    pub(super) fn go_apart(&self, n: i64) {
        self.n_members.store(n, Ordering::Relaxed);
        self.n_apart.store(n, Ordering::Relaxed);
    }

    pub(super) fn n_apart(&self) -> i64 {
        self.n_apart.load(Ordering::Relaxed)
    }
}

/// Exchanges counts with the rest of each zone's fleet until the tasks are ended.
pub fn keep_together(shared: &Shared, log: &ErrorLog) -> Vec<Task> {
    let zones = shared.get::<Zones>().into_iter().flat_map(|it| it.0.values());
    let start = |zone: &Arc<Zone>| {
        let keeper = Keeper { zone: zone.clone(), log: log.clone(), heard: clock::now(), away: false };
        runtime::spawn(keeper.run())
    };
    zones.filter(|it| it.fleet.is_some()).map(start).collect()
}

/// Who speaks with the Redis for one zone.
struct Keeper {
    zone: Arc<Zone>,
    log: ErrorLog,
    /// When the Redis last answered.
    heard: Instant,
    away: bool,
}

impl Keeper {
    async fn run(mut self) {
        let Some(server) = self.zone.fleet.as_ref().map(|it| it.server.clone()) else { return };
        loop {
            let met = match Connection::open(&server).await {
                Ok(mut connection) => self.stay_together(&mut connection).await,
                Err(why) => Err(why),
            };
            let Err(why) = met;
            self.go_alone(&why);
            clock::sleep(RETRY_AFTER).await;
        }
    }

    async fn stay_together(&mut self, redis: &mut Connection) -> Result<Infallible, String> {
        let mut load = Vec::new();
        command(&[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()], &mut load);
        let Some(Reply::Bytes(script)) = redis.ask(&load, 1).await?.pop() else {
            return Err("it does not take scripts".into());
        };
        let mut told: Option<Instant> = None;
        loop {
            let news = self.news();
            let silent = told.is_none_or(|it| clock::now().saturating_duration_since(it) >= SIGN_OF_LIFE_EVERY);
            if !news.is_empty() || silent {
                self.tell(redis, &script, &news).await?;
                told = Some(clock::now());
            }
            clock::sleep(EVERY).await;
        }
    }

    /// What all shards have for the others.
    fn news(&self) -> Vec<News> {
        let (zone, now) = (&self.zone, zone::tick(clock::now()));
        let apart = clock::now().saturating_duration_since(self.heard) >= APART_AFTER;
        let (rate, _) = zone.share(0);
        (0..zone.n_shards()).flat_map(|at| zone.shard_at(at).news(rate, now, apart)).collect()
    }

    /// Tells news in batches and hears what all have together. What does not arrive is told again.
    async fn tell(&mut self, redis: &mut Connection, script: &[u8], news: &[News]) -> Result<(), String> {
        let mut batches: Vec<&[News]> = news.chunks(BATCH_MAX).collect();
        if batches.is_empty() {
            batches.push(&[]);
        }
        let mut arrived = 0;
        for some in batches.chunks(BATCHES_AT_ONCE) {
            let mut commands = Vec::new();
            some.iter().for_each(|batch| self.write(script, batch, &mut commands));
            let asked = redis.ask(&commands, some.len()).await;
            let heard = asked.and_then(|replies| {
                some.iter().zip(replies).try_for_each(|(batch, reply)| self.hear(batch, &reply))
            });
            if let Err(why) = heard {
                news[arrived..].iter().for_each(|it| self.zone.shard(&it.key).take_back(it));
                return Err(why);
            }
            arrived += some.iter().map(|it| it.len()).sum::<usize>();
        }
        Ok(())
    }

    fn write(&self, script: &[u8], batch: &[News], out: &mut Vec<u8>) {
        let members = format!("foregate:{{{}}}", self.zone.name).into_bytes();
        let bucket = |it: &News| [&members, &b":"[..], &*it.key].concat();
        let keys: Vec<Vec<u8>> = batch.iter().map(bucket).collect();
        let counted: Vec<String> = batch.iter().map(|it| it.counted.to_string()).collect();
        let (n_keys, rate, patience) =
            ((keys.len() + 1).to_string(), self.zone.rate.to_string(), MEMBER_MS.to_string());
        let id = self.zone.fleet.as_ref().map_or("", |it| &it.id);
        let mut args: Vec<&[u8]> = vec![b"EVALSHA", script, n_keys.as_bytes(), &members];
        args.extend(keys.iter().map(|it| &it[..]));
        args.extend([rate.as_bytes(), id.as_bytes(), patience.as_bytes()]);
        args.extend(counted.iter().map(|it| it.as_bytes()));
        command(&args, out);
    }

    fn hear(&mut self, batch: &[News], reply: &Reply) -> Result<(), String> {
        let strange = || "it answers something else than was asked".to_owned();
        let Reply::List(numbers) = reply else { return Err(strange()) };
        let number = |it: &Reply| if let Reply::Number(n) = it { Some(*n) } else { None };
        let numbers: Option<Vec<i64>> = numbers.iter().map(number).collect();
        let Some((&n_members, levels)) = numbers.as_deref().and_then(<[i64]>::split_first) else {
            return Err(strange());
        };
        if levels.len() != batch.len() {
            return Err(strange());
        }
        let now = zone::tick(clock::now());
        for (it, &level) in batch.iter().zip(levels) {
            self.zone.shard(&it.key).hear(&it.key, level.clamp(0, LEVEL_MAX), now);
        }
        self.come_back(n_members.clamp(1, MEMBERS_MAX));
        Ok(())
    }

    fn come_back(&mut self, n_members: i64) {
        self.heard = clock::now();
        if let Some(fleet) = &self.zone.fleet {
            fleet.n_members.store(n_members, Ordering::Relaxed);
            fleet.n_apart.store(1, Ordering::Relaxed);
        }
        if std::mem::take(&mut self.away) {
            self.say(Level::Notice, "is back: all count together");
        }
    }

    fn go_alone(&mut self, why: &str) {
        let Some(fleet) = &self.zone.fleet else { return };
        let n = fleet.n_members.load(Ordering::Relaxed);
        fleet.n_apart.store(n, Ordering::Relaxed);
        if !std::mem::replace(&mut self.away, true) {
            self.say(Level::Warn, &format!("is away ({why}): counting alone, by 1/{n} of the rate"));
        }
    }

    fn say(&self, level: Level, what: &str) {
        let server = self.zone.fleet.as_ref().map_or("", |it| &it.server.name);
        self.log.write(level, &format_args!("redis {server} of zone \"{}\" {what}", self.zone.name));
    }
}
