//! `acme_issuer`, `acme_certificate`: certificates that come by themselves, as nginx-acme has them and beyond.

mod issuer;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foregate_acme::{Answers, HTTP_PREFIX, Identifier, Issuer, Issuers, Kind, Slots, answers};
use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Method, Reply, Scope, Variable};
use foregate_wire::Buf;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    issuers: Vec<Node>,
    certificate: Option<Vec<Word>>,
}

impl Options {
    /// Whether the block itself has `acme_certificate`.
    pub fn names_certificate(&self) -> bool {
        self.certificate.is_some()
    }
}

/// `acme_certificate` of a server.
pub struct Settings {
    pub issuer: Arc<Issuer>,
    /// Empty: the server's names.
    pub names: Vec<Identifier>,
    pub key: Kind,
    pub place: Word,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::with_or_without_block("acme_issuer", Scope::HTTP, Args::Between(1, 2), read_issuer, |_, _| ()),
        // The size of what nginx-acme shares between processes: here there is one.
        Directive::own("acme_shared_zone", Scope::HTTP, Args::Exactly(1), read_zone, |_, _| ()),
        Directive::own("acme_certificate", Scope::SERVER, Args::AtLeast(1), read_certificate, |o, outer| {
            o.certificate = o.certificate.take().or_else(|| outer.certificate.clone());
        }),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("acme_certificate", |ex, out| pem(ex, out, |it| &it.chain_pem)),
        Variable::new("acme_certificate_key", |ex, out| pem(ex, out, |it| &it.key_pem)),
    ];

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        issuer::prepare(&options.issuers, cx)
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.certificate.map(|words| settings(&words, cx)).transpose()
    }
}

fn read_issuer(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let name = &node.args[0];
    if o.issuers.iter().any(|it| it.args[0].text == name.text) {
        return Err(Error::at(name.span, format!("duplicate acme_issuer \"{name}\"")));
    }
    o.issuers.push(node.clone());
    Ok(())
}

fn read_zone(_: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word = &node.args[0];
    match word.strip_prefix("zone=").map(|it| it.split_once(':').unwrap_or((it, ""))) {
        Some(("", _)) => Err(Error::at(word.span, "invalid zone name \"\"")),
        Some((_, size)) if foregate_conf::value::size(size).is_some() => Ok(()),
        Some((_, size)) => Err(Error::at(word.span, format!("invalid zone size \"{size}\""))),
        None => Err(Error::at(word.span, "\"acme_shared_zone\" must have \"zone\" parameter")),
    }
}

fn read_certificate(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.certificate.is_some() {
        return Err(Error::duplicate(node));
    }
    o.certificate = Some(node.args.clone());
    Ok(())
}

fn settings(words: &[Word], cx: &mut Compile<'_>) -> Result<Settings, Error> {
    let known = cx.shared.get_or_default::<Issuers>();
    let issuer = known.by_name.get(&words[0].text).cloned();
    let issuer = issuer.ok_or_else(|| {
        Error::at(words[0].span, format!("issuer \"{}\" is missing", words[0]))
            .advise(format!("write acme_issuer {} {{ ... }} in the http block", words[0]))
    })?;
    let (mut names, mut key) = (Vec::new(), Kind::default());
    for word in &words[1..] {
        if let Some(kind) = word.strip_prefix("key=") {
            key = Kind::named(kind).ok_or_else(|| issuer::bad_kind(kind, word))?;
            continue;
        }
        let by_dns = issuer.challenge == Some(foregate_acme::Challenge::Dns01);
        let found = Identifier::read_all(word, by_dns || issuer.uri.is_none());
        let found = found.ok_or_else(|| {
            let error = Error::at(word.span, format!("invalid server name: {word}"));
            match word.starts_with("*.") {
                true => error.advise(format!("wildcards need \"challenge dns-01;\" in acme_issuer {}", issuer.name)),
                false => error,
            }
        })?;
        names.extend(found);
    }
    Ok(Settings { issuer, names, key, place: words[0].clone() })
}

/// `data:` and the text, for `ssl_certificate` and its key.
fn pem(ex: &mut Exchange, out: &mut Vec<u8>, part: fn(&foregate_acme::Shown) -> &String) -> bool {
    let cycle = ex.cycle.clone();
    let slot = cycle.shared().get::<Slots>().and_then(|it| it.by_server.get(&ex.server));
    let Some(shown) = slot.and_then(|it| it.get()) else { return false };
    out.extend_from_slice(b"data:");
    out.extend_from_slice(part(&shown).as_bytes());
    true
}

/// What an issuer is told that asks for a challenge of ours (http-01), whatever the server's rules say.
pub fn challenge(ex: &Exchange) -> Option<Reply> {
    let open: &Answers = answers();
    if !open.wanted() || ex.conn.tls.is_some() || !matches!(ex.method, Method::Get | Method::Head) {
        return None;
    }
    let said = open.http(ex.uri.strip_prefix(HTTP_PREFIX)?)?;
    Some(Reply::bytes(200, b"application/octet-stream", Buf::copy_from(said.as_bytes())))
}
