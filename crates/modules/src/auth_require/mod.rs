//! `auth_require`: lets in only where values hold, such as ones that a map makes of a visitor's claims.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Level, Scope, Stop, Template, log};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    lines: Option<Vec<Line>>,
}

/// One directive as written.
#[derive(Clone)]
struct Line {
    values: Vec<Word>,
    status: u16,
}

pub struct Settings {
    /// None of the values may be empty or "0"; else the answer is this status.
    lines: Box<[(Box<[Template]>, u16)]>,
}

const STATUS: u16 = 403;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[Directive::own(
        "auth_require",
        Scope::ANY_HTTP.or(Scope::LIMIT_EXCEPT),
        Args::AtLeast(1),
        read,
        |o, outer| o.lines = o.lines.take().or_else(|| outer.lines.clone()),
    )];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(lines) = options.lines else { return Ok(None) };
        let compile = |line: Line| {
            let values = line.values.iter().map(|it| cx.template(it)).collect::<Result<_, Error>>()?;
            Ok((values, line.status))
        };
        Ok(Some(Settings { lines: lines.into_iter().map(compile).collect::<Result<_, Error>>()? }))
    }
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let mut line = Line { values: Vec::new(), status: STATUS };
    for word in &node.args {
        match word.strip_prefix("error=") {
            Some(status) => {
                let found = status.parse().ok().filter(|it| (400..600).contains(it));
                line.status = found.ok_or_else(|| Error::at(word.span, format!("invalid error \"{word}\"")))?;
            }
            None if word.starts_with('$') => line.values.push(word.clone()),
            None => {
                return Err(Error::at(word.span, format!("invalid parameter \"{word}\""))
                    .advise("a variable, such as one that a map makes of $oidc_claim_groups"));
            }
        }
    }
    if line.values.is_empty() {
        return Err(Error::directive(node, "invalid number of arguments"));
    }
    o.lines.get_or_insert_default().push(line);
    Ok(())
}

/// Access phase, behind all that find out who the visitor is.
pub fn check(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    for (values, status) in &on.lines {
        for value in values {
            let value = value.fill_new(ex);
            if value.is_empty() || value == b"0" {
                log!(ex, Level::Error, "access forbidden by \"auth_require\"");
                return Break(Stop::status(*status));
            }
        }
    }
    Continue(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Site, error};

    fn check(conf: &str, request: &str) -> u16 {
        let site = Site::new(conf);
        let mut ex = site.exchange(request);
        match super::check(site.settings().auth_require.as_ref().unwrap(), &mut ex) {
            Continue(allowed) => u16::from(allowed),
            Break(Stop::Reply(reply)) => reply.status,
            Break(_) => 0,
        }
    }

    #[test]
    fn all_values_must_hold() {
        let conf = "auth_require $arg_a $arg_b; auth_require $arg_c error=401;";
        assert_eq!(check(conf, "GET /?a=1&b=x&c=y"), 1);
        for (args, status) in [("a=1&b=0&c=1", 403), ("a=1&c=1", 403), ("a=1&b=1", 401), ("", 403)] {
            assert_eq!(check(conf, &format!("GET /?{args}")), status, "{args}");
        }
        assert_eq!(check(&format!("{conf} server {{ auth_require $arg_d; }}"), "GET /?d=1"), 1);
    }

    #[test]
    fn mistakes_are_told() {
        assert_eq!(error("auth_require a;"), "invalid parameter \"a\"");
        assert_eq!(error("auth_require $uri error=200;"), "invalid error \"error=200\"");
    }
}
