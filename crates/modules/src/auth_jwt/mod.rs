//! `auth_jwt`: lets in who shows a signed token (RFC 7519), as NGINX Plus does.

mod claims;
mod keys;
mod read;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, Level, Method, Prefix, Reply, Scope, Stop, Template, Variable,
    Variables, log,
};
use foregate_jose::{Keys, Refused, Token};

use claims::Judged;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    /// Realm, and where the token is.
    jwt: Option<(Word, Option<Word>)>,
    key_files: Option<Vec<Word>>,
    key_requests: Option<Vec<Word>>,
    key_cache: Option<Duration>,
    leeway: Option<Duration>,
    kind: Option<Word>,
    require: Option<Vec<read::Require>>,
    claim_sets: Vec<Node>,
    header_sets: Vec<Node>,
}

pub struct Settings {
    /// Tells these settings from all others: what was judged under one is not believed under another.
    id: u64,
    realm: Template,
    /// `None`: it comes as `Authorization: Bearer`.
    token: Option<Template>,
    /// The keys of all files whose names are known.
    keys: Arc<Keys>,
    /// Files whose names depend on the request.
    key_files: Box<[Template]>,
    /// Requests that bring keys.
    key_requests: Box<[keys::Source]>,
    key_cache: Duration,
    /// Seconds by which clocks may differ.
    leeway: i64,
    require: Box<[Requirement]>,
    conf_prefix: std::path::PathBuf,
}

/// `auth_jwt_require`: none of the values may be empty or "0".
struct Requirement {
    values: Box<[Template]>,
    status: u16,
}

const SCOPE: Scope = Scope::ANY_HTTP.or(Scope::LIMIT_EXCEPT);

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("auth_jwt", SCOPE, Args::Between(1, 2), read::jwt, |o, outer| {
            o.jwt = o.jwt.take().or_else(|| outer.jwt.clone());
        }),
        Directive::own("auth_jwt_key_file", SCOPE, Args::Exactly(1), read::key_file, |o, outer| {
            o.key_files = o.key_files.take().or_else(|| outer.key_files.clone());
        }),
        Directive::own("auth_jwt_key_request", SCOPE, Args::Exactly(1), read::key_request, |o, outer| {
            o.key_requests = o.key_requests.take().or_else(|| outer.key_requests.clone());
        }),
        Directive::seconds("auth_jwt_key_cache", Scope::ANY_HTTP, |o| &mut o.key_cache),
        Directive::seconds("auth_jwt_leeway", Scope::ANY_HTTP, |o| &mut o.leeway),
        Directive::own("auth_jwt_type", SCOPE, Args::Exactly(1), read::kind, |o, outer| {
            o.kind = o.kind.take().or_else(|| outer.kind.clone());
        }),
        Directive::own("auth_jwt_require", SCOPE, Args::AtLeast(1), read::require, |o, outer| {
            o.require = o.require.take().or_else(|| outer.require.clone());
        }),
        Directive::own("auth_jwt_claim_set", Scope::HTTP, Args::AtLeast(2), read::claim_set, |_, _| ()),
        Directive::own("auth_jwt_header_set", Scope::HTTP, Args::AtLeast(2), read::header_set, |_, _| ()),
    ];

    const VARIABLES: &'static [Variable] = &[Variable::new("jwt_payload", claims::payload)];

    const PREFIXES: &'static [Prefix] = &[
        Prefix { name: "jwt_claim_", get: claims::claim },
        Prefix { name: "jwt_header_", get: claims::header },
    ];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        match (node.name.text.as_str(), node.args.first()) {
            ("auth_jwt_claim_set" | "auth_jwt_header_set", Some(name)) => {
                variables.declare(read::bare(name)?, name.span).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for node in &options.claim_sets {
            claims::define(node, claims::Part::Claims, cx)?;
        }
        for node in &options.header_sets {
            claims::define(node, claims::Part::Header, cx)?;
        }
        Ok(())
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some((realm, token)) = options.jwt.filter(|(realm, _)| *realm != "off") else { return Ok(None) };
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (mut sets, mut varying) = (Vec::new(), Vec::new());
        for word in options.key_files.unwrap_or_default() {
            match cx.template(&word)? {
                name if name.as_constant().is_some() => sets.push(keys::load(&word, cx)?),
                name => varying.push(name),
            }
        }
        let requests = options.key_requests.unwrap_or_default();
        let require = options.require.unwrap_or_default().into_iter().map(|it| it.compile(cx));
        Ok(Some(Settings {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            require: require.collect::<Result<_, _>>()?,
            realm: cx.template(&realm)?,
            token: token.map(|it| cx.template(&it)).transpose()?,
            keys: Arc::new(Keys::join(sets)),
            key_files: varying.into(),
            key_requests: requests.iter().map(|it| keys::Source::compile(it, cx)).collect::<Result<_, _>>()?,
            key_cache: options.key_cache.unwrap_or_default(),
            leeway: options.leeway.map_or(0, |it| it.as_secs() as i64),
            conf_prefix: cx.conf_prefix.to_owned(),
        }))
    }
}

