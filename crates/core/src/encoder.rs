//! Content codings: bodies that a compressor packs as they are pulled, or in one go where all of one is at hand.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use foregate_wire::{Block, Buf, Fields};

use crate::digits::push_number;
use crate::exchange::Exchange;
use crate::reply::{Body, BodyError, Reply, Source};
use crate::types::Types;

/// A compressor in the midst of one body.
pub trait Encoder {
    /// Compresses as much of `input` as there is room for in `out`. `None`: the compressor failed, which only a
    /// fault of ours explains.
    fn step(&mut self, input: &[u8], out: &mut [u8], flush: Flush) -> Option<Step>;

    /// Bodies of so many bytes are packed by [`Encoder::whole`] where they are at hand: more than that at once would
    /// keep others waiting.
    fn whole_bytes_max(&self) -> usize {
        64 * 1024
    }

    /// Packs a body that nothing was read of before.
    fn whole(&mut self, body: &[u8]) -> Option<Buf> {
        whole_by_steps(self, body)
    }

    /// A body that comes in pieces is put together first, where it is no longer than that and no pause lies between.
    fn gathers(&self) -> bool {
        true
    }
}

/// What [`Encoder::whole`] does where the compressor has no better way.
pub fn whole_by_steps(encoder: &mut (impl Encoder + ?Sized), body: &[u8]) -> Option<Buf> {
    let mut block = Block::take();
    let mut step = encoder.step(body, block.spare(), Flush::End)?;
    if step.done {
        return Some(block.fill(step.written));
    }
    let (mut out, mut read) = (block.spare().to_vec(), 0);
    let mut written = 0;
    loop {
        read += step.read;
        written += step.written;
        if step.done {
            out.truncate(written);
            return Some(Buf::from_vec(out));
        }
        if step.read + step.written == 0 {
            return None;
        }
        out.resize(written + Buf::BLOCK, 0);
        step = encoder.step(&body[read..], &mut out[written..], Flush::End)?;
    }
}

/// What a step is to have done at its end, once it is given the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// All of the input was read.
    No,
    /// And all of it may be read by the client from what was written.
    Sync,
    /// And the stream was ended.
    End,
}

/// What one step came to.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub read: usize,
    pub written: usize,
    /// All that [`Flush`] asked for; otherwise another step with more room goes on.
    pub done: bool,
}

/// Bytes in and bytes out, once the body is done. Clones tell the same.
#[derive(Clone, Default)]
pub struct Ratio(Rc<Cell<(u64, u64)>>);

impl Ratio {
    /// Appends it as `$gzip_ratio` has it, `3.08`; `false` while there is none.
    pub fn push(&self, out: &mut Vec<u8>) -> bool {
        let (input, output) = self.0.get();
        if output == 0 {
            return false;
        }
        let hundredths = (input * 1000 / output + 5) / 10;
        push_number(hundredths / 100, out);
        out.extend([b'.', b'0' + (hundredths / 10 % 10) as u8, b'0' + (hundredths % 10) as u8]);
        true
    }
}

impl Reply {
    /// Whether the answer is one to pack, for clients that take it so: `gzip_min_length`, `gzip_types` and what
    /// goes without saying.
    pub fn may_encode(&self, ex: &Exchange, bytes_min: u64, types: &Types) -> bool {
        matches!(self.status, 200 | 403 | 404)
            && !ex.header_only
            && self.fields.get(b"Content-Encoding").unwrap_or_default().is_empty()
            && self.content_length().is_none_or(|it| it >= bytes_min)
            && types.fit(&self.fields)
            && !matches!(self.body, Body::Tunnel(_))
    }

    /// Packs the body and says so in the head.
    pub fn encode(&mut self, coding: &[u8], mut encoder: impl Encoder + 'static) -> Ratio {
        self.fields.push(b"Content-Encoding", coding);
        self.body_changes();
        self.weaken_etag();
        let ratio = Ratio::default();
        let whole = match &self.body {
            Body::Bytes(bytes) if bytes.len() <= encoder.whole_bytes_max() => {
                encoder.whole(bytes).inspect(|packed| ratio.0.set((bytes.len() as u64, packed.len() as u64)))
            }
            _ => None,
        };
        self.body = match whole {
            Some(packed) => Body::Bytes(packed),
            None => {
                let inner = std::mem::take(&mut self.body).into_source();
                Body::Source(Box::new(Encoded::new(inner, encoder, ratio.clone())))
            }
        };
        ratio
    }
}

/// Compressed bytes worth a turn to the client.
const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes compressed before others get a turn.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// A body that is compressed as it is pulled.
struct Encoded<E> {
    inner: Box<dyn Source>,
    encoder: E,
    /// Read from the inner source, not compressed yet.
    input: Buf,
    /// Read while [`State::Gathering`], behind `input`.
    more: Vec<u8>,
    /// Compressed bytes, not handed out yet.
    block: Option<Block>,
    filled: usize,
    /// The compressor holds back bytes that the client could already have.
    held: bool,
    /// Nobody knows when the next bytes come: what there is goes out at once (event streams). A body of known length
    /// is on its way, and flushing it piece by piece would only make it larger.
    streams: bool,
    state: State,
    /// Told once what came before it has gone out.
    failed: Option<BodyError>,
    read_bytes: u64,
    written_bytes: u64,
    ratio: Ratio,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// All of the body may soon be at hand.
    Gathering,
    Open,
    /// The inner source has ended; the compressor has not.
    Closing,
    Done,
}

