//! Who may send, and how much: windows, the bound of the output, and turns.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::lane::Lane;
use super::link::Link;

/// No more is put into the output before some of it has gone: what a client that does not read can make us hold.
pub(super) const OUT_BYTES_MAX: usize = 64 << 10;
/// What one exchange may put in at a time where others wait.
const TURN_BYTES: usize = 16 << 10;

/// Exchanges that wait for room in the output, by their places, the first to come first.
pub(super) type Queue = VecDeque<u32>;

impl Lane {
    /// How many bytes of a body may be sent now, at least one. Ready with 0 where the stream is lost.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<usize> {
        if self.is_lost() {
            return Poll::Ready(0);
        }
        let room = self.room_now();
        if room > 0 {
            return Poll::Ready(room);
        }
        self.wait_to_write(cx);
        let is_full = self.link.mux.borrow().out.len() >= OUT_BYTES_MAX;
        if is_full {
            let mut queue = self.link.queue.borrow_mut();
            if !queue.contains(&self.place) {
                queue.push_back(self.place);
            }
        }
        Poll::Pending
    }

    /// As `poll_room`, without waiting; 0 is none.
    pub(super) fn room_now(&self) -> usize {
        if self.is_lost() {
            return 0;
        }
        let mux = self.link.mux.borrow();
        let waiting = mux.out.len();
        if waiting >= OUT_BYTES_MAX {
            return 0;
        }
        let alone = self.link.queue.borrow().is_empty();
        mux.sendable(self.place).min(if alone { OUT_BYTES_MAX } else { TURN_BYTES })
    }
}

impl Link {
    /// Some of the output has gone: wakes those whose turn it is, the most urgent first; tells how many.
    pub(super) fn give_room(&self) -> usize {
        let mut n = 0;
        let mut room = OUT_BYTES_MAX.saturating_sub(self.mux.borrow().out.len());
        while room > 0 {
            let Some(place) = self.next_in_turn() else { break };
            self.with_lane(place, Lane::may_write);
            room = room.saturating_sub(TURN_BYTES);
            n += 1;
        }
        n
    }

    fn next_in_turn(&self) -> Option<u32> {
        let mut queue = self.queue.borrow_mut();
        let mux = self.mux.borrow();
        let urgency = |place: &u32| mux.priority(*place).urgency;
        let (at, _) = queue.iter().enumerate().min_by_key(|(_, place)| urgency(place))?;
        queue.remove(at)
    }
}
