//! Sending a request: its head, then its body from memory, from a file, or as it comes from the client.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use foregate_core::{BodyError, FileSlice, next};
use foregate_net::Conn;
use foregate_wire::Buf;
use foregate_wire::h1::{LAST_CHUNK, chunk_header};

use crate::connect::Link;
use crate::guard::guarded;
use crate::run::{Fault, Frames, Protocol, Run, body_failed};

/// Bodies up to this size are sent in one piece with the head.
const INLINE_BODY_BYTES_MAX: usize = 16 << 10;

const STEP: &str = "sending request to upstream";

/// Sends the request; false where the peer answered before all of it was out.
pub(crate) async fn send<P: Protocol>(run: &mut Run<'_, P>, link: &Link) -> Result<bool, Fault> {
    let frames = run.protocol.frames(run.ex);
    if frames == Frames::None {
        return head(run, link).await;
    }
    if run.streams() {
        return stream(run, link, frames).await;
    }
    if let Some(file) = run.ex.body.file.clone() {
        return Ok(head(run, link).await? && from_file(run, link, file).await?);
    }
    match run.ex.body.memory.clone() {
        Some(body) if body.len() > INLINE_BODY_BYTES_MAX => {
            Ok(head(run, link).await? && bytes(run, link, &body).await?)
        }
        Some(body) if !body.is_empty() => {
            // Together in one packet, and once more without a copy where another peer is asked.
            let head_len = run.out.len();
            run.out.extend_from_slice(&body);
            let done = head(run, link).await;
            run.out.truncate(head_len);
            done
        }
        _ => head(run, link).await,
    }
}

async fn head<P: Protocol>(run: &mut Run<'_, P>, link: &Link) -> Result<bool, Fault> {
    let out = std::mem::take(&mut run.out);
    let done = bytes(run, link, &out).await;
    run.out = out;
    done
}

async fn bytes<P: Protocol>(run: &mut Run<'_, P>, link: &Link, bytes: &[u8]) -> Result<bool, Fault> {
    let done = part(run, link, link.conn.send_all(bytes)).await?;
    if done {
        run.attempts().last().bytes_sent += bytes.len() as u64;
    }
    Ok(done)
}

/// One step of sending, while the peer says nothing.
async fn part<P: Protocol>(
    run: &mut Run<'_, P>,
    link: &Link,
    work: impl Future<Output = io::Result<()>>,
) -> Result<bool, Fault> {
    let client = (!run.rules.ignore_client_abort && !run.streams()).then(|| run.ex.client.clone());
    let work = unless_answered(&link.conn, work);
    match guarded(&link.deadline, run.rules.send_timeout, client.as_deref(), work).await {
        Ok(Some(Ok(()))) => Ok(true),
        Ok(Some(Err(error))) => Err(run.failed("writev()", &error, STEP)),
        Ok(None) => Ok(false),
        Err(cut) => Err(run.cut(cut, STEP)),
    }
}

/// Runs `work` unless the peer has something to say while it blocks.
async fn unless_answered<T>(conn: &Conn, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => conn.poll_readable(cx).map(|_| None),
    })
    .await
}

async fn from_file<P: Protocol>(
    run: &mut Run<'_, P>,
    link: &Link,
    mut slice: FileSlice,
) -> Result<bool, Fault> {
    if !link.conn.is_tls() {
        let (mut at, count) = (slice.start, slice.len());
        let done = part(run, link, link.conn.sendfile(&slice.file, &mut at, count)).await?;
        run.attempts().last().bytes_sent += at - slice.start;
        return Ok(done);
    }
    while !slice.is_empty() {
        let more = slice.read().unwrap_or_default();
        if more.is_empty() {
            return Err(Fault::End(body_failed(BodyError::File)));
        }
        if !bytes(run, link, &more).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Passes the body on as it comes. The head goes out with the first piece, or alone where that lets wait.
async fn stream<P: Protocol>(run: &mut Run<'_, P>, link: &Link, frames: Frames) -> Result<bool, Fault> {
    let mut out = run.out.clone();
    loop {
        let next = match poll_now(run) {
            Poll::Ready(next) => Some(next),
            Poll::Pending => {
                if !bytes(run, link, &out).await? {
                    return Ok(false);
                }
                out.clear();
                from_client(run, link).await
            }
        };
        let Some(piece) = next else { return Ok(false) };
        match piece {
            Ok(Some(piece)) => {
                frame(frames, &piece, &mut out);
                if !bytes(run, link, &out).await? {
                    return Ok(false);
                }
                out.clear();
            }
            Ok(None) => {
                if frames == Frames::Chunked {
                    out.extend_from_slice(LAST_CHUNK);
                }
                // From here on the request is whole: the client may be watched again.
                run.ex.body.source = None;
                return bytes(run, link, &out).await;
            }
            Err(error) => return Err(Fault::End(body_failed(error))),
        }
    }
}

fn frame(frames: Frames, piece: &[u8], out: &mut Vec<u8>) {
    if frames == Frames::Chunked {
        chunk_header(piece.len(), out);
    }
    out.extend_from_slice(piece);
    if frames == Frames::Chunked {
        out.extend_from_slice(b"\r\n");
    }
}

type Piece = Result<Option<Buf>, BodyError>;

fn poll_now<P: Protocol>(run: &mut Run<'_, P>) -> Poll<Piece> {
    let Some(source) = &mut run.ex.body.source else { return Poll::Ready(Ok(None)) };
    source.poll_next(&mut Context::from_waker(std::task::Waker::noop()))
}

/// The client's next piece; `None` where the peer answers first.
async fn from_client<P: Protocol>(run: &mut Run<'_, P>, link: &Link) -> Option<Piece> {
    let source = run.ex.body.source.as_mut()?;
    unless_answered(&link.conn, next(&mut **source)).await
}
