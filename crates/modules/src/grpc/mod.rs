//! `grpc_pass` and its kin: calls passed on to gRPC servers, messages both ways as they come.

mod checks;
mod fields;
mod pass;
mod request;
#[cfg(test)]
mod tests;

use foregate_conf::{Error, Node, Word};
use foregate_core::{
    Args, Compile, Directive, Exchange, Flow, Reply, Scope, Variable, duplicate,
};
use foregate_upstream::draft::read::{once, whole};
use foregate_upstream::draft::{Draft, Family};
use foregate_upstream::{Rules, Tls, TlsDraft, shape, tls_directives};

use fields::Sent;
use pass::Pass;
pub use request::preview;

pub struct Module;

/// Passes the call on and brings the answer.
pub async fn run(on: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    request::run(on, ex).await
}

#[derive(Clone, Default)]
pub struct Options {
    upstream: Draft,
    pass: Option<Word>,
    headers: Option<Vec<(Word, Word)>>,
    early_hints: Option<Vec<Word>>,
    check: Option<Node>,
    ssl: TlsDraft,
}

pub struct Settings {
    rules: Rules,
    pass: Pass,
    fields: Sent,
    tls: Option<Tls>,
    check: Option<Box<checks::Check>>,
}

const ANY: Scope = Scope::ANY_HTTP;
const PASS: Scope = Scope::LOCATION.or(Scope::LOCATION_IF);

const FAMILY: Family = Family {
    name: "grpc",
    hidden: &[
        "Date",
        "Server",
        "X-Accel-Expires",
        "X-Accel-Redirect",
        "X-Accel-Limit-Rate",
        "X-Accel-Buffering",
        "X-Accel-Charset",
    ],
};

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = tls_directives!["grpc", ssl;
        Directive::own("grpc_pass", PASS, Args::Exactly(1), |o, node, _| once(&mut o.pass, node), |_, _| ()),
        Directive::own("grpc_set_header", ANY, Args::Exactly(2), set_header, |o, from| {
            whole(&mut o.headers, &from.headers)
        }),
        Directive::own("health_check", Scope::LOCATION, Args::AtLeast(0), check, |_, _| ()),
        Directive::words("early_hints", ANY, |o| &mut o.early_hints),
        shape!(own, "grpc", "_bind", 1, 2, upstream.bind, bind),
        shape!(flag, "grpc", "_socket_keepalive", upstream.socket_keepalive),
        shape!(size, "grpc", "_socket_rcvbuf", upstream.recv_buffer),
        shape!(size, "grpc", "_socket_sndbuf", upstream.send_buffer),
        shape!(time, "grpc", "_connect_timeout", upstream.connect_timeout),
        shape!(time, "grpc", "_send_timeout", upstream.send_timeout),
        shape!(time, "grpc", "_read_timeout", upstream.read_timeout),
        shape!(flag, "grpc", "_intercept_errors", upstream.intercept_errors),
        shape!(size, "grpc", "_buffer_size", upstream.buffer_size),
        shape!(own, "grpc", "_next_upstream", 1, usize::MAX, upstream.next, next_upstream),
        shape!(number, "grpc", "_next_upstream_tries", upstream.next_tries),
        shape!(time, "grpc", "_next_upstream_timeout", upstream.next_timeout),
        shape!(own, "grpc", "_pass_header", 1, 1, upstream.pass_header, pass_header),
        shape!(own, "grpc", "_hide_header", 1, 1, upstream.hide_header, hide_header),
        shape!(own, "grpc", "_ignore_headers", 1, usize::MAX, upstream.ignored, ignore_headers),
    ];
    const VARIABLES: &'static [Variable] = fields::VARIABLES;

    /// `if` and `limit_except` pass on to where their location does.
    fn inherit_handler(options: &mut Options, outer: &Options) {
        if options.pass.is_none() {
            options.pass.clone_from(&outer.pass);
        }
    }

    fn has_handler(options: &Options) -> bool {
        options.pass.is_some()
    }

    fn resolve(o: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(word) = &o.pass else { return Ok(None) };
        let pass = Pass::compile(word, cx)?;
        let tls = match pass.may_be_secure() {
            true => Some(Tls::compile(&o.ssl, FAMILY.name, Some(b"h2"), word.span, cx)?),
            false => None,
        };
        let check = checks::compile(&o, &pass, cx)?;
        let rules = rules(&o, &o.upstream, cx)?;
        let fields = Sent::compile(o.headers.as_deref(), cx)?;
        Ok(Some(Settings { rules, fields, tls, check, pass }))
    }
}

/// Nothing is buffered, and trailers are half of what gRPC says.
fn rules(o: &Options, draft: &Draft, cx: &mut Compile<'_>) -> Result<Rules, Error> {
    let draft = draft.unbuffered();
    let hints = o.early_hints.iter().flatten().map(|it| cx.template(it)).collect::<Result<_, _>>()?;
    Ok(Rules {
        buffering: false,
        request_buffering: false,
        pass_trailers: true,
        early_hints: hints,
        ..draft.compile(&FAMILY, &draft.sizes(&FAMILY)?, cx)?
    })
}

fn check(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.check.is_some() {
        return Err(duplicate(node));
    }
    o.check = Some(node.clone());
    Ok(())
}

fn set_header(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.headers.get_or_insert_default().push((node.args[0].clone(), node.args[1].clone()));
    Ok(())
}
