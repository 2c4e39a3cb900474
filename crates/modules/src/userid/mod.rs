//! `userid`: gives every browser a number in a cookie, as mod_uid does.

mod cookie;
#[cfg(test)]
mod tests;

use std::time::Duration;

use foregate_conf::{Error, Node, Span, Word, value as values};
use foregate_core::{Args, Compile, Directive, Scope, Template, Variable, Variables, duplicate};

pub use cookie::filter;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    state: Option<usize>,
    service: Option<u64>,
    name: Option<Word>,
    domain: Option<Word>,
    path: Option<Word>,
    expires: Option<Expires>,
    flags: Option<Vec<Word>>,
    p3p: Option<Word>,
    mark: Option<Option<u8>>,
}

pub struct Settings {
    state: State,
    service: Option<u32>,
    name: String,
    /// Everything behind the value but the time: `; domain=…; path=…`, and the flags.
    place: Vec<u8>,
    flags: Vec<u8>,
    expires: Expires,
    p3p: Vec<u8>,
    mark: Option<u8>,
    /// `$uid_reset`, which the configuration may set.
    reset: Template,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Off,
    /// Cookies are read, none is sent.
    Log,
    V1,
    On,
}

const STATES: [(&str, State); 4] = [("off", State::Off), ("log", State::Log), ("v1", State::V1), ("on", State::On)];
const STATE_NAMES: [&str; 4] = ["off", "log", "v1", "on"];

#[derive(Clone, Copy)]
enum Expires {
    /// With the session.
    Off,
    /// Never: in 2037.
    Max,
    After(Duration),
}

const FLAGS: [&str; 6] = ["off", "secure", "httponly", "samesite=strict", "samesite=lax", "samesite=none"];

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::choice("userid", Scope::ANY_HTTP, &STATE_NAMES, |o| &mut o.state),
        Directive::number("userid_service", Scope::ANY_HTTP, |o| &mut o.service),
        Directive::text("userid_name", Scope::ANY_HTTP, |o| &mut o.name),
        Directive::text("userid_domain", Scope::ANY_HTTP, |o| &mut o.domain),
        Directive::text("userid_path", Scope::ANY_HTTP, |o| &mut o.path),
        Directive::own("userid_expires", Scope::ANY_HTTP, Args::Exactly(1), expires, |o, outer| {
            o.expires = o.expires.or(outer.expires);
        }),
        Directive::own("userid_flags", Scope::ANY_HTTP, Args::Between(1, 3), flags, |o, outer| {
            if o.flags.is_none() {
                o.flags.clone_from(&outer.flags);
            }
        }),
        Directive::text("userid_p3p", Scope::ANY_HTTP, |o| &mut o.p3p),
        Directive::own("userid_mark", Scope::ANY_HTTP, Args::Exactly(1), mark, |o, outer| {
            o.mark = o.mark.or(outer.mark);
        }),
    ];

    const VARIABLES: &'static [Variable] =
        &[Variable::new("uid_got", cookie::got), Variable::new("uid_set", cookie::set)];

    /// `$uid_reset` is the configuration's to set, by `set` or `map`; unset, it is empty.
    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        variables.declare("uid_reset", node.span).map(drop)
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let state = options.state.map_or(State::Off, |at| STATES[at].1);
        if state == State::Off {
            return Ok(None);
        }
        let text = |word: Option<Word>| word.map_or_else(String::new, |it| it.text);
        let mut place = Vec::new();
        if let Some(domain) = options.domain.filter(|it| *it != "none") {
            place.extend_from_slice(format!("; domain={domain}").as_bytes());
        }
        place.extend_from_slice(format!("; path={}", options.path.as_deref().unwrap_or("/")).as_bytes());
        let flags = options.flags.unwrap_or_default();
        // In nginx's order, however they are written.
        let flags = FLAGS[1..].iter().filter(|flag| flags.iter().any(|it| it == *flag));
        let flags = flags.flat_map(|it| format!("; {it}").into_bytes());
        Ok(Some(Settings {
            state,
            service: options.service.map(|it| it as u32),
            name: options.name.map_or_else(|| "uid".to_owned(), |it| it.text),
            place,
            flags: flags.collect(),
            expires: options.expires.unwrap_or(Expires::Off),
            p3p: text(options.p3p.filter(|it| *it != "none")).into_bytes(),
            mark: options.mark.flatten(),
            reset: cx.template(&Word::new(b"$uid_reset".to_vec(), Span::default(), false))?,
        }))
    }
}

fn expires(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.expires.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    o.expires = Some(match word.text.as_str() {
        "max" => Expires::Max,
        "off" => Expires::Off,
        text => {
            let after = values::time_s(text).ok_or_else(|| Error::directive(node, "invalid value"))?;
            if after == 0 { Expires::Off } else { Expires::After(Duration::from_secs(after)) }
        }
    });
    Ok(())
}

fn flags(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.flags.is_some() {
        return Err(duplicate(node));
    }
    for word in &node.args {
        if !FLAGS.contains(&word.text.as_str()) {
            return Err(Error::at(word.span, format!("invalid value \"{word}\""))
                .advise(format!("one of: {}", FLAGS.join(", "))));
        }
    }
    o.flags = Some(node.args.clone());
    Ok(())
}

fn mark(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.mark.is_some() {
        return Err(duplicate(node));
    }
    o.mark = Some(match node.args[0].bytes() {
        b"off" => None,
        [byte] if byte.is_ascii_alphanumeric() || *byte == b'=' => Some(*byte),
        _ => {
            let what = "value must be \"off\" or a single letter, digit or \"=\"";
            return Err(Error::directive(node, what));
        }
    });
    Ok(())
}
