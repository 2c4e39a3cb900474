//! `add_before_body`, `add_after_body`: what other locations answer, around the body of this one.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Body, BodyError, Compile, Directive, Entry, Exchange, Reply, Running, Scope, Source, Types,
};
use foregate_wire::{Buf, Fields};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    before: Option<Word>,
    after: Option<Word>,
    types: Option<Types>,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

pub struct Settings {
    /// URIs; empty for none.
    before: Box<[u8]>,
    after: Box<[u8]>,
    types: Types,
}

/// Types that are added to, whatever `addition_types` says.
const TYPES: [&str; 1] = ["text/html"];

/// Whether an answer is one to add to.
pub fn fits(on: &Settings, ex: &Exchange, reply: &Reply) -> bool {
    reply.status == 200 && ex.subrequest_depth == 0 && on.types.fit(&reply.fields)
}

/// Header and body filter. The answer [`fits`].
pub fn filter(on: &Settings, ex: &mut Exchange, reply: &mut Reply) {
    reply.body_changes();
    reply.weaken_etag();
    if ex.header_only {
        return;
    }
    let before = child(&on.before, ex).and_then(|it| Running::start(it, Entry::Server)).map(Piece::Running);
    let after = child(&on.after, ex).map(|it| Piece::Later(Some(Box::new(it))));
    let main = Piece::Body(std::mem::take(&mut reply.body).into_source());
    let pieces = before.into_iter().chain([main]).chain(after).collect();
    reply.body = Body::Source(Box::new(Chain { pieces, trailers: None }));
}

fn child(uri: &[u8], ex: &mut Exchange) -> Option<Exchange> {
    (!uri.is_empty()).then(|| ex.child(uri, b""))
}

/// What is behind one another in the answer.
struct Chain {
    pieces: VecDeque<Piece>,
    /// Of those that have ended.
    trailers: Option<Fields>,
}

enum Piece {
    /// A request that is made when its turn comes: after the body, so that it knows what the body has set.
    Later(Option<Box<Exchange>>),
    Running(Running),
    Body(Box<dyn Source>),
}

impl Piece {
    /// The body, once the request has been answered. `None`: there is none.
    fn body(&mut self, cx: &mut Context<'_>) -> Poll<Option<&mut dyn Source>> {
        if let Self::Later(child) = self
            && let Some(running) = child.take().and_then(|it| Running::start(*it, Entry::Server))
        {
            *self = Self::Running(running);
        }
        if let Self::Running(running) = self {
            *self = Self::Body(ready!(running.poll(cx)).into_source());
        }
        match self {
            Self::Body(body) => Poll::Ready(Some(&mut **body)),
            _ => Poll::Ready(None),
        }
    }
}

impl Source for Chain {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        while let Some(piece) = self.pieces.front_mut() {
            if let Some(body) = ready!(piece.body(cx)) {
                match body.poll_next(cx) {
                    Poll::Ready(Ok(None)) => self.trailers = body.trailers().or(self.trailers.take()),
                    other => return other,
                }
            }
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(None))
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Some(Piece::Body(body)) = self.pieces.front_mut() {
            body.poll_ahead(cx);
        }
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::text("add_before_body", Scope::ANY_HTTP, |o| &mut o.before),
        Directive::text("add_after_body", Scope::ANY_HTTP, |o| &mut o.after),
        Directive::own("addition_types", Scope::ANY_HTTP, Args::AtLeast(1), types, |o, outer| {
            o.types = o.types.take().or_else(|| outer.types.clone());
        }),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        let uri = |word: Option<Word>| word.map_or_else(Box::default, |it| it.bytes().into());
        let (before, after): (Box<[u8]>, Box<[u8]>) = (uri(options.before), uri(options.after));
        if before.is_empty() && after.is_empty() {
            return Ok(None);
        }
        let types = options.types.unwrap_or_else(|| Types::of(&TYPES));
        Ok(Some(Settings { before, after, types }))
    }
}

fn types(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    Types::read(&mut o.types, &TYPES, node, &mut o.warnings);
    Ok(())
}

#[cfg(test)]
mod tests {
    use foregate_core::{Exchange, Reply, next};
    use foregate_wire::Buf;

    use crate::testing::Site;

    /// Answers with the URI itself; `/none` with nothing.
    fn echo(ex: &mut Exchange) -> Option<Reply> {
        (ex.uri != b"/none").then(|| Reply::bytes(200, b"", Buf::copy_from(&ex.uri)))
    }

    fn check(conf: &str, status: u16) -> String {
        let conf = conf.to_owned();
        foregate_net::runtime::run(async move {
            let site = Site::serving(&conf, echo);
            let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
            let mut reply = Reply::bytes(status, b"text/html", Buf::from(" body "));
            if let Some(on) = site.settings().addition.as_ref().filter(|it| super::fits(it, &ex, &reply)) {
                super::filter(on, &mut ex, &mut reply);
            }
            let (mut source, mut all) = (reply.body.into_source(), Vec::new());
            while let Some(bytes) = next(&mut *source).await.unwrap() {
                all.extend_from_slice(&bytes);
            }
            String::from_utf8(all).unwrap()
        })
        .unwrap()
    }

    #[test]
    fn answers_of_others_stand_around_the_body() {
        assert_eq!(check("add_before_body /a; add_after_body /b;", 200), "/a body /b");
        assert_eq!(check("add_before_body /a; server { add_after_body /b; }", 200), "/a body /b");
        assert_eq!(check("add_before_body /a; server { add_before_body ''; }", 200), " body ");
        assert_eq!(check("add_before_body /a;", 404), " body ");
        assert_eq!(check("add_before_body /none; add_after_body /b; addition_types a/b;", 200), " body /b");
        assert!(!Site::new("add_after_body /b;").settings().addition.as_ref().unwrap().types.fit(&Default::default()));
    }
}
