//! Names that nginx, its commercial edition, Angie or well-known modules have: what becomes of them where no module of
//! ours declares them.
//!
//! Ask the modules first, then [`find`] here; what neither knows is an unknown directive, and [`names`] holds what
//! its author may have meant. Nothing that changes what a visitor sees is ignored.

mod angie;
mod http_core;
mod http_modules;
mod idle;
mod mail;
mod main;
mod patterns;
mod plus;
mod reasons;
mod stream;
mod third_party;
mod upstreams;

use foregate_conf::{Error, Node, value};
use foregate_core::Scope;

pub use idle::idle;

/// Each sorted by name; no name stands in two of them.
static FAMILIES: [&[Known]; 9] = [
    main::NAMES,
    http_core::NAMES,
    http_modules::NAMES,
    upstreams::NAMES,
    stream::NAMES,
    mail::NAMES,
    plus::NAMES,
    angie::NAMES,
    third_party::NAMES,
];

/// A directive we know of.
#[derive(Debug)]
pub struct Known {
    /// For the [`patterns`] a part of the name.
    pub name: &'static str,
    /// The blocks it may stand in, with `, ` between them; empty where that is not known.
    pub places: &'static str,
    /// Numbers of arguments, `block` behind those that a block follows: `1`, `1-2`, `1+`, `0 block; 1+`; or `any`.
    shape: &'static str,
    /// Arguments that ask for what happens anyway; empty if there are none, `*` if all do.
    harmless: &'static str,
    pub treatment: Treatment,
}

/// What to do with a directive that no module declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Accepted with a warning: it only tunes what we do not have. Why, as the end of a sentence.
    Ignored(&'static str),
    /// An error. Why, as the end of a sentence, and what to do instead where there is anything.
    Refused { why: &'static str, instead: Option<&'static str> },
}

/// Finds a name.
pub fn find(name: &str) -> Option<&'static Known> {
    let in_family = |family: &&'static [Known]| {
        let at = family.binary_search_by(|known| known.name.cmp(name)).ok()?;
        family.get(at)
    };
    FAMILIES.iter().find_map(in_family).or_else(|| patterns::find(name))
}

/// Every name, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.iter().map(|known| known.name))
}

impl Known {
    /// What becomes of such a directive: `Ok(None)` where it asks for what happens anyway, a warning where it is
    /// ignored.
    ///
    /// # Errors
    /// nginx's about its place and shape, ours where it is refused.
    pub fn judge(&self, node: &Node, scope: Scope) -> Result<Option<Error>, Error> {
        if !self.allowed_in(scope) {
            return Err(Error::not_allowed_here(node));
        }
        self.check_shape(node)?;
        if self.is_harmless(node) {
            return Ok(None);
        }
        if node.name.contains("_hash_")
            && let Some(word) = node.args.first().filter(|it| value::number(it).is_none())
        {
            return Err(Error::at(word.span, "invalid number"));
        }
        match self.treatment {
            Treatment::Ignored(why) => {
                let what = format!("\"{}\" directive is ignored: {why}", node.name);
                Ok(Some(Error::at(node.span, what).warn()))
            }
            Treatment::Refused { why, instead } => {
                let what = format!("\"{}\" directive is not supported: {why}", node.name);
                let error = Error::at(node.span, what);
                Err(if let Some(instead) = instead { error.advise(instead) } else { error })
            }
        }
    }

    /// Whether it may stand in this block; always where its places are not known.
    pub fn allowed_in(&self, scope: Scope) -> bool {
        self.places.is_empty() || self.places.split(", ").any(|place| place_scope(place) == Some(scope))
    }

    fn check_shape(&self, node: &Node) -> Result<(), Error> {
        if self.shape == "any" {
            return Ok(());
        }
        let shapes = || self.shape.split("; ").map(|shape| (shape, shape.ends_with(" block")));
        let is_block = node.is_block();
        if !shapes().any(|(_, block)| block == is_block) {
            return Err(if is_block { Error::not_terminated(node) } else { Error::no_opening(node) });
        }
        let fits = shapes().any(|(shape, block)| block == is_block && count_fits(shape, node.args.len()));
        if fits { Ok(()) } else { Err(Error::arity(node)) }
    }

    fn is_harmless(&self, node: &Node) -> bool {
        self.harmless == "*"
            || !self.harmless.is_empty() && self.harmless.split(' ').eq(node.args.iter().map(|word| &**word))
    }
}

