//! A body that is compressed as it is pulled.

use std::task::{Context, Poll};

use flate2::FlushCompress;
use foregate_core::{BodyError, Source};
use foregate_wire::{Block, Buf, Fields};

use super::Ratio;
use super::deflate::Deflate;

/// Compressed bytes worth a turn to the client.
const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes compressed before others get a turn.
const TURN_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Gzipped {
    inner: Box<dyn Source>,
    deflate: Deflate,
    /// Read from the inner source, not compressed yet.
    input: Buf,
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
    Open,
    /// The inner source has ended; the compressor has not.
    Closing,
    Done,
}

impl Gzipped {
    pub(super) fn new(inner: Box<dyn Source>, level: u32, ratio: Ratio) -> Self {
        Self {
            streams: inner.len().is_none(),
            inner,
            deflate: Deflate::new(level),
            input: Buf::default(),
            block: None,
            filled: 0,
            held: false,
            state: State::Open,
            failed: None,
            read_bytes: 0,
            written_bytes: 0,
            ratio,
        }
    }

    /// Runs the compressor over what was read, until that is used up or the block is full.
    fn compress(&mut self, flush: FlushCompress) -> Result<(), BodyError> {
        loop {
            let block = self.block.get_or_insert_with(Block::take);
            let room = &mut block.spare()[self.filled..];
            let space = room.len();
            // The state is never out of order: this is the only one who drives it.
            let step = self.deflate.step(&self.input, room, flush).ok_or(BodyError::File)?;
            self.input.advance(step.read);
            self.filled += step.written;
            self.read_bytes += step.read as u64;
            if step.ended {
                self.state = State::Done;
            }
            if step.ended || step.written == space || self.input.is_empty() || step.read + step.written == 0 {
                return Ok(());
            }
        }
    }

    fn is_full(&self) -> bool {
        self.filled == Buf::BLOCK
    }

    fn hand_out(&mut self) -> Poll<Result<Option<Buf>, BodyError>> {
        let filled = std::mem::take(&mut self.filled);
        self.written_bytes += filled as u64;
        if self.state == State::Done {
            self.ratio.0.set((self.read_bytes, self.written_bytes));
        }
        match self.block.take() {
            Some(block) if filled > 0 => Poll::Ready(Ok(Some(block.fill(filled)))),
            _ => Poll::Ready(Ok(None)),
        }
    }
}

impl Source for Gzipped {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if let Some(why) = self.failed {
            return Poll::Ready(Err(why));
        }
        let turn_end = self.read_bytes + TURN_BYTES_MAX as u64;
        while self.state == State::Open {
            if !self.input.is_empty() {
                self.held = true;
                self.compress(FlushCompress::None)?;
                if self.filled >= CHUNK_BYTES {
                    return self.hand_out();
                }
                if self.read_bytes >= turn_end {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                continue;
            }
            match self.inner.poll_next(cx) {
                Poll::Ready(Ok(Some(bytes))) => self.input = bytes,
                Poll::Ready(Ok(None)) => self.state = State::Closing,
                Poll::Ready(Err(why)) => {
                    self.failed = Some(why);
                    self.compress(FlushCompress::Sync)?;
                    return if self.filled > 0 { self.hand_out() } else { Poll::Ready(Err(why)) };
                }
                // What came so far may be all that comes for a while.
                Poll::Pending if self.held && self.streams => {
                    self.compress(FlushCompress::Sync)?;
                    // A full block may leave some of the flush behind: it goes on at the next turn.
                    self.held = self.is_full();
                    if self.filled > 0 {
                        return self.hand_out();
                    }
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.state == State::Closing {
            self.compress(FlushCompress::Finish)?;
        }
        self.hand_out()
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_ahead(cx);
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.inner.trailers()
    }
}
