//! The streams that are open: found by their numbers, kept in places that are used again.

use super::Priority;

/// Streams that we have closed lately: what still comes for them is not the client's mistake.
const CLOSED_KEPT: usize = 64;

/// One stream, in the states of RFC 9113, section 5.1, that a server's side has:
///
/// ```text
/// idle ──HEADERS──▶ open ──END_STREAM received──▶ half-closed (remote) ──END_STREAM sent──▶ closed
/// ```
///
/// Where we have sent our END_STREAM first, a reset follows at once: then it is closed as well.
pub(super) struct Stream {
    pub(super) id: u32,
    /// What we may send. A change of the client's settings can make it negative.
    pub(super) send_window: i64,
    /// What the client may send.
    pub(super) recv_window: i64,
    /// What has been taken of it and not been given back yet.
    pub(super) taken: u32,
    /// What the window is given back to.
    pub(super) recv_target: u32,
    /// The client has sent END_STREAM.
    pub(super) remote_closed: bool,
    pub(super) priority: Priority,
}

#[derive(Default)]
pub(super) struct Streams {
    places: Vec<Option<Stream>>,
    free: Vec<u32>,
    /// Numbers and places, in the order of numbers, which is the order in which they come.
    by_id: Vec<(u32, u32)>,
    /// A ring.
    closed: Vec<u32>,
    closed_next: usize,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Puts a stream in, whose number is larger than any before; tells its place.
    pub(super) fn insert(&mut self, stream: Stream) -> u32 {
        let id = stream.id;
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some(stream);
                place
            }
            None => {
                self.places.push(Some(stream));
                self.places.len() as u32 - 1
            }
        };
        self.by_id.push((id, place));
        place
    }

    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<u32> {
        let at = self.by_id.binary_search_by_key(&id, |entry| entry.0).ok()?;
        Some(self.by_id[at].1)
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&Stream> {
        self.places.get(place as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Stream> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Takes a stream out. `by_us`: the client may not know yet, and go on sending.
    pub(super) fn remove(&mut self, place: u32, by_us: bool) -> Option<Stream> {
        let stream = self.places.get_mut(place as usize)?.take()?;
        if let Ok(at) = self.by_id.binary_search_by_key(&stream.id, |entry| entry.0) {
            self.by_id.remove(at);
        }
        self.free.push(place);
        if by_us && !stream.remote_closed {
            self.note_closed(stream.id);
        }
        Some(stream)
    }

    pub(super) fn note_closed(&mut self, id: u32) {
        if self.closed.len() < CLOSED_KEPT {
            return self.closed.push(id);
        }
        self.closed[self.closed_next % CLOSED_KEPT] = id;
        self.closed_next += 1;
    }

    pub(super) fn was_closed_by_us(&self, id: u32) -> bool {
        self.closed.contains(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.places.iter_mut().flatten()
    }

    /// Gives back memory while no stream is open.
    pub(super) fn shrink(&mut self) {
        if self.by_id.is_empty() {
            (self.places, self.free, self.by_id) = Default::default();
        }
    }
}
