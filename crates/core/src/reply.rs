//! The answer to one request, from the content phase through the filters to the connection.

use std::fmt;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use foregate_net::{Conn, Pipe};
use foregate_wire::{Buf, Fields};

/// A response: status, fields, body. `Server`, `Date`, `Connection` and the framing are the connection's.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// The reason phrase as the upstream sent it; `None` takes the standard one.
    pub reason: Option<Buf>,
    /// Fields in order, `Content-Type`, `Last-Modified` and `Location` among them; never `Content-Length`
    /// or `Transfer-Encoding`.
    pub fields: Fields,
    /// The body's length where it is known without the body (HEAD, 304 from an upstream).
    pub length: Option<u64>,
    pub body: Body,
    /// Seconds since the epoch; what `Last-Modified` says, read by the conditional and range filters.
    pub mtime: Option<i64>,
    /// The body may be cut into ranges.
    pub allow_ranges: bool,
    /// No body was given for this error: the server writes its own page, or `error_page` finds one.
    pub bare: bool,
    /// An upstream's error that an `error_page` may take the place of (`proxy_intercept_errors`).
    pub interceptable: bool,
    /// The request's conditions (`If-None-Match` and its kin) were passed to an upstream, which has judged them.
    pub conditions_judged: bool,
    /// Nobody may change the body or how it is coded (RFC 9111, sections 5.2.1.6 and 5.2.2.6).
    pub untouched: bool,
    /// `Location` is an upstream's own and stays as it is, even where it is relative.
    pub foreign_location: bool,
    /// `Content-Type` is found by the extension of the URI (`types`, `default_type`).
    pub type_by_uri: bool,
    /// The connection must not be kept alive after this answer.
    pub close: bool,
}

impl Reply {
    /// A status without a body of its own.
    pub fn status(status: u16) -> Self {
        Self { status, bare: true, ..Self::default() }
    }

    /// A short answer whose body is at hand.
    pub fn bytes(status: u16, content_type: &[u8], body: Buf) -> Self {
        let mut reply = Self { status, body: Body::Bytes(body), ..Self::default() };
        if !content_type.is_empty() {
            reply.fields.push(b"Content-Type", content_type);
        }
        reply
    }

    /// What `Content-Length` says, where it is known.
    pub fn content_length(&self) -> Option<u64> {
        self.length.or_else(|| self.body.len())
    }

    /// A body that a filter changed: its length, ranges and strong validators no longer hold.
    pub fn body_changes(&mut self) {
        self.length = None;
        self.allow_ranges = false;
        self.fields.remove(b"Accept-Ranges");
    }

    /// A strong `ETag` becomes a weak one, because the bytes are no longer those that it was made for.
    pub fn weaken_etag(&mut self) {
        match self.fields.get(b"ETag") {
            None => (),
            Some(etag) if etag.starts_with(b"W/") && etag.len() > 2 => (),
            Some(etag) if etag.starts_with(b"\"") => {
                let weak = [b"W/", etag].concat();
                self.fields.set(b"ETag", &weak);
            }
            Some(_) => _ = self.fields.remove(b"ETag"),
        }
    }
}

/// What follows the head.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Bytes(Buf),
    File(FileSlice),
    /// Pieces in order: the parts of a multi-range answer.
    Parts(Vec<Part>),
    /// A stream that is pulled as the client takes it.
    Source(Box<dyn Source>),
    /// After a 101: bytes both ways until one side ends.
    Tunnel(Box<dyn Tunnel>),
}

impl Body {
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(slice) => Some(slice.len()),
            Self::Parts(parts) => Some(parts.iter().map(Part::len).sum()),
            Self::Source(source) => source.len(),
            Self::Tunnel(_) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The same body for those who must see its bytes: as such, where they are in memory.
    pub fn at_hand(self) -> Self {
        match self {
            Self::File(slice) => slice.in_memory().map_or(Self::File(slice), Self::Bytes),
            other => other,
        }
    }

    /// The same body as a stream, for filters that change it. Files are read in blocks of [`Buf::BLOCK`].
    pub fn into_source(self) -> Box<dyn Source> {
        match self.at_hand() {
            Self::Empty | Self::Tunnel(_) => Box::new(Pieces { parts: Vec::new() }),
            Self::Bytes(bytes) => Box::new(Pieces { parts: vec![Part::Bytes(bytes)] }),
            Self::File(slice) => Box::new(Pieces { parts: vec![Part::File(slice)] }),
            Self::Parts(mut parts) => {
                parts.reverse();
                Box::new(Pieces { parts })
            }
            Self::Source(source) => source,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?} bytes)", self.len())
    }
}

/// One piece of a body.
pub enum Part {
    Bytes(Buf),
    File(FileSlice),
}

impl Part {
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(slice) => slice.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes `start..end` of an open file.
#[derive(Clone)]
pub struct FileSlice {
    pub file: Arc<File>,
    pub start: u64,
    pub end: u64,
    /// All of the file, where that is in memory as well: for those who must see the bytes. The others let the kernel
    /// send them.
    memory: Option<Arc<Vec<u8>>>,
}

impl FileSlice {
    pub fn new(file: Arc<File>, start: u64, end: u64) -> Self {
        Self { file, start, end, memory: None }
    }

