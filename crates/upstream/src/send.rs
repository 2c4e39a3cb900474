//! Sending a request: its head, then its body from memory, from a file, or as it comes from the client.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use foregate_core::{BodyError, FileSlice};
use foregate_net::{Conn, runtime};
use foregate_wire::Buf;
use foregate_wire::fastcgi::{END_OF_STDIN, stdin};
use foregate_wire::h1::{LAST_CHUNK, chunk_header};
use foregate_wire::h2::client::Draft;

use crate::connect::Link;
use crate::guard::guarded;
use crate::h2::Feed;
use crate::records;
use crate::run::{Fault, Frames, Protocol, Run, body_failed};

/// Bodies up to this size are sent in one piece with the head.
const INLINE_BODY_BYTES_MAX: usize = 16 << 10;

const STEP: &str = "sending request to upstream";

/// Sends the request; false where the peer answered before all of it was out.
pub(crate) async fn send<P: Protocol>(run: &mut Run<'_, P>, link: &mut Link) -> Result<bool, Fault> {
    if P::H2 {
        return begin(run, link).await;
    }
    let frames = run.protocol.frames(run.ex);
    if frames == Frames::None {
        return head(run, link).await;
    }
    if run.streams() {
        return Box::pin(stream(run, link, frames)).await;
    }
    if frames == Frames::Records {
        return Box::pin(in_records(run, link)).await;
    }
    if let Some(file) = run.ex.body.file.clone() {
        return Ok(head(run, link).await? && Box::pin(from_file(run, link, file)).await?);
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

/// Begins a request whose body goes out while the answer is waited for.
async fn begin<P: Protocol>(run: &mut Run<'_, P>, link: &mut Link) -> Result<bool, Fault> {
    let out = std::mem::take(&mut run.out);
    let draft = Draft::new(&out);
    let feed = feed(run, &draft);
    let (head_max, mut feed) = (run.rules.head_max, Some(feed));
    let (h2, conn) = link.h2().expect("because such a protocol gives every connection its carrier");
    let begun = poll_fn(|cx| {
        let feed = feed.take().unwrap_or_default();
        Poll::Ready(h2.begin(&draft, feed, head_max, conn, cx))
    });
    let begun = begun.await;
    run.out = out;
    run.attempts().last().bytes_sent = h2.take_sent();
    begun.map_err(|error| run.failed("writev()", &error, STEP))?;
    Ok(true)
}

/// Where the body comes from. One that is passed on as it comes is taken from the exchange.
fn feed<P: Protocol>(run: &mut Run<'_, P>, draft: &Draft<'_>) -> Feed {
    let own = draft.body();
    if run.protocol.frames(run.ex) == Frames::None {
        return if own.is_empty() { Feed::Nothing } else { Feed::Bytes(Buf::copy_from(own)) };
    }
    let body = &mut run.ex.body;
    if let Some(source) = body.source.take() {
        run.body_gone = true;
        return Feed::Source { source, trailers: run.rules.pass_trailers };
    }
    match (&body.file, &body.memory) {
        (Some(file), _) => Feed::File(file.clone()),
        (None, Some(bytes)) if !bytes.is_empty() => Feed::Bytes(bytes.clone()),
        _ => Feed::Nothing,
    }
}

async fn head<P: Protocol>(run: &mut Run<'_, P>, link: &Link) -> Result<bool, Fault> {
    let out = std::mem::take(&mut run.out);
    let done = bytes(run, link, &out).await;
    run.out = out;
    done
}

async fn bytes<P: Protocol>(run: &mut Run<'_, P>, link: &Link, bytes: &[u8]) -> Result<bool, Fault> {
    let conn = &link.conn;
    runtime::gather().await;
    // As a rule all of it goes at once, and nothing need be prepared for waiting.
    let at_once = poll_fn(|cx| {
        let sent = if bytes.is_empty() { Poll::Ready(Ok(0)) } else { conn.poll_send(cx, bytes) };
        Poll::Ready((sent, conn.poll_flush(cx).is_ready()))
    });
    let (n, flushed) = match at_once.await {
        (Poll::Ready(Ok(sent)), flushed) => (sent, flushed),
        (Poll::Ready(Err(error)), _) => return Err(run.failed("writev()", &error, STEP)),
        (Poll::Pending, _) => (0, false),
    };
    let done = n == bytes.len() && flushed || Box::pin(part(run, link, conn.send_all(&bytes[n..]))).await?;
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
    let client = (run.watches_client() && !run.streams()).then(|| run.ex.client.clone());
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

/// Sends the head and a body that is here already, if it is passed on, in records.
async fn in_records<P: Protocol>(run: &mut Run<'_, P>, link: &Link) -> Result<bool, Fault> {
    let passes = run.rules.pass_request_body;
    if let Some(mut slice) = run.ex.body.file.clone().filter(|_| passes) {
        if !head(run, link).await? {
            return Ok(false);
        }
        while !slice.is_empty() {
            let more = slice.read().unwrap_or_default();
            if more.is_empty() {
                return Err(Fault::End(body_failed(BodyError::File)));
            }
            if !framed(run, link, b"", &records::stdin(vec![more]), b"").await? {
                return Ok(false);
            }
        }
        return bytes(run, link, &END_OF_STDIN).await;
    }
    let head_len = run.out.len();
    if let Some(body) = run.ex.body.memory.as_ref().filter(|_| passes) {
        stdin(body, &mut run.out);
    }
    run.out.extend_from_slice(&END_OF_STDIN);
    let done = head(run, link).await;
    run.out.truncate(head_len);
    done
}

/// Passes the body on as it comes. The head goes out with the first piece, or alone where that lets wait.
async fn stream<P: Protocol>(run: &mut Run<'_, P>, link: &Link, frames: Frames) -> Result<bool, Fault> {
    let mut out = run.out.clone();
    let mut pieces = Vec::new();
    let unseen = frames == Frames::Raw && !link.conn.is_tls();
    loop {
        if unseen && out.is_empty() && !piped(run, link).await? {
            return Ok(false);
        }
        let mut over = gather(run, &mut pieces, unseen)?;
        if pieces.is_empty() && !over {
            if !bytes(run, link, &out).await? {
                return Ok(false);
            }
            out.clear();
            match from_client(run, link).await {
                None => return Ok(false),
                Some(Err(error)) => return Err(Fault::End(body_failed(error))),
                Some(Ok(Some(piece))) => {
                    pieces.push(piece);
                    over = gather(run, &mut pieces, unseen)?;
                }
                Some(Ok(None)) => over = true,
            }
        }
        if over {
            // From here on the request is whole: the client may be watched again.
            run.ex.body.source = None;
            run.body_gone = true;
        }
        if frames == Frames::Records {
            pieces = records::stdin(pieces);
        }
        let length: usize = pieces.iter().map(|it| it.len()).sum();
        let tail = frame(frames, length, over, &mut out);
        if !framed(run, link, &out, &pieces, tail).await? {
            return Ok(false);
        }
        if over {
            return Ok(true);
        }
        out.clear();
        pieces.clear();
    }
}

/// Moves on what of the body nobody must see, for as long as much comes at once; false where the peer answers first.
async fn piped<P: Protocol>(run: &mut Run<'_, P>, link: &Link) -> Result<bool, Fault> {
    while let Some(source) = run.ex.body.source.as_mut().filter(|it| it.pipes()) {
        let pipe = match unless_answered(&link.conn, poll_fn(|cx| source.poll_piped(cx))).await {
            None => return Ok(false),
            Some(Err(error)) => return Err(Fault::End(body_failed(error))),
            Some(Ok(None)) => break,
            Some(Ok(Some(pipe))) => pipe,
        };
        if source.len() == Some(0) {
            run.ex.body.source = None;
        }
        let length = pipe.len() as u64;
        run.ex.body.read_bytes += length;
        if !part(run, link, link.conn.stream().send_pipe(pipe)).await? {
            return Ok(false);
        }
        run.attempts().last().bytes_sent += length;
    }
    Ok(true)
}

/// Takes what the client has sent already, up to a block or to where it need not be seen; true at the end of the body.
fn gather<P: Protocol>(run: &mut Run<'_, P>, pieces: &mut Vec<Buf>, unseen: bool) -> Result<bool, Fault> {
    let mut length: usize = pieces.iter().map(|it| it.len()).sum();
    while length < Buf::BLOCK {
        if unseen && length > 0 && run.ex.body.source.as_ref().is_some_and(|it| it.pipes()) {
            break;
        }
        match poll_now(run) {
            Poll::Ready(Ok(Some(piece))) => {
                length += piece.len();
                pieces.push(piece);
            }
            Poll::Ready(Ok(None)) => return Ok(true),
            Poll::Ready(Err(error)) => return Err(Fault::End(body_failed(error))),
            Poll::Pending => break,
        }
    }
    Ok(false)
}

/// Writes what stands before a piece of the body and returns what stands behind it.
fn frame(frames: Frames, length: usize, over: bool, out: &mut Vec<u8>) -> &'static [u8] {
    match frames {
        Frames::Chunked => (),
        Frames::Records if over => return &END_OF_STDIN,
        _ => return b"",
    }
    if length > 0 {
        chunk_header(length, out);
    }
    match (length > 0, over) {
        (true, true) => b"\r\n0\r\n\r\n",
        (true, false) => b"\r\n",
        (false, true) => LAST_CHUNK,
        (false, false) => b"",
    }
}

/// Sends a piece of the body with what stands around it, in one call.
async fn framed<P: Protocol>(
    run: &mut Run<'_, P>,
    link: &Link,
    out: &[u8],
    pieces: &[Buf],
    tail: &[u8],
) -> Result<bool, Fault> {
    let mut slices: Vec<&[u8]> = Vec::with_capacity(pieces.len() + 2);
    slices.push(out);
    slices.extend(pieces.iter().map(|it| &**it));
    slices.push(tail);
    slices.retain(|it| !it.is_empty());
    if slices.is_empty() {
        return Ok(true);
    }
    let length: usize = slices.iter().map(|it| it.len()).sum();
    let done = part(run, link, link.conn.send_vectored_all(&slices)).await?;
    if done {
        run.attempts().last().bytes_sent += length as u64;
    }
    Ok(done)
}

type Piece = Result<Option<Buf>, BodyError>;

fn poll_now<P: Protocol>(run: &mut Run<'_, P>) -> Poll<Piece> {
    let Some(source) = &mut run.ex.body.source else { return Poll::Ready(Ok(None)) };
    let piece = source.poll_next(&mut Context::from_waker(std::task::Waker::noop()));
    if let Poll::Ready(Ok(Some(piece))) = &piece {
        run.ex.body.read_bytes += piece.len() as u64;
    }
    piece
}

/// The client's next piece; `None` where the peer answers first.
async fn from_client<P: Protocol>(run: &mut Run<'_, P>, link: &Link) -> Option<Piece> {
    unless_answered(&link.conn, run.ex.body.next()).await
}
