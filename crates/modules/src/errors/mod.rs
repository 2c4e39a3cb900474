//! `error_page`: answers an error with another page.

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Method, Reply, Scope, Stop, Template};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    pages: Option<Vec<PageOption>>,
    recursive: Option<bool>,
}

#[derive(Clone)]
pub struct PageOption {
    status: u16,
    answer: Answer,
    to: Word,
}

/// What the answer's status becomes.
#[derive(Clone, Copy)]
enum Answer {
    /// It stays the error's.
    AsError,
    /// `=`: whatever the page says.
    AsPage,
    /// `=code`
    Status(u16),
}

pub struct Settings {
    pages: Box<[Page]>,
    /// `recursive_error_pages`: an error of a page may have a page too.
    recursive: bool,
}

struct Page {
    status: u16,
    answer: Answer,
    to: Template,
    /// Where the page is written with variables, a `?` in its value begins the query string.
    varies: bool,
}

const STATUS_MIN: u16 = 300;
const STATUS_MAX: u16 = 599;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("error_page", Scope::ANY_HTTP_IF, Args::AtLeast(2), error_page, inherit),
        Directive::flag("recursive_error_pages", Scope::ANY_HTTP, |o| &mut o.recursive),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(pages) = options.pages else { return Ok(None) };
        let pages = pages.into_iter().map(|it| {
            let to = cx.template(&it.to)?;
            let varies = to.as_constant().is_none();
            Ok(Page { status: it.status, answer: it.answer, to, varies })
        });
        let pages = pages.collect::<Result<_, Error>>()?;
        Ok(Some(Settings { pages, recursive: options.recursive.unwrap_or(false) }))
    }
}

impl Settings {
    /// Whether an error of this status has a page, so that an upstream's answer may be taken in for it.
    pub fn has(&self, status: u16) -> bool {
        self.pages.iter().any(|it| it.status == status)
    }
}

/// After the phases: where an error has a page, what to do instead of the reply. `None` leaves the reply.
pub fn page(on: &Settings, ex: &mut Exchange, reply: &Reply) -> Option<Stop> {
    if ex.error_page || ex.redirects_left == 0 {
        return None;
    }
    let page = on.pages.iter().find(|it| it.status == reply.status)?;
    ex.error_page = !on.recursive;
    ex.status_override = match page.answer {
        Answer::AsError => Some(reply.status),
        Answer::AsPage => None,
        Answer::Status(status) => Some(status),
    };
    let to = page.to.fill_new(ex);
    if let Some(name) = to.strip_prefix(b"@") {
        return Some(Stop::Named(name.into()));
    }
    if !to.starts_with(b"/") {
        return Some(elsewhere(page, ex, &to));
    }
    if ex.method != Method::Head {
        ex.method = Method::Get;
        ex.method_name = b"GET".to_vec();
    }
    let (uri, args) = match to.iter().position(|b| *b == b'?') {
        Some(at) if page.varies || at > 0 => (to[..at].to_vec(), to[at + 1..].to_vec()),
        _ => (to, Vec::new()),
    };
    Some(Stop::Redirect { uri, args })
}

/// A page that is a URL: the client is sent there.
fn elsewhere(page: &Page, ex: &mut Exchange, to: &[u8]) -> Stop {
    ex.status_override = None;
    let status = match page.answer {
        Answer::Status(status @ (301 | 302 | 303 | 307 | 308)) => status,
        _ => 302,
    };
    let mut reply = Reply::status(status);
    reply.fields.push(b"Location", to);
    ex.error_page = true;
    reply.into()
}

fn error_page(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let (to, rest) = node.args.split_last().ok_or_else(|| Error::arity(node))?;
    let mut answer = Answer::AsError;
    let mut statuses = rest;
    if let Some((last, before)) = rest.split_last()
        && let Some(code) = last.text.strip_prefix('=')
    {
        statuses = before;
        answer = match code {
            "" => Answer::AsPage,
            _ => Answer::Status(code.parse().map_err(|_| invalid(last))?),
        };
    }
    if statuses.is_empty() {
        return Err(invalid(rest.last().unwrap_or(to)));
    }
    for word in statuses {
        let status: u16 = word.text.parse().map_err(|_| invalid(word))?;
        if status == 499 || !(STATUS_MIN..=STATUS_MAX).contains(&status) {
            let what = format!("value \"{word}\" must be between {STATUS_MIN} and {STATUS_MAX}");
            return Err(Error::at(word.span, what));
        }
        let page = PageOption { status, answer, to: to.clone() };
        o.pages.get_or_insert_default().push(page);
    }
    Ok(())
}

fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid value \"{word}\""))
        .advise("error_page takes one or more statuses, then the page: error_page 404 /404.html;")
}

fn inherit(o: &mut Options, outer: &Options) {
    if o.pages.is_none() {
        o.pages.clone_from(&outer.pages);
    }
}
