//! The request's body: a stream from the client, or all of it in memory or in a file.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use foregate_wire::{Buf, Fields};

use crate::error_log::Level;
use crate::exchange::Exchange;
use crate::reply::{BodyError, FileSlice, Source, next};
use crate::temp_file::{TempDir, TempFile};

/// The request's body: pulled from the client when somebody wants it.
#[derive(Default)]
pub struct RequestBody {
    /// The bytes still to come from the client.
    pub source: Option<Box<dyn Source>>,
    /// `Content-Length` as announced, or the real length once all was read; `None` for a chunked body.
    pub length: Option<u64>,
    /// Bytes read from the client so far.
    pub read_bytes: u64,
    /// All of it, where it was read into memory ahead of the content phase (`$request_body`).
    pub memory: Option<Buf>,
    /// The file it was written to, where it did not fit (`$request_body_file`).
    pub file: Option<FileSlice>,
    pub file_name: Option<PathBuf>,
    /// Removes that file at the end.
    pub temp: Option<Rc<TempFile>>,
}

/// What a location says about reading bodies whole.
pub struct BodyLimits<'a> {
    /// Larger ones go to a file (`client_body_buffer_size`), bytes.
    pub memory_max: usize,
    pub temp: &'a TempDir,
    pub in_file: InFile,
}

/// `client_body_in_file_only`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InFile {
    /// Only where it does not fit into memory.
    #[default]
    No,
    /// Always, and the file stays.
    Keep,
    /// Always.
    Clean,
}

impl RequestBody {
    /// Forgets all of it, as [`Exchange::clear`] wants it.
    pub(crate) fn clear(&mut self) {
        let Self { source, length, read_bytes, memory, file, file_name, temp } = self;
        (*source, *length, *read_bytes) = (None, None, 0);
        (*memory, *file) = (None, None);
        (*file_name, *temp) = (None, None);
    }

    /// Whether the request has a body at all, empty ones apart.
    pub fn exists(&self) -> bool {
        self.source.is_some() || self.memory.is_some() || self.file.is_some()
    }

    /// The same body for another reader, where it has been read; else none.
    pub(crate) fn shared(&self) -> Self {
        let is_read = self.source.is_none() && (self.memory.is_some() || self.file.is_some());
        Self {
            source: None,
            length: self.length.filter(|_| is_read),
            read_bytes: self.read_bytes,
            memory: self.memory.clone(),
            file: self.file.clone(),
            file_name: self.file_name.clone(),
            temp: self.temp.clone(),
        }
    }

    /// The next bytes from the client; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Buf>, BodyError> {
        let Some(source) = &mut self.source else { return Ok(None) };
        let bytes = next(&mut **source).await?;
        self.read_bytes += bytes.as_ref().map_or(0, |it| it.len() as u64);
        Ok(bytes)
    }

    /// Collects into memory until `max` is passed; returns what was collected, and whether that is all.
    async fn collect(&mut self, max: usize) -> Result<(Vec<u8>, bool), BodyError> {
        let mut bytes = Vec::new();
        while let Some(more) = self.next().await? {
            if bytes.is_empty() && more.len() <= max {
                bytes.reserve_exact(self.length.map_or(more.len(), |it| it.min(max as u64) as usize));
            }
            bytes.extend_from_slice(&more);
            if bytes.len() > max {
                return Ok((bytes, false));
            }
        }
        Ok((bytes, true))
    }

    fn is_small(&self, max: usize) -> bool {
        self.length.is_some_and(|it| it <= max as u64)
    }
}

impl Exchange {
    /// Reads the whole body into memory, or to a file where the location's limits say so. Does nothing twice.
    ///
    /// # Errors
    /// The client's fault, or a file that cannot be written, which has been logged.
    pub async fn read_body(&mut self) -> Result<(), BodyError> {
        if self.body.source.is_none() {
            return Ok(());
        }
        let cycle = self.cycle.clone();
        let limits = cycle.body_limits(self.location);
        let in_file = limits.in_file != InFile::No;
        if !in_file && self.body.is_small(limits.memory_max) && self.read_one_piece().await? {
            return Ok(());
        }
        let max = if in_file { 0 } else { limits.memory_max };
        // A copy, so that no block is held while the rest is waited for.
        let mut bytes = self.body.memory.take().unwrap_or_default().to_vec();
        let mut all = false;
        if bytes.len() <= max {
            let (more, whole) = self.body.collect(max - bytes.len()).await?;
            bytes.extend_from_slice(&more);
            all = whole;
        }
        if all && !in_file {
            self.keep_in_memory(Buf::from_vec(bytes));
            return Ok(());
        }
        self.spill(bytes, &limits).await
    }

    /// Reads the whole body into a file of its own, wherever the location's limits would put it; it is taken from the
    /// request then.
    ///
    /// # Errors
    /// As [`Exchange::read_body`].
    pub async fn read_body_into_file(&mut self) -> Result<TempFile, BodyError> {
        let cycle = self.cycle.clone();
        let temp =
            TempFile::create(cycle.body_limits(self.location).temp).map_err(|why| self.file_failed(&why))?;
        if self.body.source.is_none() {
            // It has been read before, for a mirror.
            match (self.body.memory.take(), self.body.file.take()) {
                (Some(bytes), _) => temp.write_all(&bytes).map_err(|why| self.file_failed(&why))?,
                (None, Some(mut slice)) => {
                    while !slice.is_empty() {
                        let bytes = slice.read().map_err(|why| self.file_failed(&why))?;
                        if bytes.is_empty() {
                            return Err(BodyError::File);
                        }
                        temp.write_all(&bytes).map_err(|why| self.file_failed(&why))?;
                    }
                }
                (None, None) => (),
            }
            return Ok(temp);
        }
        while let Some(bytes) = self.body.next().await? {
            temp.write_all(&bytes).map_err(|why| self.file_failed(&why))?;
        }
        self.body.source = None;
        Ok(temp)
    }

