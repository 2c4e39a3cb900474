//! What a block writes about asking upstreams, whatever the protocol: `proxy_…`, `fastcgi_…` and their kin.
//!
//! A module of such a protocol keeps a [`Draft`] among its options, takes the directives for it from
//! [`directives!`](crate::directives) and compiles it into [`Rules`].

pub mod cache;
pub mod checks;
pub mod read;
mod table;

use std::time::Duration;

use foregate_conf::{Error, Word, value};
use foregate_core::{Compile, FILE_ACCESS, TempPath, TransparentBinds};

use crate::connect::Bind;
use crate::fields::{Hidden, Ignored};
use crate::rules::{Conditions, Rules, bind_address};
use crate::store::Store;

/// Directives that all protocols share, as written in one block: every field may be unset.
#[derive(Clone, Default)]
pub struct Draft {
    pub buffering: Option<bool>,
    pub request_buffering: Option<bool>,
    pub pass_request_headers: Option<bool>,
    pub pass_request_body: Option<bool>,
    pub ignore_client_abort: Option<bool>,
    pub intercept_errors: Option<bool>,
    pub force_ranges: Option<bool>,
    pub buffer_size: Option<u64>,
    /// How many, and the bytes of each.
    pub buffers: Option<(u64, u64)>,
    pub busy_buffers_size: Option<u64>,
    pub limit_rate: Option<Word>,
    pub temp_path: Option<TempPath>,
    pub max_temp_file_size: Option<u64>,
    pub temp_file_write_size: Option<u64>,

    /// An address and whether it is `transparent`; `None` inside: `off`.
    pub bind: Option<Option<(Word, bool)>>,
    pub socket_keepalive: Option<bool>,
    pub recv_buffer: Option<u64>,
    pub send_buffer: Option<u64>,
    pub send_lowat: Option<u64>,
    pub connect_timeout: Option<Duration>,
    pub send_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,

    pub next: Option<Conditions>,
    pub next_tries: Option<u64>,
    pub next_timeout: Option<Duration>,

    /// `None` inside: `off`.
    pub store: Option<Option<Word>>,
    pub store_access: Option<u32>,

    pub pass_header: Option<Vec<String>>,
    pub hide_header: Option<Vec<String>>,
    pub ignored: Option<Ignored>,
}

/// What tells one protocol's directives from another's.
pub struct Family {
    /// What their names begin with, and that of the folder for temporary files: `proxy`.
    pub name: &'static str,
    /// What stays behind of an answer unless `…_pass_header` names it.
    pub hidden: &'static [&'static str],
}

/// nginx's defaults, bytes and counts.
const BUFFER_SIZE: u64 = 4 << 10;
const BUFFERS: (u64, u64) = (8, 4 << 10);
const TEMP_FILE_MAX: u64 = 1 << 30;
const TIMEOUT: Duration = Duration::from_secs(60);

impl Draft {
    /// What requests read. `sizes` is what [`Draft::sizes`] has found good.
    ///
    /// # Errors
    /// A value that cannot be compiled.
    pub fn compile(&self, family: &Family, sizes: &Sizes, cx: &mut Compile<'_>) -> Result<Rules, Error> {
        let pass = self.pass_header.as_deref().unwrap_or_default();
        let hide = self.hide_header.as_deref().unwrap_or_default();
        let timeout = |it: Option<Duration>| it.unwrap_or(TIMEOUT);
        let bytes = |it: Option<u64>| it.filter(|it| *it > 0).map(|it| it as usize);
        Ok(Rules {
            id: Rules::next_id(),
            connect_timeout: timeout(self.connect_timeout),
            send_timeout: timeout(self.send_timeout),
            read_timeout: timeout(self.read_timeout),
            bind: self.bind(cx)?,
            socket_keepalive: self.socket_keepalive.unwrap_or(false),
            recv_buffer: bytes(self.recv_buffer),
            send_buffer: bytes(self.send_buffer),
            next: self.next.unwrap_or(Conditions::ERROR.and(Conditions::TIMEOUT)),
            next_tries: self.next_tries.unwrap_or(0).min(u64::from(u32::MAX)) as u32,
            next_timeout: self.next_timeout.unwrap_or_default(),
            request_buffering: self.request_buffering.unwrap_or(true),
            pass_request_body: self.pass_request_body.unwrap_or(true),
            // What is stored is worth having even if nobody waits for it any more.
            ignore_client_abort: self.ignore_client_abort.unwrap_or(false)
                || matches!(self.store, Some(Some(_))),
            head_max: sizes.head as usize,
            buffering: self.buffering.unwrap_or(true),
            ahead_max: sizes.ahead as usize,
            file_max: sizes.file,
            temp: TempPath::resolve(self.temp_path.as_ref(), &format!("{}_temp", family.name), &[1, 2], cx),
            limit_rate: self.limit_rate(family, cx)?,
            store: self.store(cx)?,
            hidden: Hidden::new(family.hidden, hide, pass),
            ignored: self.ignored.unwrap_or_default(),
            intercept_errors: self.intercept_errors.unwrap_or(false),
            force_ranges: self.force_ranges.unwrap_or(false),
            pass_trailers: false,
            early_hints: Vec::new(),
        })
    }

