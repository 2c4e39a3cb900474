//! One request's way through a group: which peer next, and what the group learns of the outcome.

use std::rc::Rc;
use std::sync::Arc;

use foregate_core::Exchange;

use crate::attempts::{Asked, Progress};
use crate::balance::{Seek, Tried, take_turn};
use crate::group::Tier;
use crate::peer::Peer;
use crate::sticky::Lesson;
use crate::times::Timing;
use crate::views::View;

/// Answers from this status on count as failures of the peer where failures are watched (`outlier_ejection`).
const STATUS_FAILED: u16 = 500;

/// The search of one request. Dropped with a peer in hand, it counts as answered.
pub struct Pick {
    view: Rc<View>,
    tier: usize,
    current: Option<usize>,
    tried: Tried,
    /// Peers that may still be tried, the current one included.
    tries: u32,
    seek: Seek,
    /// The peer that the client belongs to, by its id.
    hint: Option<Vec<u8>>,
    /// What is learned once the answer is whole.
    pub(crate) lesson: Option<Lesson>,
    /// How long the current peer takes, where somebody counts.
    timing: Option<Timing>,
    /// The current peer has answered.
    heard: bool,
}

/// What became of a peer's try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered.
    Passed,
    /// It answered, and another one may know better (403, 404).
    Next,
    Failed,
}

impl Pick {
    /// Begins a search. `tries_max` of 0 is no limit.
    pub fn new(view: Rc<View>, ex: &mut Exchange, tries_max: u32) -> Self {
        let seek = Seek::new(&view, ex);
        let mut tries = view.peers.tries();
        if tries_max > 0 {
            tries = tries.min(tries_max);
        }
        let hint = view.sticky().and_then(|it| it.hint(ex));
        Self {
            view,
            tier: 0,
            current: None,
            tried: Tried::default(),
            tries,
            seek,
            hint,
            lesson: None,
            timing: None,
            heard: false,
        }
    }

    /// The search begins anew in the peers that there are now; as many as before may still be tried.
    pub(crate) fn again(&mut self, view: Rc<View>, ex: &mut Exchange) {
        let tries = self.tries;
        *self = Self::new(view, ex, tries);
    }

    /// Chooses the next peer; false when no live one is left.
    pub fn next(&mut self, now_s: u64) -> bool {
        debug_assert!(self.current.is_none(), "the outcome of the last try is told before the next");
        while self.tier < self.view.peers.tiers.len() {
            let view = self.view.clone();
            let tier = &view.peers.tiers[self.tier];
            if let Some(idx) = self.choose(tier, now_s) {
                self.tried.add(idx);
                self.current = Some(idx);
                self.timing = view.measure().map(Timing::new);
                self.heard = false;
                if self.view.peers.counted {
                    tier.peers[idx].enter();
                }
                if self.view.peers.tallied {
                    tier.peers[idx].state.tally.asked();
                }
                return true;
            }
            if self.tier + 1 == view.peers.tiers.len() {
                break;
            }
            self.tier += 1;
            self.tried = Tried::default();
        }
        false
    }

    fn choose(&mut self, tier: &Tier, now_s: u64) -> Option<usize> {
        let own = self.hint.as_ref().and_then(|id| self.own(tier, id, now_s));
        if self.view.peers.is_single() {
            let peer = &tier.peers[0];
            return own.or(peer.is_free(now_s).then_some(0));
        }
        let idx = match (own, &self.seek) {
            (Some(own), Seek::Turn) => take_turn(tier, &self.tried, now_s, own),
            (Some(own), _) => own,
            (None, _) => self.seek.next(tier, &self.tried, now_s)?,
        };
        tier.peers[idx].choose(now_s);
        Some(idx)
    }

    /// The peer of this id, if it may be asked.
    fn own(&self, tier: &Tier, id: &[u8], now_s: u64) -> Option<usize> {
        let idx = tier.peers.iter().position(|it| it.id.as_bytes() == id)?;
        let free = !self.tried.has(idx) && tier.peers[idx].is_available_to_its_own(now_s);
        free.then_some(idx)
    }