    /// `memory` holds all of the file.
    pub fn with_memory(self, memory: Arc<Vec<u8>>) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// The bytes, where they are in memory.
    fn in_memory(&self) -> Option<Buf> {
        let all = Buf::from_common(self.memory.clone()?);
        Some(all.slice(usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?))
    }

    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the next block, blocking as nginx's workers do, and moves on. Empty at the end.
    pub fn read(&mut self) -> std::io::Result<Buf> {
        use std::os::unix::fs::FileExt;
        let mut block = foregate_wire::Block::take();
        let room = block.spare();
        let want = room.len().min(self.len() as usize);
        let n = self.file.read_at(&mut room[..want], self.start)?;
        self.start += n as u64;
        Ok(block.fill(n))
    }

    /// Reads all that is left, blocking, behind what stands in `out`. `false`: the file has become shorter.
    pub fn read_all(&mut self, out: &mut Vec<u8>) -> std::io::Result<bool> {
        use std::os::unix::fs::FileExt;
        let mut at = out.len();
        out.resize(at + self.len() as usize, 0);
        while !self.is_empty() {
            let n = self.file.read_at(&mut out[at..], self.start)?;
            if n == 0 {
                out.truncate(at);
                return Ok(false);
            }
            at += n;
            self.start += n as u64;
        }
        Ok(true)
    }
}

/// Why a body could not be read to its end, and whose fault that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The client went away or broke its connection.
    ClientGone,
    /// The client sent what is no body: 400.
    ClientBroken,
    /// The client took longer than its time: 408.
    ClientSlow,
    /// More than `client_max_body_size`: 413.
    TooLarge,
    /// The upstream ended early, sent nonsense or took too long; it has been logged.
    Upstream,
    /// A file of ours could not be read or written; it has been logged.
    File,
}

impl BodyError {
    /// What an exchange that ends for this reason is answered with, and what the log says of it.
    pub fn status(self) -> u16 {
        match self {
            Self::ClientGone => 499,
            Self::ClientBroken => 400,
            Self::ClientSlow => 408,
            Self::TooLarge => 413,
            Self::Upstream => 502,
            Self::File => 500,
        }
    }
}

/// A stream of bytes, pulled by the one who needs them.
pub trait Source {
    /// The next bytes; `None` at the end. Never an empty `Buf`.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>>;

    /// Called while the taker is blocked: a source that buffers reads ahead here. Registers its wakers.
    fn poll_ahead(&mut self, _: &mut Context<'_>) {}

    /// Whether much comes at once of what nobody here looks at, so that `poll_piped` is the cheaper way to take it.
    fn pipes(&self) -> bool {
        false
    }

    /// As `poll_next`, but the bytes stay within the kernel. `None` where they must be taken by `poll_next` after all.
    fn poll_piped(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Pipe>, BodyError>> {
        Poll::Ready(Ok(None))
    }

    /// What comes lies in a file, so that `poll_slice` is the cheaper way to take it.
    fn lies_in_file(&self) -> bool {
        false
    }

    /// As `poll_next`, where `lies_in_file` says so: the next part of the file, never an empty one.
    fn poll_slice(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<FileSlice>, BodyError>> {
        Poll::Ready(Ok(None))
    }

    /// Only bytes `start..end` are wanted. `true`: what comes from now on is just those; else all comes, as before.
    fn seek(&mut self, _start: u64, _end: u64) -> bool {
        false
    }

    /// From now on the whole may have so many bytes (0 is no limit), and two reads may be so far apart. Only for
    /// sources that strangers fill.
    fn limit(&mut self, _bytes_max: u64, _between: std::time::Duration) {}

    /// The bytes still to come, where that is known.
    fn len(&self) -> Option<u64> {
        None
    }

    /// Trailer fields, after the end.
    fn trailers(&mut self) -> Option<Fields> {
        None
    }
}

/// Waits for a source's next bytes.
pub fn next<'a>(source: &'a mut dyn Source) -> impl Future<Output = Result<Option<Buf>, BodyError>> + 'a {
    poll_fn(move |cx| source.poll_next(cx))
}

/// Bytes at hand and files, last piece first.
struct Pieces {
    parts: Vec<Part>,
}

impl Source for Pieces {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        while let Some(part) = self.parts.last_mut() {
            let bytes = match part {
                Part::Bytes(bytes) => std::mem::take(bytes),
                Part::File(slice) if slice.is_empty() => Buf::default(),
                Part::File(slice) => match slice.read() {
                    Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Ok(Some(bytes))),
                    _ => return Poll::Ready(Err(BodyError::File)),
                },
            };
            self.parts.pop();
            if !bytes.is_empty() {
                return Poll::Ready(Ok(Some(bytes)));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn len(&self) -> Option<u64> {
        Some(self.parts.iter().map(Part::len).sum())
    }
}

/// A connection that was upgraded: takes the client's connection and carries bytes both ways.
pub trait Tunnel {
    /// `early` is what the client sent behind its request's head.
    fn run(self: Box<Self>, client: Rc<dyn Duplex>, early: Buf) -> Pin<Box<dyn Future<Output = Carried>>>;
}

/// Bytes both ways: a connection, or a stream on one.
pub trait Duplex {
    /// The next bytes; empty at the end.
    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>>;

    /// Takes some of `bytes`, at least one; tells how many.
    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Ready once what was taken is on its way.
    fn poll_flush(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Duplex for Conn {
    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Buf>> {
        Conn::poll_recv(self, cx)
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Conn::poll_send(self, cx, bytes)
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(self, cx)
    }
}

/// What a tunnel carried, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub to_client_bytes: u64,
    pub from_client_bytes: u64,
}
