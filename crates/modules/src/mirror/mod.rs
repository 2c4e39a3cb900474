//! `mirror`: the request once more to other places, whose answers nobody waits for.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, RequestBody, Scope, Stop, duplicate, serve_apart,
};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// `Some(None)`: `mirror off`.
    uris: Option<Option<Vec<Word>>>,
    request_body: Option<bool>,
}

pub struct Settings {
    uris: Box<[Box<[u8]>]>,
    request_body: bool,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("mirror", Scope::ANY_HTTP, Args::Exactly(1), mirror, |o, outer| {
            if o.uris.is_none() {
                o.uris.clone_from(&outer.uris);
            }
        }),
        Directive::flag("mirror_request_body", Scope::ANY_HTTP, |o| &mut o.request_body),
    ];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(Some(uris)) = options.uris else { return Ok(None) };
        let uris = uris.iter().map(|it| it.bytes().into()).collect();
        Ok(Some(Settings { uris, request_body: options.request_body.unwrap_or(true) }))
    }
}

/// Precontent phase: reads the body, if it is to be mirrored, and sends the mirrors on their way.
pub async fn run(on: &Settings, ex: &mut Exchange) -> Flow {
    if ex.subrequest_depth > 0 {
        return Continue(());
    }
    if on.request_body
        && let Err(error) = ex.read_body().await
    {
        return Break(Stop::status(error.status()));
    }
    let args = ex.args.clone();
    for uri in &on.uris {
        let mut child = ex.child(uri, &args);
        child.method = ex.method;
        child.method_name.clone_from(&ex.method_name);
        child.header_only = true;
        if !on.request_body {
            child.body = RequestBody::default();
        }
        serve_apart(child);
    }
    Continue(())
}

fn mirror(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let uri = &node.args[0];
    match &mut o.uris {
        Some(_) if uri.text == "off" => return Err(duplicate(node)),
        Some(None) => return Err(duplicate(node)),
        None if uri.text == "off" => o.uris = Some(None),
        None => o.uris = Some(Some(vec![uri.clone()])),
        Some(Some(uris)) => uris.push(uri.clone()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use foregate_core::{Exchange, Reply};

    use crate::testing::{Site, error};

    thread_local! {
        static SEEN: RefCell<Vec<String>> = RefCell::default();
    }

    fn serve(ex: &mut Exchange) -> Option<Reply> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let body = ex.body.memory.as_deref().map(text).unwrap_or_default();
        let seen = format!("{} {}?{} {body}", text(&ex.method_name), text(&ex.uri), text(&ex.args));
        SEEN.with_borrow_mut(|it| it.push(seen));
        None
    }

    /// What the mirrors see of a request.
    fn check(conf: &str) -> Vec<String> {
        let conf = conf.to_owned();
        foregate_net::runtime::run(async move {
            let site = Site::serving(&conf, serve);
            let mut ex = site.exchange("POST /x?a=b HTTP/1.1\nHost: h\nContent-Length: 4\n\nbody");
            ex.body.memory = None;
            assert!(super::run(site.settings().mirror.as_ref().unwrap(), &mut ex).await.is_continue());
            for _ in 0..4 {
                foregate_net::runtime::yield_now().await;
            }
            SEEN.take()
        })
        .unwrap()
    }

    #[test]
    fn mirrors_see_the_request() {
        assert_eq!(check("mirror /m;"), ["POST /m?a=b body"]);
        assert_eq!(check("mirror /m; mirror /n; mirror_request_body off;"), ["POST /m?a=b ", "POST /n?a=b "]);
        assert!(Site::new("mirror /m; server { mirror off; }").settings().mirror.is_none());
    }

    #[test]
    fn errors_are_nginx_s() {
        for conf in ["mirror off; mirror off;", "mirror off; mirror /m;", "mirror /m; mirror off;"] {
            assert_eq!(error(conf), "\"mirror\" directive is duplicate", "{conf}");
        }
    }
}