    /// The peer that is being tried.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        self.view.peers.tiers[self.tier].peers.get(self.current?)
    }

    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// A kept connection turned out to be dead: that try does not count.
    pub(crate) fn try_once_more(&mut self) {
        self.tries += 1;
    }

    pub(crate) fn asked(&self) -> Option<Asked> {
        Some(Asked::Peer { view: self.view.clone(), tier: self.tier, idx: self.current? })
    }

    /// The peer has answered; it counts as at work until the returned value goes.
    pub(crate) fn hold(&mut self) -> Option<Hold> {
        let (lesson, timing) = (self.lesson.take(), self.timing.take());
        let idx = self.current.take()?;
        Some(Hold { view: self.view.clone(), tier: self.tier, idx, timing, live: None, _lesson: lesson })
    }

    /// Notes the bytes that have gone to the current peer in this try, and come from it.
    pub(crate) fn carried(&self, sent: u64, received: u64) {
        if self.view.peers.tallied
            && let Some(peer) = self.peer()
        {
            peer.state.tally.carried(sent, received);
        }
    }

    /// The head of the current peer's answer has come; true where the peer is taken out by what it says.
    pub(crate) fn head_came(&mut self, status: u16, now_s: u64) -> bool {
        self.heard = true;
        if self.view.peers.tallied
            && let Some(peer) = self.peer()
        {
            peer.state.tally.answered(status);
        }
        if let Some(timing) = &mut self.timing
            && let Some(idx) = self.current
        {
            timing.head_came(&self.view.peers.tiers[self.tier].peers[idx]);
        }
        self.judge(status >= STATUS_FAILED, now_s)
    }

    /// Tells the group's ejection, where there is one, what has become of this try.
    fn judge(&self, failed: bool, now_s: u64) -> bool {
        let ejection = self.view.group.as_ref().and_then(|it| it.ejection.as_ref());
        let (Some(ejection), Some(idx)) = (ejection, self.current) else { return false };
        ejection.note(&self.view.peers.tiers[self.tier], idx, failed, now_s)
    }

    /// Tells the group how the try went; true where the peer is now taken out for a while.
    pub fn done(&mut self, outcome: Outcome, now_s: u64) -> bool {
        let ejected = outcome == Outcome::Failed && !self.heard && self.judge(true, now_s);
        let Some(idx) = self.current.take() else { return false };
        let tier = &self.view.peers.tiers[self.tier];
        let peer = &tier.peers[idx];
        if let Some(timing) = self.timing.take() {
            timing.end(peer, outcome == Outcome::Passed);
        }
        if outcome != Outcome::Failed || self.view.peers.is_single() {
            self.tries = if self.view.peers.is_single() { 0 } else { self.tries.saturating_sub(1) };
            let view = self.view.clone();
            drop(Hold { view, tier: self.tier, idx, timing: None, live: None, _lesson: None });
            return false;
        }
        self.view.left(peer);
        let out = peer.fail(now_s);
        if self.view.peers.tallied {
            peer.state.tally.failed(out);
        }
        if let Some(less) = peer.weight.checked_div(peer.max_fails) {
            let weight = &mut tier.weights()[idx];
            weight.effective = (weight.effective - i64::from(less)).max(0);
        }
        self.tries = self.tries.saturating_sub(1);
        out || ejected
    }
}