/// Access phase. `true`: the token is good and all that is required of it holds.
pub async fn check(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    let judged = match Judged::of(on, ex) {
        Some(known) => known,
        None => judge(on, ex).await?,
    };
    match &*judged {
        Judged::Missing => {
            log!(ex, Level::Info, "no JSON Web Token was provided for \"auth_jwt\"");
            return challenge(on, ex, b"");
        }
        Judged::Refused(why) => {
            log!(ex, Level::Error, "JSON Web Token is refused: {why}");
            return challenge(on, ex, b",error=\"invalid_token\"");
        }
        Judged::Good(_) => (),
    }
    for it in &on.require {
        for value in &it.values {
            let value = value.fill_new(ex);
            if value.is_empty() || value == b"0" {
                log!(ex, Level::Error, "JSON Web Token is good, but what \"auth_jwt_require\" asks for does not hold");
                return match it.status {
                    401 => challenge(on, ex, b",error=\"invalid_token\""),
                    status => Break(Stop::status(status)),
                };
            }
        }
    }
    Continue(true)
}

/// Gets the keys, by requests if need be, and looks at the token.
async fn judge(on: &Settings, ex: &mut Exchange) -> Flow<std::rc::Rc<Judged>> {
    let Some(token) = token(on, ex) else { return Continue(Judged::Missing.keep(on, ex)) };
    // No issuer is asked for the sake of what is no token.
    if !on.key_requests.is_empty()
        && let Err(why) = Token::parse(&token)
    {
        return Continue(Judged::Refused(why).keep(on, ex));
    }
    let sets = keys::all(on, ex, None).await?;
    let mut judged = claims::judge(on, &token, &sets);
    if let Judged::Refused(Refused::UnknownKey(kid)) = &judged
        && on.key_requests.iter().any(|it| it.keeps(on))
    {
        // The issuer may have changed its keys since they were asked for.
        let kid = kid.clone();
        let sets = keys::all(on, ex, Some(&kid)).await?;
        judged = claims::judge(on, &token, &sets);
    }
    if on.key_requests.is_empty() && on.key_files.is_empty() && on.keys.is_empty() {
        log!(ex, Level::Error, "\"auth_jwt\" has no keys: write \"auth_jwt_key_file\" or \"auth_jwt_key_request\"");
        return Break(Stop::status(500));
    }
    Continue(judged.keep(on, ex))
}

/// The token as sent.
fn token(on: &Settings, ex: &mut Exchange) -> Option<Vec<u8>> {
    if let Some(token) = &on.token {
        return Some(token.fill_new(ex)).filter(|it| !it.is_empty());
    }
    const SCHEME: &[u8] = b"Bearer ";
    let (scheme, token) = ex.field(b"authorization")?.split_at_checked(SCHEME.len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then(|| token.to_vec())
}

/// Asks for a token (RFC 6750, 3).
fn challenge(on: &Settings, ex: &mut Exchange, why: &[u8]) -> Flow<bool> {
    let (status, name): (u16, &[u8]) = match ex.method {
        Method::Connect => (407, b"Proxy-Authenticate"),
        _ => (401, b"WWW-Authenticate"),
    };
    let realm = on.realm.fill_new(ex);
    let mut reply = Reply::status(status);
    reply.fields.push(name, &[b"Bearer realm=\"", &realm[..], b"\"", why].concat());
    Break(reply.into())
}
