//! `acme_on_demand`: certificates for names that nobody has written down, if an address of the operator's says yes.

use std::sync::Arc;

use foregate_acme::{DemandRules, Demands, Issuers, OnDemand, Url};
use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Args, Compile, Directive, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    words: Option<Vec<Word>>,
}

impl Options {
    /// Whether the block itself has the directive.
    pub fn is_written(&self) -> bool {
        self.words.is_some()
    }
}

/// The names of a server, and their certificates.
pub struct Settings(pub Arc<OnDemand>);

/// Names that one server may have, and new ones in an hour: less than what Let's Encrypt allows one account.
const NAMES_MAX_DEFAULT: u64 = 10_000;
const PER_HOUR_DEFAULT: u64 = 90;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::own("acme_on_demand", Scope::SERVER, Args::Between(1, 4), read, |o, outer| {
            o.words = o.words.take().or_else(|| outer.words.clone());
        })];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.words.map(|words| compile(&words, cx)).transpose()
    }
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.words.is_some() {
        return Err(Error::duplicate(node));
    }
    o.words = Some(node.args.clone());
    Ok(())
}

/// `URL [issuer=NAME] [names=N] [per_hour=N]`
fn compile(words: &[Word], cx: &mut Compile<'_>) -> Result<Settings, Error> {
    let ask = &words[0];
    if Url::parse(ask).is_none() {
        return Err(Error::at(ask.span, format!("invalid URL \"{ask}\" in \"acme_on_demand\""))
            .advise("an http or https address that answers ?domain=NAME with 200 for names that may have one"));
    }
    let (mut issuer, mut names_max, mut per_hour) = (None, NAMES_MAX_DEFAULT, PER_HOUR_DEFAULT);
    for word in &words[1..] {
        let wrong = || Error::at(word.span, format!("invalid parameter \"{word}\""));
        match word.split_once('=').ok_or_else(wrong)? {
            ("issuer", name) => issuer = Some((name, word)),
            ("names", n) => names_max = value::number(n).filter(|it| *it > 0).ok_or_else(wrong)?,
            ("per_hour", n) => per_hour = value::number(n).filter(|it| *it > 0).ok_or_else(wrong)?,
            _ => return Err(wrong()),
        }
    }
    let issuers = cx.shared.get_or_default::<Issuers>();
    let found = match issuer {
        Some((name, _)) => issuers.by_name.get(name).cloned(),
        None => issuers.default.clone(),
    };
    let place = issuer.map_or(ask.span, |(_, word)| word.span);
    let issuer = found.ok_or_else(|| {
        Error::at(place, "\"acme_on_demand\" needs an issuer")
            .advise("write acme_issuer letsencrypt accept_terms_of_service; in the http block")
    })?;
    if issuer.uri.is_some() && !issuer.accepts_terms {
        let what = format!("the terms of service of issuer \"{}\" are not accepted", issuer.name);
        return Err(Error::at(place, what)
            .advise(format!("read them, then write accept_terms_of_service; in acme_issuer {}", issuer.name)));
    }
    let rules = DemandRules {
        ask: ask.text.clone(),
        issuer,
        names_max: usize::try_from(names_max).unwrap_or(usize::MAX),
        per_hour: usize::try_from(per_hour).unwrap_or(usize::MAX),
    };
    let id = format!("{rules:?}");
    let kept = cx.previous.and_then(|it| it.get::<Demands>()).and_then(|it| it.0.get(&id).cloned());
    let demands = &mut cx.shared.get_or_default::<Demands>().0;
    Ok(Settings(demands.entry(id).or_insert_with(|| kept.unwrap_or_else(|| Arc::new(OnDemand::new(rules)))).clone()))
}

#[cfg(test)]
mod tests {
    use crate::testing::error;

    #[test]
    fn mistakes_are_told() {
        let issuer = "acme_issuer internal;";
        for (words, want) in [
            ("http://127.0.0.1:1/ask names=5 per_hour=3", ""),
            ("file:///x", "invalid URL \"file:///x\" in \"acme_on_demand\""),
            ("http://127.0.0.1/ names=0", "invalid parameter \"names=0\""),
            ("http://127.0.0.1/ issuer=other", "\"acme_on_demand\" needs an issuer"),
        ] {
            let text = format!("{issuer} server {{ acme_on_demand {words}; }}");
            assert_eq!(error(&text), want, "{words}");
        }
    }
}
