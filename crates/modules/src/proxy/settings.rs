//! What requests read: `proxy_…` inherited, checked and compiled.

use std::time::Duration;

use foregate_conf::{Error, Span, Word, value};
use foregate_core::{Compile, FILE_ACCESS, TempPath, Template, TransparentBinds};
use foregate_upstream::{Bind, Conditions, Hidden, Rules, Store, bind_address};

use super::cookies::Cookies;
use super::headers::Headers;
use super::options::Options;
use super::pass::{Pass, prefix};
use super::rewrites::Redirects;
use super::ssl::Tls;

pub struct Settings {
    pub(super) rules: Rules,
    pub(super) pass: Pass,
    pub(super) headers: Headers,
    pub(super) method: Option<Template>,
    /// `proxy_set_body`.
    pub(super) body: Option<Template>,
    pub(super) is_http_10: bool,
    pub(super) redirects: Redirects,
    pub(super) cookies: Option<Cookies>,
    pub(super) tls: Option<Tls>,
    /// What the URI of `proxy_pass` takes the place of.
    pub(super) location: Box<[u8]>,
}

/// nginx's defaults, bytes and counts.
const BUFFER_SIZE: u64 = 4 << 10;
const BUFFERS: (u64, u64) = (8, 4 << 10);
const TEMP_FILE_MAX: u64 = 1 << 30;
const TIMEOUT: Duration = Duration::from_secs(60);

/// What stays behind unless `proxy_pass_header` names it.
const HIDDEN: [&str; 8] = [
    "Date",
    "Server",
    "X-Pad",
    "X-Accel-Expires",
    "X-Accel-Redirect",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
];

impl Settings {
    /// The location passes requests on, so that a path that lacks only its final slash is sent there.
    pub fn passes(&self) -> bool {
        true
    }

    pub(super) fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Self>, Error> {
        let buffers = Buffers::check(&o)?;
        let Some(draft) = &o.pass else { return Ok(None) };
        let pass = Pass::compile(draft, cx)?;
        let secure = match &pass {
            Pass::To { url, .. } => url.secure,
            Pass::By(_) => true,
        };
        let location = match draft.nameless {
            true => b"".as_slice().into(),
            false => prefix(cx.location.as_ref()).map_or(&b""[..], Word::bytes).into(),
        };
        let template = |word: &Option<Word>, cx: &mut Compile<'_>| word.as_ref().map(|it| cx.template(it)).transpose();
        Ok(Some(Self {
            headers: Headers::compile(o.headers.as_deref(), o.pass_request_headers.unwrap_or(true), cx)?,
            method: template(&o.method, cx)?,
            body: template(&o.body, cx)?,
            is_http_10: o.http_version == Some(0),
            redirects: Redirects::compile(o.redirects.as_deref(), &pass, &draft.url, cx)?,
            cookies: Cookies::compile(&o, cx)?,
            tls: if secure { Some(Tls::compile(&o.ssl, draft.url.span, cx)?) } else { None },
            location,
            rules: rules(&o, &buffers, cx)?,
            pass,
        }))
    }
}

