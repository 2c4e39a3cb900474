//! `auth_oidc`: people log in at an identity provider (OpenID Connect), and the application learns who they are.
//!
//! The directives are those of NGINX Plus. A session lies in cookies of the visitor's, encrypted: nothing is kept here,
//! any number of instances with one `client_secret` know each other's visitors, and a restart logs nobody out.

mod cookies;
mod login;
mod metadata;
mod provider;
mod session;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
mod variables;

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, Level, Method, Prefix, Reply, Scope, Stop, Variable, duplicate, log,
};
use foregate_upstream::{CommonResolver, Resolvers};

use cookies::Fresh;
use provider::{Provider, Providers};
use session::{Current, Session};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    providers: Vec<Node>,
    name: Option<Word>,
}

pub struct Settings {
    provider: Arc<Provider>,
    resolvers: Option<Arc<Resolvers>>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::block("oidc_provider", Scope::HTTP, Args::Exactly(1), read_provider, |_, _| ()),
        Directive::own("auth_oidc", Scope::ANY_HTTP, Args::Exactly(1), read_name, |o, outer| {
            o.name = o.name.take().or_else(|| outer.name.clone());
        }),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("oidc_id_token", variables::id_token),
        Variable::new("oidc_access_token", variables::access_token),
        Variable::new("oidc_userinfo", variables::userinfo),
    ];

    const PREFIXES: &'static [Prefix] = &[Prefix { name: "oidc_claim_", get: variables::claim }];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for node in &options.providers {
            let provider = provider::compile(node, cx)?;
            cx.shared.get_or_default::<Providers>().0.insert(node.args[0].text.clone(), Arc::new(provider));
        }
        Ok(())
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(name) = options.name.filter(|it| *it != "off") else { return Ok(None) };
        let provider = cx.shared.get_or_default::<Providers>().0.get(&name.text).cloned();
        let provider = provider.ok_or_else(|| {
            Error::at(name.span, format!("unknown OpenID Connect provider \"{name}\""))
                .advise(format!("write oidc_provider {name} {{ ... }} in the http block"))
        })?;
        let resolvers = cx.shared.get::<CommonResolver>().and_then(|it| it.0.clone());
        Ok(Some(Settings { provider, resolvers }))
    }
}

fn read_provider(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let name = &node.args[0];
    if *name == "off" || o.providers.iter().any(|it| it.args[0].text == name.text) {
        return Err(Error::at(name.span, format!("duplicate OpenID Connect provider \"{name}\"")));
    }
    o.providers.push(node.clone());
    Ok(())
}

fn read_name(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.name.is_some() {
        return Err(duplicate(node));
    }
    o.name = Some(node.args[0].clone());
    Ok(())
}

/// Access phase. `true`: the visitor is logged in; else he is sent to log in.
pub async fn check(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    let provider = &*on.provider;
    let here = |path: &Option<Box<str>>| path.as_ref().is_some_and(|it| it.as_bytes() == ex.uri);
    if ex.uri == provider.redirect.path.as_bytes() {
        return login::complete(on, ex).await;
    }
    if here(&provider.logout) {
        return login::out(on, ex).await;
    }
    if here(&provider.front_logout) {
        return login::out_by_provider(provider, ex);
    }
    if let Some(session) = Session::read(provider, ex)
        && let Some(session) = session::keep_fresh(on, ex, session).await
    {
        ex.notes.put(Current(session.into()));
        return Continue(true);
    }
    if !matches!(ex.method, Method::Get | Method::Head) {
        // What it carries would be lost on the way, and scripts do not follow to another's pages.
        log!(ex, Level::Info, "nobody is logged in at \"{}\", and only GET is sent there", provider.name);
        return Break(Stop::status(401));
    }
    login::begin(on, ex).await
}

/// Header filter: the cookies of a session that goes on.
pub fn filter(ex: &mut Exchange, reply: &mut Reply) {
    if let Some(Fresh(cookies)) = ex.notes.take() {
        cookies.iter().for_each(|it| reply.fields.push(b"Set-Cookie", it.as_bytes()));
    }
}