    /// The same where nothing is buffered but the head, so that no other size can be wrong.
    #[must_use]
    pub fn unbuffered(&self) -> Self {
        let size = self.buffer_size.unwrap_or(BUFFER_SIZE);
        Self { buffers: Some((BUFFERS.0, size)), max_temp_file_size: Some(0), ..self.clone() }
    }

    /// The same for health checks, which keep nothing and have nobody to wait for them.
    #[must_use]
    pub fn for_checks(&self) -> Self {
        let (buffering, ignore_client_abort) = (Some(true), Some(true));
        Self { store: None, limit_rate: None, buffering, ignore_client_abort, ..self.clone() }
    }

    fn limit_rate(
        &self,
        family: &Family,
        cx: &mut Compile<'_>,
    ) -> Result<Option<foregate_core::Template>, Error> {
        let Some(word) = &self.limit_rate else { return Ok(None) };
        if !word.contains('$') && value::size(word).is_none() {
            let what = format!("\"{}_limit_rate\" directive invalid value", family.name);
            return Err(Error::at(word.span, what));
        }
        cx.template(word).map(Some)
    }

    /// `on` stores under the name that the request itself would be read from.
    fn store(&self, cx: &mut Compile<'_>) -> Result<Option<Store>, Error> {
        const OWN_NAME: &[u8] = b"$request_filename";
        let Some(Some(word)) = &self.store else { return Ok(None) };
        let path = match *word == "on" {
            true => cx.template(&Word::new(OWN_NAME.to_vec(), word.span, false))?,
            false => cx.template(word)?,
        };
        Ok(Some(Store { path, access: self.store_access.unwrap_or(FILE_ACCESS) }))
    }

    fn bind(&self, cx: &mut Compile<'_>) -> Result<Option<Bind>, Error> {
        let Some(Some((word, transparent))) = &self.bind else { return Ok(None) };
        let transparent = *transparent;
        if transparent {
            cx.shared.get_or_default::<TransparentBinds>();
        }
        Ok(Some(match bind_address(word) {
            Some(addr) => Bind::To { addr, transparent },
            None => Bind::By { value: cx.template(word)?, transparent },
        }))
    }

    /// Checks the sizes that depend on each other, as nginx does at every level.
    ///
    /// # Errors
    /// Without a place, as nginx, which finds out at the end of the block.
    pub fn sizes(&self, family: &Family) -> Result<Sizes, Error> {
        let of = family.name;
        let head = self.buffer_size.unwrap_or(BUFFER_SIZE);
        let (n, size) = self.buffers.unwrap_or(BUFFERS);
        let largest = head.max(size);
        let busy = self.busy_buffers_size.unwrap_or(2 * largest);
        let file = self.max_temp_file_size.unwrap_or(TEMP_FILE_MAX);
        let at_least = format!(
            "equal to or greater than the maximum of the value of \"{of}_buffer_size\" and one of the \
             \"{of}_buffers\""
        );
        let what = match () {
            () if n < 2 => format!("there must be at least 2 \"{of}_buffers\""),
            () if busy < largest => format!("\"{of}_busy_buffers_size\" must be {at_least}"),
            () if busy > (n - 1) * size => format!(
                "\"{of}_busy_buffers_size\" must be less than the size of all \"{of}_buffers\" minus one buffer"
            ),
            () if self.temp_file_write_size.is_some_and(|it| it < largest) => {
                format!("\"{of}_temp_file_write_size\" must be {at_least}")
            }
            () if file != 0 && file < largest => format!(
                "\"{of}_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be \
                 {at_least}"
            ),
            () => return Ok(Sizes { head, ahead: n * size, file }),
        };
        Err(Error::plain(what))
    }
}

/// Bytes that are good together.
pub struct Sizes {
    head: u64,
    ahead: u64,
    file: u64,
}
