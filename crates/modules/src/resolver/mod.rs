//! `resolver`, `resolver_timeout`: who is asked for names that are known per request only.

use std::sync::Arc;
use std::time::Duration;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Scope, duplicate};
use foregate_upstream::{CommonResolver, Resolvers};

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

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("resolver", Scope::ANY_HTTP, Args::AtLeast(1), resolver, inherit),
        Directive::time("resolver_timeout", Scope::ANY_HTTP, |o| &mut o.timeout),
    ];

    /// Groups of upstreams, which are made right after this, may want it.
    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        if let Some(words) = &options.resolver {
            let resolver = read(words, options.timeout.unwrap_or(TIMEOUT))?;
            cx.shared.get_or_default::<CommonResolver>().0 = Some(Arc::new(resolver));
        }
        Ok(())
    }

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
    Resolvers::read(words, timeout)
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