/// A peer that has answered and whose answer is still being read.
pub(crate) struct Hold {
    view: Rc<View>,
    tier: usize,
    idx: usize,
    timing: Option<Timing>,
    /// What comes behind the head, where that is still to come.
    pub(crate) live: Option<Rc<Progress>>,
    _lesson: Option<Lesson>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let peer = &self.view.peers.tiers[self.tier].peers[self.idx];
        if let Some(live) = self.live.take().filter(|_| self.view.peers.tallied) {
            peer.state.tally.carried(live.sent.get(), live.received.get());
        }
        if let Some(timing) = self.timing.take() {
            timing.end(peer, true);
        }
        self.view.left(peer);
        match self.view.peers.is_single() {
            true => peer.forgive(),
            false => peer.pass(),
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.done(Outcome::Passed, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Balance, Group, Server};
    use foregate_core::testing::exchange;
    use foregate_net::Addr;
    use std::sync::Arc;

    fn server(port: u16, change: impl Fn(&mut Server)) -> Server {
        let written = format!("127.0.0.1:{port}");
        let address = Address::parse(&written, 80, false).expect("because it is an address");
        let mut server = Server::new(&address, &written);
        change(&mut server);
        server
    }

    fn group(servers: Vec<Server>, balance: Balance) -> Arc<Group> {
        Arc::new(Group::new("u", servers, balance, None, None))
    }

    fn ask(group: &Arc<Group>, from: &str, outcome: Outcome, now_s: u64) -> u16 {
        let mut ex = exchange("GET / HTTP/1.1\nHost: a");
        ex.remote = Addr::Ip(format!("{from}:1").parse().expect("because it is an address"));
        let mut pick = Pick::new(View::of(group), &mut ex, 0);
        if !pick.next(now_s) {
            return 0;
        }
        let port = pick.peer().expect("because one was chosen").addr.port();
        pick.done(outcome, now_s);
        port
    }

    fn order(group: &Arc<Group>, n: usize) -> Vec<u16> {
        (0..n).map(|_| ask(group, "127.0.0.1", Outcome::Passed, 100)).collect()
    }

    #[test]
    fn turns_are_smooth_and_weighted() {
        let servers = vec![server(1, |it| it.weight = 5), server(2, |_| ()), server(3, |_| ())];
        assert_eq!(order(&group(servers, Balance::Turn), 7), [1, 1, 2, 1, 3, 1, 1]);
    }

    #[test]
    fn a_failed_peer_rests_and_a_lone_one_never_does() {
        let pair = group(vec![server(1, |_| ()), server(2, |_| ())], Balance::Turn);
        assert_eq!(ask(&pair, "1.1.1.1", Outcome::Failed, 100), 1);
        assert_eq!(order(&pair, 3), [2, 2, 2]);
        let later: Vec<_> = (0..6).map(|_| ask(&pair, "1.1.1.1", Outcome::Passed, 111)).collect();
        assert!(later.contains(&1), "{later:?}");
        let lone = group(vec![server(1, |_| ())], Balance::Turn);
        assert_eq!(ask(&lone, "1.1.1.1", Outcome::Failed, 100), 1);
        assert_eq!(order(&lone, 2), [1, 1]);
    }

    #[test]
    fn backups_come_last_and_nobody_is_left_after_them() {
        let servers =
            vec![server(1, |_| ()), server(2, |it| it.down = true), server(3, |it| it.backup = true)];
        let group = group(servers, Balance::Turn);
        let mut ex = exchange("GET / HTTP/1.1\nHost: a");
        let mut pick = Pick::new(View::of(&group), &mut ex, 0);
        assert_eq!(pick.tries(), 2);
        let mut seen = Vec::new();
        while pick.next(100) {
            seen.extend(pick.peer().map(|it| it.addr.port()));
            pick.done(Outcome::Failed, 100);
        }
        assert_eq!(seen, [1, 3]);
        assert_eq!(ask(&group, "1.1.1.1", Outcome::Passed, 100), 0);
    }

    #[test]
    fn the_least_loaded_is_asked() {
        let group = group(
            vec![server(1, |_| ()), server(2, |_| ()), server(3, |it| it.weight = 2)],
            Balance::LeastConn,
        );
        let mut ex = exchange("GET / HTTP/1.1\nHost: a");
        let mut picks = Vec::new();
        for _ in 0..4 {
            let mut pick = Pick::new(View::of(&group), &mut ex, 0);
            assert!(pick.next(100));
            picks.push(pick);
        }
        let mut ports: Vec<_> = picks.iter().filter_map(|it| it.peer().map(|it| it.addr.port())).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3, 3]);
        drop(picks);
        assert!(group.peers().all().all(|it| it.conns() == 0));
    }

    #[test]
    fn a_peer_that_comes_back_starts_slowly() {
        let slow = |it: &mut Server| it.slow_start_ms = 10_000;
        let pair = group(vec![server(1, slow), server(2, |_| ())], Balance::Turn);
        assert_eq!(order(&pair, 4), [1, 2, 1, 2]);
        let state = pair.list()[0].0.state.clone();
        let now_ms = foregate_net::clock::unix_ms();
        let share = |since_ms: u64| {
            state.recovered_ms.store(since_ms, std::sync::atomic::Ordering::Relaxed);
            order(&pair, 110).iter().filter(|it| **it == 1).count()
        };
        let (tenth, half) = (share(now_ms - 1111), share(now_ms - 5000));
        assert!((9..=13).contains(&tenth) && (35..=38).contains(&half), "{tenth}, {half}");
        assert_eq!(share(now_ms - 10_001), 55);
    }

    #[test]
    fn clients_of_one_network_meet_one_peer() {
        let servers = || (1..=3).map(|port| server(port, |_| ())).collect();
        let group = group(servers(), Balance::IpHash);
        // hash = ((((89 * 113 + 127) % 6271 * 113 + 0) % 6271) * 113 + 0) % 6271
        let hash = [127_u32, 0, 0].iter().fold(89, |hash, byte| (hash * 113 + byte) % 6271);
        let want = (hash % 3 + 1) as u16;
        assert_eq!(ask(&group, "127.0.0.1", Outcome::Passed, 100), want);
        assert_eq!(ask(&group, "127.0.0.77", Outcome::Passed, 100), want);
    }
}