    /// Takes what of the body needs no waiting. A body that is whole then is kept in memory, as nginx does even
    /// where bodies are passed on as they come; any other is as it was.
    pub fn read_body_at_hand(&mut self) {
        let max = self.cycle.body_limits(self.location).memory_max;
        if self.body.length.is_some_and(|it| it > max as u64) {
            return;
        }
        let Some(mut inner) = self.body.source.take() else { return };
        let mut pieces = VecDeque::new();
        let mut bytes = 0;
        let mut cx = Context::from_waker(Waker::noop());
        let failed = loop {
            match inner.poll_next(&mut cx) {
                Poll::Ready(Ok(Some(piece))) => {
                    bytes += piece.len();
                    pieces.push_back(piece);
                    if bytes > max {
                        break None;
                    }
                }
                Poll::Ready(Ok(None)) => {
                    self.body.read_bytes += bytes as u64;
                    let whole = match pieces.len() {
                        1 => pieces.pop_front().unwrap_or_default(),
                        _ => Buf::from_vec(pieces.iter().flat_map(|it| it.iter().copied()).collect()),
                    };
                    return self.keep_in_memory(whole);
                }
                Poll::Ready(Err(error)) => break Some(error),
                Poll::Pending => break None,
            }
        };
        self.body.source = Some(match pieces.is_empty() && failed.is_none() {
            true => inner,
            false => Box::new(Reread { pieces, failed, inner }),
        });
    }

    /// The common small body: one read brings all of it, and no byte is copied.
    async fn read_one_piece(&mut self) -> Result<bool, BodyError> {
        let Some(bytes) = self.body.next().await? else {
            self.keep_in_memory(Buf::default());
            return Ok(true);
        };
        let whole = Some(bytes.len() as u64) == self.body.length;
        if whole {
            self.keep_in_memory(bytes);
        } else {
            self.body.memory = Some(bytes);
        }
        Ok(whole)
    }

    fn keep_in_memory(&mut self, bytes: Buf) {
        self.body.source = None;
        self.body.length = Some(bytes.len() as u64);
        self.body.memory = Some(bytes);
    }

    async fn spill(&mut self, bytes: Vec<u8>, limits: &BodyLimits<'_>) -> Result<(), BodyError> {
        let mut temp = TempFile::create(limits.temp).map_err(|why| self.file_failed(&why))?;
        if limits.in_file == InFile::Keep {
            temp.keep();
        }
        let path = temp.path().to_owned();
        let text = path.display();
        crate::log!(self, Level::Warn, "a client request body is buffered to a temporary file {text}");
        temp.write_all(&bytes).map_err(|why| self.file_failed(&why))?;
        let mut length = bytes.len() as u64;
        drop(bytes);
        while let Some(more) = self.body.next().await? {
            temp.write_all(&more).map_err(|why| self.file_failed(&why))?;
            length += more.len() as u64;
        }
        let body = &mut self.body;
        body.source = None;
        body.length = Some(length);
        body.file = Some(FileSlice::new(temp.file.clone(), 0, length));
        body.file_name = Some(path);
        body.temp = Some(Rc::new(temp));
        Ok(())
    }

    fn file_failed(&self, why: &std::io::Error) -> BodyError {
        let why = foregate_net::sys::errno_text(why);
        crate::log!(self, Level::Crit, "a client request body cannot be written to a temporary file ({why})");
        BodyError::File
    }
}

/// A body of which some pieces were taken ahead.
struct Reread {
    pieces: VecDeque<Buf>,
    failed: Option<BodyError>,
    inner: Box<dyn Source>,
}

impl Source for Reread {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Ok(Some(piece)));
        }
        match self.failed {
            Some(error) => Poll::Ready(Err(error)),
            None => self.inner.poll_next(cx),
        }
    }

    fn len(&self) -> Option<u64> {
        let ahead: usize = self.pieces.iter().map(|it| it.len()).sum();
        self.inner.len().map(|len| len + ahead as u64)
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.inner.trailers()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::exchange;

    #[test]
    fn a_small_body_is_read_without_a_copy() {
        foregate_net::runtime::run(async {
            let mut ex = exchange("POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody");
            ex.body.memory = None;
            ex.read_body().await.expect("because it is all there");
            assert_eq!(ex.body.memory.as_deref(), Some(&b"body"[..]));
            assert_eq!((ex.body.length, ex.body.source.is_none()), (Some(4), true));
        })
        .expect("because a thread has one runtime");
    }

    #[test]
    fn a_large_body_goes_to_a_file() {
        foregate_net::runtime::run(async {
            let text = "x".repeat(100_000);
            let mut ex = exchange(&format!("POST / HTTP/1.1\nHost: a\n\n{text}"));
            ex.body.memory = None;
            ex.body.length = None;
            ex.read_body().await.expect("because it is all there");
            let file = ex.body.file_name.clone().expect("because it is larger than the buffer");
            assert_eq!(
                std::fs::read(&file).expect("because the file lives with the exchange"),
                text.as_bytes()
            );
            assert_eq!(ex.body.length, Some(100_000));
            drop(ex);
            assert!(!file.exists());
        })
        .expect("because a thread has one runtime");
    }
}
