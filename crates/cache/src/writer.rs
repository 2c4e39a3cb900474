//! Writing an object: into a file that nobody sees, which takes its place when it is whole.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use foregate_core::{Level, Reporter, TempDir, TempFile};
use foregate_net::sys::errno_text;
use foregate_wire::Fields;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::coming::Coming;
use crate::header::{Header, Life, Parts, seal};
use crate::hold::Hold;
use crate::key::Key;
use crate::rfc;
use crate::told::Status;
use crate::zone::{Zone, now_s};

/// As nginx: nobody else looks into the cache.
const FOLDER_MODE: u32 = 0o700;

/// What is known of an answer before its body.
pub struct Draft<'a> {
    /// The key's text.
    pub text: &'a [u8],
    pub main: Key,
    /// What the answer's `Vary` names, and the request's fields that it looks at.
    pub vary: &'a [u8],
    pub fields: &'a Fields,
    /// Requests are told apart as RFC 9111 does it.
    pub by_rfc: bool,
    pub status: u16,
    /// Why it was fetched.
    pub told: Status,
    pub life: Life,
    /// When the upstream was asked, by [`Zone::stamp`].
    pub asked_us: u64,
    pub modified_s: Option<i64>,
    pub etag: &'a [u8],
    /// The answer's head as received.
    pub head: &'a [u8],
}

/// An object on its way into its file. Dropped before it is finished, it leaves nothing.
pub struct Writer {
    hold: Hold,
    /// `None` once it has taken its place.
    temp: Option<TempFile>,
    place: PathBuf,
    header: Vec<u8>,
    body_bytes: u64,
    told: Status,
    /// The end of the body can be told from its breaking off, so that others may follow.
    shared: bool,
    /// Others are served from the file meanwhile.
    coming: Option<Arc<Coming>>,
}

impl Writer {
    /// `None`: it cannot be kept, which has been logged if it is the disk's fault.
    pub fn begin(
        zone: &Zone,
        hold: Hold,
        draft: &Draft<'_>,
        temp: &TempDir,
        reporter: &Reporter,
    ) -> Option<Self> {
        let variant = match draft.vary {
            [] => None,
            vary if draft.by_rfc => Some(rfc::variant(draft.main, vary, draft.fields)),
            vary => Some(Key::variant(draft.main, vary, draft.fields)),
        };
        // A file of another representation is found by way of the main one's `Vary`. Where this answer's differs from
        // what led here, it becomes the main one.
        let key = if variant == Some(hold.key) { hold.key } else { draft.main };
        let hold = if key == hold.key { hold } else { hold.moved(key, now_s(), zone.inactive_s()) };
        let parts = Parts {
            life: draft.life,
            created_us: draft.asked_us,
            modified_s: draft.modified_s,
            main: draft.main,
            key,
            variant: variant.unwrap_or(draft.main),
            status: draft.status,
            text: draft.text,
            vary: draft.vary,
            etag: draft.etag,
            head: draft.head,
        };
        let header = parts.encode()?;
        let place = key.path(&zone.state.path, &zone.state.levels);
        let file = match zone.spec.use_temp_path {
            true => TempFile::create(temp),
            false => create_beside(&place),
        };
        match file {
            Ok(file) => Some(Self {
                hold,
                temp: Some(file),
                place,
                header,
                body_bytes: 0,
                told: draft.told,
                shared: false,
                coming: None,
            }),
            Err(error) => {
                complain(&hold, reporter, "open()", &place, &error);
                None
            }
        }
    }

    /// The body says itself where it ends: it may be served to others while it comes. One that ends with its connection
    /// may not, for whether it was whole is known at its end.
    pub fn share(&mut self) {
        self.shared = true;
    }

