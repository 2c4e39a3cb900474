//! `resolver`, `resolver_timeout`: who is asked for names that are known per request only.

use std::time::Duration;

use foregate_conf::{Error, Node, Word, value};
use foregate_core::{Args, Compile, Directive, Scope, duplicate};
use foregate_upstream::Resolvers;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    resolver: Option<Vec<Word>>,
    timeout: Option<Duration>,
}

/// Where names are asked for.
pub struct Settings {
    pub resolver: Resolvers,
}

/// nginx's default for `resolver_timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The port of name servers (RFC 1035).
const PORT: u16 = 53;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("resolver", Scope::ANY_HTTP, Args::AtLeast(1), resolver, inherit),
        Directive::time("resolver_timeout", Scope::ANY_HTTP, |o| &mut o.timeout),
    ];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(words) = &options.resolver else { return Ok(None) };
        let timeout = options.timeout.unwrap_or(TIMEOUT);
        Ok(Some(Settings { resolver: read(words, timeout)? }))
    }
}

fn resolver(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.resolver.is_some() {
        return Err(duplicate(node));
    }
    o.resolver = Some(node.args.clone());
    read(&node.args, TIMEOUT).map(drop)
}

fn inherit(o: &mut Options, outer: &Options) {
    if o.resolver.is_none() {
        o.resolver.clone_from(&outer.resolver);
    }
}

fn read(words: &[Word], timeout: Duration) -> Result<Resolvers, Error> {
    let mut resolvers = Resolvers::new(timeout);
    for word in words {
        let invalid = || Error::at(word.span, format!("invalid parameter: {word}"));
        match word.split_once('=') {
            Some(("valid", time)) => {
                let time = value::time_s(time).ok_or_else(invalid)?;
                resolvers.spec.valid = Some(Duration::from_secs(time));
            }
            Some(("ipv4", flag)) => resolvers.spec.ipv4 = on_off(flag).ok_or_else(invalid)?,
            Some(("ipv6", flag)) => resolvers.spec.ipv6 = on_off(flag).ok_or_else(invalid)?,
            Some(("status_zone", _)) => {}
            _ => {
                resolvers.add(word, PORT).map_err(|why| {
                    Error::at(word.span, format!("{why} in resolver \"{word}\""))
                })?;
            }
        }
    }
    if !resolvers.spec.ipv4 && !resolvers.spec.ipv6 {
        let span = words[0].span;
        return Err(Error::at(span, "\"ipv4\" and \"ipv6\" cannot both be \"off\""));
    }
    if resolvers.spec.servers.is_empty() {
        return Err(Error::at(words[0].span, "no name servers defined"));
    }
    Ok(resolvers)
}

fn on_off(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::error;

    #[test]
    fn mistakes_are_named_as_nginx_names_them() {
        for (words, want) in [
            ("127.0.0.1 [::1]:5353 valid=10s ipv6=off", ""),
            ("127.0.0.1 valid=x", "invalid parameter: valid=x"),
            ("127.0.0.1 ipv6=no", "invalid parameter: ipv6=no"),
            ("valid=1s", "no name servers defined"),
            ("127.0.0.1:0", "invalid port in resolver \"127.0.0.1:0\""),
            ("127.0.0.1 ipv4=off ipv6=off", "\"ipv4\" and \"ipv6\" cannot both be \"off\""),
        ] {
            assert_eq!(error(&format!("resolver {words};")), want, "{words}");
        }
    }
}
