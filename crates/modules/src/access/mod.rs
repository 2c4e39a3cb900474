//! `allow`, `deny`: who may ask, by address.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Node};
use foregate_core::{Args, Cidr, Compile, Directive, Exchange, Flow, Level, Scope, Stop, log};
use foregate_net::Addr;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    rules: Option<Vec<Rule>>,
    /// Networks with meaningless bits; never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

#[derive(Clone, Copy)]
struct Rule {
    who: Who,
    deny: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    All,
    /// Clients on Unix sockets.
    Unix,
    Net(Cidr),
}

pub struct Settings {
    /// In the order written: the first that fits decides.
    rules: Box<[Rule]>,
}

const SCOPE: Scope = Scope::ANY_HTTP.or(Scope::LIMIT_EXCEPT);

/// Access phase. `true`: a rule allows the client; `false`: no rule speaks of it. `logs`: refusals are logged here,
/// because no other module may still let the client in.
pub fn check(on: &Settings, ex: &Exchange, logs: bool) -> Flow<bool> {
    match on.rules.iter().find(|rule| rule.who.is(&ex.remote)) {
        None => Continue(false),
        Some(rule) if !rule.deny => Continue(true),
        Some(_) => {
            if logs {
                log!(ex, Level::Error, "access forbidden by rule");
            }
            Break(Stop::status(403))
        }
    }
}

impl Who {
    fn is(self, client: &Addr) -> bool {
        match (self, client) {
            (Self::All, _) | (Self::Unix, Addr::Unix(_)) => true,
            (Self::Net(net), Addr::Ip(addr)) => net.contains(addr.ip().to_canonical()),
            _ => false,
        }
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("allow", SCOPE, Args::Exactly(1), rule, inherit),
        Directive::own("deny", SCOPE, Args::Exactly(1), rule, inherit),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        Ok(options.rules.map(|rules| Settings { rules: rules.into() }))
    }
}

fn inherit(o: &mut Options, outer: &Options) {
    o.rules = o.rules.take().or_else(|| outer.rules.clone());
}

fn rule(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word = &node.args[0];
    let who = match word.text.as_str() {
        "all" => Who::All,
        "unix:" => Who::Unix,
        text => {
            let parsed = Cidr::parse(text);
            let (net, low_bits) = parsed.ok_or_else(|| {
                Error::at(word.span, format!("invalid parameter \"{word}\""))
                    .advise("an address, a network such as 10.0.0.0/8, unix: or all")
            })?;
            if low_bits {
                let what = format!("low address bits of {word} are meaningless");
                o.warnings.push(Error::at(word.span, what).warn());
            }
            Who::Net(net)
        }
    };
    o.rules.get_or_insert_default().push(Rule { who, deny: node.name == "deny" });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::ops::ControlFlow::{Break, Continue};

    use foregate_net::Addr;

    use crate::testing::{Site, error};

    /// What becomes of a client, and what is logged.
    fn check(conf: &str, client: &str) -> String {
        let site = Site::new(conf);
        let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
        ex.remote = client.parse().map_or_else(|_| Addr::unix(client), |ip: IpAddr| Addr::Ip((ip, 1).into()));
        let Some(on) = &site.settings().access else { return "-".into() };
        let verdict = match super::check(on, &ex, true) {
            Continue(true) => "allowed",
            Continue(false) => "-",
            Break(_) => "denied",
        };
        let log = site.house.logged();
        assert_eq!(log.len(), usize::from(verdict == "denied"));
        verdict.into()
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let conf = "allow 10.0.0.0/8; deny 10.0.0.1; allow 2001:db8::/32; deny all;";
        for (client, want) in [
            ("10.0.0.1", "allowed"),
            ("11.0.0.1", "denied"),
            ("::ffff:10.2.3.4", "allowed"),
            ("2001:db8::1", "allowed"),
            ("::1", "denied"),
            ("/run/x.sock", "denied"),
        ] {
            assert_eq!(check(conf, client), want, "{client}");
        }
        assert_eq!(check("deny 10.0.0.1;", "10.0.0.2"), "-");
        assert_eq!(check("deny unix:;", "/run/x.sock"), "denied");
        assert_eq!(check("deny unix:;", "::1"), "-");
    }

    #[test]
    fn a_level_s_rules_replace_those_around() {
        assert_eq!(check("deny all; server { location / { } }", "::1"), "denied");
        assert_eq!(check("deny all; server { allow ::1; }", "::2"), "-");
        assert_eq!(check("server { location / { limit_except GET { deny all; } } }", "::2"), "denied");
    }

    #[test]
    fn refusals_are_logged_in_nginx_s_words() {
        let site = Site::new("deny all;");
        let ex = site.exchange("GET / HTTP/1.1\nHost: h");
        _ = super::check(site.settings().access.as_ref().unwrap(), &ex, true);
        assert!(site.house.logged()[0].starts_with("error: *1 access forbidden by rule, client: 127.0.0.1, "));
    }

    #[test]
    fn errors_are_nginx_s() {
        assert_eq!(error("allow here;"), "invalid parameter \"here\"");
        assert_eq!(error("deny 10.0.0.0/40;"), "invalid parameter \"10.0.0.0/40\"");
        let site = Site::new("allow 10.0.0.1/8; server { location / { } }");
        assert_eq!(site.warnings, ["low address bits of 10.0.0.1/8 are meaningless"]);
    }
}