/// One line of a table.
const fn known(
    name: &'static str,
    places: &'static str,
    shape: &'static str,
    harmless: &'static str,
    treatment: Treatment,
) -> Known {
    Known { name, places, shape, harmless, treatment }
}

/// `1`, `1-2` or `1+`, whether or not a block follows.
fn count_fits(shape: &str, n_args: usize) -> bool {
    let count = shape.trim_end_matches(" block");
    let number = |text: &str| text.parse::<usize>().ok();
    let fits = if let Some(least) = count.strip_suffix('+') {
        number(least).map(|least| n_args >= least)
    } else if let Some((least, most)) = count.split_once('-') {
        number(least).zip(number(most)).map(|(least, most)| (least..=most).contains(&n_args))
    } else {
        number(count).map(|exact| n_args == exact)
    };
    fits.expect("because a test reads every shape of the tables")
}

/// None for the blocks of `stream` and `mail`, whose directives we do not read.
fn place_scope(place: &str) -> Option<Scope> {
    Some(match place {
        "main" => Scope::MAIN,
        "events" => Scope::EVENTS,
        "http" => Scope::HTTP,
        "server" => Scope::SERVER,
        "location" => Scope::LOCATION,
        "if in server" => Scope::SERVER_IF,
        "if in location" => Scope::LOCATION_IF,
        "limit_except" => Scope::LIMIT_EXCEPT,
        "upstream" => Scope::UPSTREAM,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check(text: &str, scope: Scope) -> String {
        let tree = foregate_conf::parse(text).unwrap();
        let node = &tree.nodes[0];
        match find(&node.name).map(|known| known.judge(node, scope)) {
            None => "unknown".into(),
            Some(Ok(None)) => "accepted".into(),
            Some(Ok(Some(warning))) => format!("warning: {}", warning.what),
            Some(Err(error)) => error.what,
        }
    }

    #[test]
    fn tables_are_sorted_and_no_name_stands_twice() {
        for family in FAMILIES {
            assert!(family.is_sorted_by(|one, other| one.name < other.name), "{}", family[0].name);
        }
        let unique: HashSet<&str> = names().collect();
        assert_eq!(unique.len(), names().count());
        assert!(unique.len() > 700);
    }

    #[test]
    fn every_line_of_the_tables_can_be_read() {
        let elsewhere = ["stream", "stream server", "stream upstream", "mail", "mail server"];
        for known in FAMILIES.iter().copied().flatten() {
            for place in known.places.split(", ").filter(|place| !place.is_empty()) {
                assert!(place_scope(place).is_some() || elsewhere.contains(&place), "{} {place}", known.name);
            }
            for shape in known.shape.split("; ").filter(|shape| *shape != "any") {
                count_fits(shape, 1);
            }
        }
    }

    #[test]
    fn directives_are_judged() {
        let cases = [
            ("accept_mutex on;", Scope::EVENTS, "warning: \"accept_mutex\" directive is ignored: "),
            ("accept_mutex off;", Scope::EVENTS, "accepted"),
            ("accept_mutex on;", Scope::HTTP, "\"accept_mutex\" directive is not allowed here"),
            ("accept_mutex;", Scope::EVENTS, "invalid number of arguments in \"accept_mutex\" directive"),
            ("accept_mutex on {}", Scope::EVENTS, "directive \"accept_mutex\" is not terminated by \";\""),
            ("mail;", Scope::MAIN, "directive \"mail\" has no opening \"{\""),
            ("mail {}", Scope::MAIN, "\"mail\" directive is not supported: "),
            ("image_filter off;", Scope::LOCATION, "accepted"),
            ("image_filter resize 1 2;", Scope::LOCATION, "\"image_filter\" directive is not supported: "),
            ("ssl_dhparam f;", Scope::SERVER, "warning: \"ssl_dhparam\" directive is ignored: "),
            (
                "content_by_lua_block { }",
                Scope::LOCATION,
                "\"content_by_lua_block\" directive is not supported: ",
            ),
            ("echo_sleep 1;", Scope::LOCATION, "\"echo_sleep\" directive is not supported: "),
            ("modsecurity on;", Scope::HTTP, "\"modsecurity\" directive is not supported: "),
            ("no_such_thing;", Scope::HTTP, "unknown"),
        ];
        for (text, scope, expected) in cases {
            let seen = check(text, scope);
            let same = if expected.ends_with(": ") { seen.starts_with(expected) } else { seen == expected };
            assert!(same, "{text}: {seen}");
        }
    }
}