impl<E: Encoder> Encoded<E> {
    fn new(inner: Box<dyn Source>, encoder: E, ratio: Ratio) -> Self {
        let fits = inner.len().is_none_or(|it| it <= encoder.whole_bytes_max() as u64);
        Self {
            streams: inner.len().is_none(),
            state: if fits && encoder.gathers() { State::Gathering } else { State::Open },
            inner,
            encoder,
            input: Buf::default(),
            more: Vec::new(),
            block: None,
            filled: 0,
            held: false,
            failed: None,
            read_bytes: 0,
            written_bytes: 0,
            ratio,
        }
    }

    /// Reads until all of the body is there, or it is clear that it will not be soon.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            match self.inner.poll_next(cx) {
                Poll::Ready(Ok(Some(bytes))) => self.keep(bytes),
                Poll::Ready(Ok(None)) => return Poll::Ready(self.pack()),
                Poll::Ready(Err(why)) => {
                    self.failed = Some(why);
                    self.stream();
                    return Poll::Ready(Ok(()));
                }
                // The pause was seen here: what came before it goes out now.
                Poll::Pending if self.streams && !self.input.is_empty() => {
                    self.stream();
                    self.held = !self.compress(Flush::Sync)?;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return Poll::Pending,
            }
            if self.input.len().max(self.more.len()) > self.encoder.whole_bytes_max() {
                self.stream();
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn keep(&mut self, bytes: Buf) {
        if self.input.is_empty() {
            self.input = bytes;
            return;
        }
        if self.more.is_empty() {
            let rest = self.inner.len().unwrap_or(0) as usize;
            self.more.reserve(self.input.len() + bytes.len() + rest.min(self.encoder.whole_bytes_max()));
            self.more.extend_from_slice(&self.input);
        }
        self.more.extend_from_slice(&bytes);
    }

    /// What was gathered, in one piece.
    fn gathered(&mut self) -> Buf {
        match self.more.is_empty() {
            true => std::mem::take(&mut self.input),
            false => Buf::from_vec(std::mem::take(&mut self.more)),
        }
    }

    /// From here on piece by piece.
    fn stream(&mut self) {
        self.input = self.gathered();
        self.state = State::Open;
    }

    /// All of it at once.
    fn pack(&mut self) -> Result<(), BodyError> {
        let body = self.gathered();
        let packed = self.encoder.whole(&body).ok_or(BodyError::File)?;
        self.ratio.0.set((body.len() as u64, packed.len() as u64));
        self.input = packed;
        self.state = State::Done;
        Ok(())
    }

    /// Runs the compressor over what was read, until that is used up or the block is full. `false`: full.
    fn compress(&mut self, flush: Flush) -> Result<bool, BodyError> {
        loop {
            let block = self.block.get_or_insert_with(Block::take);
            let room = &mut block.spare()[self.filled..];
            if room.is_empty() {
                return Ok(false);
            }
            let step = self.encoder.step(&self.input, room, flush).ok_or(BodyError::File)?;
            self.input.advance(step.read);
            self.filled += step.written;
            self.read_bytes += step.read as u64;
            if step.done {
                return Ok(true);
            }
            if step.read + step.written == 0 {
                return Err(BodyError::File);
            }
        }
    }

    /// Reads and compresses until there is enough for a turn (`Ready`), or the end came.
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let turn_end = self.read_bytes + TURN_BYTES_MAX as u64;
        while self.state == State::Open {
            if !self.input.is_empty() {
                self.held = true;
                self.compress(Flush::No)?;
                if self.filled >= CHUNK_BYTES {
                    return Poll::Ready(Ok(()));
                }
                if self.read_bytes >= turn_end {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            let next = match self.failed {
                Some(why) => Poll::Ready(Err(why)),
                None => self.inner.poll_next(cx),
            };
            match next {
                Poll::Ready(Ok(Some(bytes))) => self.input = bytes,
                Poll::Ready(Ok(None)) => self.state = State::Closing,
                Poll::Ready(Err(why)) => {
                    self.failed = Some(why);
                    self.held = self.held && !self.compress(Flush::Sync)?;
                    return Poll::Ready(Ok(()));
                }
                // What came so far may be all that comes for a while.
                Poll::Pending if self.held && self.streams => {
                    self.held = !self.compress(Flush::Sync)?;
                    if self.filled > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.state == State::Closing && self.compress(Flush::End)? {
            self.state = State::Done;
            self.ratio.0.set((self.read_bytes, self.written_bytes + self.filled as u64));
        }
        Poll::Ready(Ok(()))
    }

    fn hand_out(&mut self) -> Option<Buf> {
        let filled = std::mem::take(&mut self.filled);
        self.written_bytes += filled as u64;
        self.block.take().filter(|_| filled > 0).map(|block| block.fill(filled))
    }
}

impl<E: Encoder> Source for Encoded<E> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if self.state == State::Gathering {
            match self.gather(cx) {
                Poll::Ready(done) => done?,
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.state == State::Done {
            let packed = std::mem::take(&mut self.input);
            return Poll::Ready(Ok((!packed.is_empty()).then_some(packed)));
        }
        if self.filled == 0 {
            match self.run(cx) {
                Poll::Ready(done) => done?,
                Poll::Pending => return Poll::Pending,
            }
        }
        match (self.hand_out(), self.failed) {
            (None, Some(why)) => Poll::Ready(Err(why)),
            (out, _) => Poll::Ready(Ok(out)),
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_ahead(cx);
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.inner.trailers()
    }
}
