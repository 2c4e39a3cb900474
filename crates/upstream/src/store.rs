//! Keeping a copy of an answer as a file (nginx: proxy_store).

use std::io;
use std::path::PathBuf;
use std::task::{Context, Poll};

use foregate_core::{Body, BodyError, Failed, Level, Reporter, Source, TempDir, TempFile, Template, next};
use foregate_net::{runtime, sys};
use foregate_wire::{Buf, Fields};

/// `proxy_store` and `proxy_store_access`.
pub struct Store {
    /// The file's name, for each exchange.
    pub path: Template,
    /// Permission bits of new files.
    pub access: u32,
}

/// One answer's copy, written while the answer passes.
pub(crate) struct Replica {
    pub(crate) path: PathBuf,
    pub(crate) access: u32,
    /// Seconds since the epoch: what `Last-Modified` says.
    pub(crate) modified_s: Option<i64>,
    pub(crate) temp: TempDir,
    pub(crate) reporter: Reporter,
    file: Option<TempFile>,
    failed: bool,
}

impl Replica {
    pub(crate) fn new(
        path: PathBuf,
        access: u32,
        modified_s: Option<i64>,
        temp: TempDir,
        reporter: Reporter,
    ) -> Self {
        Self { path, access, modified_s, temp, reporter, file: None, failed: false }
    }

    /// The same body; what passes is copied.
    pub(crate) fn attach(mut self, body: Body) -> Body {
        match body {
            Body::Empty => {
                self.finish();
                Body::Empty
            }
            Body::Bytes(bytes) => {
                self.write(&bytes);
                self.finish();
                Body::Bytes(bytes)
            }
            body => Body::Source(Box::new(Copied { source: Some(body.into_source()), copy: Some(self) })),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.failed {
            return;
        }
        if let Err(error) = self.try_write(bytes) {
            self.complain("write()", &error);
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(TempFile::create(&self.temp)?),
        };
        file.write_all(bytes)
    }

    /// The answer is whole: the copy gets its name.
    fn finish(&mut self) {
        self.write(b"");
        if self.failed {
            return;
        }
        let Some(file) = self.file.take() else { return };
        if let Err(Failed { call, why, .. }) = file.stay(&self.path, self.access, self.modified_s, true) {
            self.complain(call, &why);
        }
    }

    fn complain(&mut self, call: &str, error: &io::Error) {
        self.failed = true;
        self.file = None;
        let (path, why) = (self.path.display(), sys::errno_text(error));
        self.reporter
            .log(Level::Crit, format_args!("{call} \"{path}\" failed ({why}) while reading upstream"));
    }
}

/// A body that is copied while it passes.
struct Copied {
    source: Option<Box<dyn Source>>,
    /// `None` once the body is over or broken.
    copy: Option<Replica>,
}

impl Source for Copied {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        let Some(source) = &mut self.source else { return Poll::Ready(Ok(None)) };
        let next = source.poll_next(cx);
        match &next {
            Poll::Ready(Ok(Some(piece))) => {
                if let Some(copy) = &mut self.copy {
                    copy.write(piece);
                }
            }
            Poll::Ready(Ok(None)) => {
                if let Some(mut copy) = self.copy.take() {
                    copy.finish();
                }
            }
            Poll::Ready(Err(_)) => self.copy = None,
            Poll::Pending => {}
        }
        next
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Some(source) = &mut self.source {
            source.poll_ahead(cx);
        }
    }

    fn len(&self) -> Option<u64> {
        self.source.as_ref().and_then(|it| it.len())
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.source.as_mut()?.trailers()
    }
}

impl Drop for Copied {
    /// The client went away: the copy is finished without it.
    fn drop(&mut self) {
        if let (Some(mut source), Some(mut copy)) = (self.source.take(), self.copy.take())
            && runtime::is_running()
        {
            runtime::spawn(async move {
                loop {
                    match next(&mut *source).await {
                        Ok(Some(piece)) => copy.write(&piece),
                        Ok(None) => return copy.finish(),
                        Err(_) => return,
                    }
                }
            })
            .detach();
        }
    }
}