    /// Sees to it that the disk has room for a body of this length. `false`: it has none, which has been logged; nobody
    /// has been promised anything yet.
    pub(crate) fn reserve(&self, length: Option<u64>, reporter: &Reporter) -> bool {
        let Some((temp, length)) = self.temp.as_ref().zip(length.filter(|it| *it > 0)) else { return true };
        let (start, flags) = (self.header.len() as u64, FallocateFlags::KEEP_SIZE);
        match fallocate(&*temp.file, flags, start, length) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO | Errno::ROFS)) => {
                complain(&self.hold, reporter, "fallocate()", temp.path(), &error.into());
                false
            }
            // Not every file system can.
            _ => true,
        }
    }

    /// Lets those who wait for the object be served while it comes. `length`: what is announced of its body.
    pub(crate) fn publish(&mut self, length: Option<u64>) {
        let Some(temp) = self.temp.as_ref().filter(|_| self.shared && self.hold.is_right()) else { return };
        let Some(header) = Header::unsealed(&self.header) else { return };
        let coming = Arc::new(Coming::new(header, self.header.clone(), temp.file.clone(), length));
        self.hold.state.index.publish(self.hold.key, coming.clone());
        self.coming = Some(coming);
    }

    /// Appends to the body.
    ///
    /// # Errors
    /// The disk is full or broken. Nothing will be kept; it has been logged.
    pub(crate) fn write(&mut self, bytes: &[u8], reporter: &Reporter) -> Result<(), ()> {
        let Some(temp) = &self.temp else { return Err(()) };
        let written = temp.file.write_all_at(bytes, self.header.len() as u64 + self.body_bytes);
        written.map_err(|error| complain(&self.hold, reporter, "pwrite()", temp.path(), &error))?;
        self.body_bytes += bytes.len() as u64;
        if let Some(coming) = &self.coming {
            coming.written(self.body_bytes);
        }
        Ok(())
    }

    /// The body is whole: the file takes its place. A failure has been logged.
    pub fn finish(mut self, reporter: &Reporter) {
        seal(&mut self.header, self.body_bytes);
        self.settle(&[], reporter);
    }

    /// As `finish`, with a body that is all at hand.
    pub fn finish_with(mut self, body: &[u8], reporter: &Reporter) {
        self.body_bytes = body.len() as u64;
        seal(&mut self.header, self.body_bytes);
        self.settle(body, reporter);
    }

    /// The file, and where in it the next bytes of the body go.
    pub(crate) fn end(&self) -> Option<(Arc<File>, u64)> {
        let temp = self.temp.as_ref()?;
        Some((temp.file.clone(), self.header.len() as u64 + self.body_bytes))
    }

    fn settle(&mut self, body: &[u8], reporter: &Reporter) {
        let Some(mut temp) = self.temp.take() else { return };
        self.header.extend_from_slice(body);
        let length = self.header.len() as u64 - body.len() as u64 + self.body_bytes;
        let done = temp.file.write_all_at(&self.header, 0).and_then(|()| put(temp.path(), &self.place));
        match done {
            Ok(renamed) => {
                if renamed {
                    temp.keep();
                }
                self.hold.state.stats.written(self.told, self.body_bytes);
                self.hold.stored(length);
                if let Some(coming) = &self.coming {
                    coming.end(true);
                }
            }
            Err(error) => complain(&self.hold, reporter, "rename()", &self.place, &error),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.hold.state.index.withdraw(self.hold.key, &coming);
            // Where it was stored, its end has been told.
            coming.end(false);
        }
    }
}

/// Moves a file to its place. `false`: it was copied from another file system.
fn put(from: &Path, place: &Path) -> io::Result<bool> {
    let folder = place.parent().unwrap_or(place);
    let renamed = match fs::rename(from, place) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
            fs::rename(from, place)
        }
        renamed => renamed,
    };
    match renamed {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            // Beside the place first, so that nobody sees half of it.
            DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
            let mut beside = create_beside(place)?;
            io::copy(&mut File::open(from)?, &mut &*beside.file)?;
            fs::rename(beside.path(), place)?;
            beside.keep();
            Ok(false)
        }
        renamed => renamed.map(|()| true),
    }
}

/// Names of half-written files that are tried before giving up: a worker before us may have left some.
const TRIES_MAX: u32 = 100;

/// A file beside its place: the name, a dot and ten digits, as nginx has it.
fn create_beside(place: &Path) -> io::Result<TempFile> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut tries = 0;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut name = place.to_path_buf().into_os_string();
        name.push(format!(".{number:010}"));
        match TempFile::create_at(name.into()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES_MAX => tries += 1,
            done => return done,
        }
    }
}

fn complain(hold: &Hold, reporter: &Reporter, call: &str, path: &Path, error: &io::Error) {
    if hold.state.may_complain() {
        let (path, why) = (path.display(), errno_text(error));
        reporter.log(Level::Crit, format_args!("{call} \"{path}\" failed ({why}) while reading upstream"));
    }
}