fn rules(o: &Options, buffers: &Buffers, cx: &mut Compile<'_>) -> Result<Rules, Error> {
    let limit_rate = o.limit_rate.as_ref().map(|word| {
        if !word.contains('$') && value::size(word).is_none() {
            return Err(Error::at(word.span, "\"proxy_limit_rate\" directive invalid value"));
        }
        cx.template(word)
    });
    let early_hints = o.early_hints.iter().flatten().map(|word| cx.template(word)).collect::<Result<_, _>>()?;
    let pass = o.pass_header.as_deref().unwrap_or_default();
    let hide = o.hide_header.as_deref().unwrap_or_default();
    Ok(Rules {
        id: Rules::next_id(),
        connect_timeout: o.connect_timeout.unwrap_or(TIMEOUT),
        send_timeout: o.send_timeout.unwrap_or(TIMEOUT),
        read_timeout: o.read_timeout.unwrap_or(TIMEOUT),
        bind: bind(o, cx)?,
        socket_keepalive: o.socket_keepalive.unwrap_or(false),
        recv_buffer: o.recv_buffer.filter(|it| *it > 0).map(|it| it as usize),
        send_buffer: o.send_buffer.filter(|it| *it > 0).map(|it| it as usize),
        next: o.next.unwrap_or(Conditions::ERROR.and(Conditions::TIMEOUT)),
        next_tries: o.next_tries.unwrap_or(0).min(u64::from(u32::MAX)) as u32,
        next_timeout: o.next_timeout.unwrap_or_default(),
        request_buffering: o.request_buffering.unwrap_or(true),
        pass_request_body: o.pass_request_body.unwrap_or(true),
        // What is stored is worth having even if nobody waits for it any more.
        ignore_client_abort: o.ignore_client_abort.unwrap_or(false) || matches!(o.store, Some(Some(_))),
        head_max: buffers.head as usize,
        buffering: o.buffering.unwrap_or(true),
        ahead_max: buffers.ahead as usize,
        file_max: buffers.file,
        temp: TempPath::resolve(o.temp_path.as_ref(), "proxy_temp", &[1, 2], cx),
        limit_rate: limit_rate.transpose()?,
        store: store(o, cx)?,
        hidden: Hidden::new(&HIDDEN, hide, pass),
        ignored: o.ignored.unwrap_or_default(),
        intercept_errors: o.intercept_errors.unwrap_or(false),
        force_ranges: o.force_ranges.unwrap_or(false),
        pass_trailers: o.pass_trailers.unwrap_or(false),
        early_hints,
    })
}

/// `on` stores under the name that the request itself would be read from.
fn store(o: &Options, cx: &mut Compile<'_>) -> Result<Option<Store>, Error> {
    const OWN_NAME: &[u8] = b"$request_filename";
    let Some(Some(word)) = &o.store else { return Ok(None) };
    let path = match *word == "on" {
        true => cx.template(&Word::new(OWN_NAME.to_vec(), word.span, false))?,
        false => cx.template(word)?,
    };
    Ok(Some(Store { path, access: o.store_access.unwrap_or(FILE_ACCESS) }))
}

fn bind(o: &Options, cx: &mut Compile<'_>) -> Result<Option<Bind>, Error> {
    let Some(Some((word, transparent))) = &o.bind else { return Ok(None) };
    let transparent = *transparent;
    if transparent {
        cx.shared.get_or_default::<TransparentBinds>();
    }
    Ok(Some(match bind_address(word) {
        Some(addr) => Bind::To { addr, transparent },
        None => Bind::By { value: cx.template(word)?, transparent },
    }))
}

/// Sizes that depend on each other, checked as nginx checks them at every level.
struct Buffers {
    head: u64,
    ahead: u64,
    file: u64,
}

impl Buffers {
    fn check(o: &Options) -> Result<Self, Error> {
        let head = o.buffer_size.unwrap_or(BUFFER_SIZE);
        let (n, size) = o.buffers.unwrap_or(BUFFERS);
        let largest = head.max(size);
        let busy = o.busy_buffers_size.unwrap_or(2 * largest);
        let file = o.max_temp_file_size.unwrap_or(TEMP_FILE_MAX);
        let fail = |what: &str| {
            let error = Error::at(Span::default(), what);
            Err(Error { span: None, ..error })
        };
        const LARGEST: &str = "the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"";
        if n < 2 {
            return fail("there must be at least 2 \"proxy_buffers\"");
        }
        if busy < largest {
            return fail(&format!("\"proxy_busy_buffers_size\" must be equal to or greater than {LARGEST}"));
        }
        if busy > (n - 1) * size {
            return fail(
                "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer",
            );
        }
        if o.temp_file_write_size.is_some_and(|it| it < largest) {
            return fail(&format!("\"proxy_temp_file_write_size\" must be equal to or greater than {LARGEST}"));
        }
        if file != 0 && file < largest {
            return fail(&format!(
                "\"proxy_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be \
                 equal to or greater than {LARGEST}"
            ));
        }
        Ok(Self { head, ahead: n * size, file })
    }
}
