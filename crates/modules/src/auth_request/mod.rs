//! `auth_request`: lets another location decide.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, Level, Reply, Scope, Stop, Template, Variables, log,
    variable::Target,
};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    uri: Option<Word>,
    sets: Option<Vec<(Word, Word)>>,
}

pub struct Settings {
    /// `None`: `auth_request off`.
    uri: Option<Box<[u8]>>,
    /// Variables that get their values from the subrequest.
    sets: Box<[(Target, Template)]>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::text("auth_request", Scope::ANY_HTTP, |o| &mut o.uri),
        Directive::own("auth_request_set", Scope::ANY_HTTP, Args::Exactly(2), set, |o, outer| {
            if o.sets.is_none() {
                o.sets.clone_from(&outer.sets);
            }
        }),
    ];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        match (node.name.text.as_str(), node.args.first()) {
            ("auth_request_set", Some(name)) => Target::of(name, variables).map(drop),
            _ => Ok(()),
        }
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let uri = options.uri.filter(|it| it.text != "off").map(|it| it.bytes().into());
        if uri.is_none() {
            return Ok(None);
        }
        let set = |(name, value): (Word, Word)| {
            Ok((Target::of(&name, cx.variables)?, cx.template(&value)?))
        };
        let sets = options.sets.unwrap_or_default().into_iter().map(set).collect::<Result<_, Error>>()?;
        Ok(Some(Settings { uri, sets }))
    }
}

/// Access phase: 2xx allows; 401 and 403 refuse; anything else is our own failure.
pub async fn check(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    let Some(uri) = &on.uri else { return Continue(false) };
    let mut fetched = ex.fetch(uri, b"").await;
    let status = fetched.reply.as_ref().map_or(500, |it| it.status);
    if let Some(reply) = &fetched.reply {
        // Variables read the subrequest's answer as if it had been sent.
        fetched.ex.sent.status = status;
        fetched.ex.sent.fields = reply.fields.clone();
    }
    for (target, value) in &on.sets {
        let value = value.fill_new(&mut fetched.ex);
        target.put(ex, value);
    }
    match status {
        200..300 => Continue(true),
        403 => Break(Stop::status(403)),
        401 => {
            let mut refusal = Reply::status(401);
            let challenges = fetched.reply.iter().flat_map(|it| it.fields.get_all(b"WWW-Authenticate"));
            for challenge in challenges {
                refusal.fields.push(b"WWW-Authenticate", challenge);
            }
            Break(refusal.into())
        }
        _ => {
            log!(ex, Level::Error, "auth request unexpected status: {status}");
            Break(Stop::status(500))
        }
    }
}

fn set(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.sets.get_or_insert_default().push((node.args[0].clone(), node.args[1].clone()));
    Ok(())
}
