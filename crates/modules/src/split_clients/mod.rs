//! `split_clients`: a variable that divides clients into parts, always the same client into the same part.

use std::sync::Arc;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Evaluate, Evaluator, Exchange, Scope, Template, Variables};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    splits: Vec<Node>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = ();

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::block("split_clients", Scope::HTTP, Args::Exactly(2), read, |_, _| ())];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        let Some(name) = node.args.get(1) else { return Ok(()) };
        variables.declare(bare(name)?, name.span).map(drop)
    }

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        for node in &options.splits {
            let name = &node.args[1];
            let slot = cx.variables.declare(bare(name)?, name.span)?;
            let split = Split { source: cx.template(&node.args[0])?, parts: parts(node)? };
            cx.variables.define(slot, Evaluator { how: Arc::new(split), volatile: false });
        }
        Ok(())
    }

    fn resolve(_: Options, _: &mut Compile<'_>) -> Result<Option<()>, Error> {
        Ok(None)
    }
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    bare(&node.args[1])?;
    o.splits.push(node.clone());
    Ok(())
}

fn bare(name: &Word) -> Result<&str, Error> {
    name.strip_prefix('$').filter(|it| !it.is_empty()).ok_or_else(|| {
        Error::at(name.span, format!("invalid variable name \"{name}\""))
            .advise("a variable begins with a dollar sign")
    })
}

struct Split {
    source: Template,
    parts: Box<[Part]>,
}

struct Part {
    /// Hashes below this belong here; `None`: all that are left.
    below: Option<u32>,
    value: Box<[u8]>,
}

impl Evaluate for Split {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        let hash = murmur_hash2(&self.source.fill_new(ex));
        if let Some(part) = self.parts.iter().find(|it| it.below.is_none_or(|below| hash < below)) {
            out.extend_from_slice(&part.value);
        }
        true
    }
}

/// Hundredths of a percent in a whole.
const WHOLE: u64 = 10_000;

fn parts(node: &Node) -> Result<Box<[Part]>, Error> {
    let (mut sum, mut below) = (0, 0_u32);
    let mut parts = Vec::new();
    for line in node.body() {
        let [value] = &*line.args else {
            return Err(Error::at(line.span, "invalid number of the split_clients parameters"));
        };
        let share = share(&line.name)?;
        sum = share.map_or(WHOLE, |share| sum + share);
        if sum > WHOLE {
            return Err(Error::at(node.span, "percent total is greater than 100%"));
        }
        let part_below = share.filter(|_| sum < WHOLE).map(|share| {
            below = below.wrapping_add((share * u64::from(u32::MAX) / WHOLE) as u32);
            below
        });
        parts.push(Part { below: part_below, value: value.bytes().into() });
    }
    Ok(parts.into())
}

/// `0.5%` is 50, `*` the rest.
fn share(word: &Word) -> Result<Option<u64>, Error> {
    if *word == "*" {
        return Ok(None);
    }
    let hundredths = word.strip_suffix('%').and_then(|text| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 2 || text.is_empty() {
            return None;
        }
        format!("{whole}{fraction:0<2}").parse().ok()
    });
    let found = hundredths.filter(|it| *it > 0);
    found.map(Some).ok_or_else(|| Error::at(word.span, format!("invalid percent value \"{word}\"")))
}

/// MurmurHash2 (Austin Appleby) with seed 0: the parts are nginx's, client by client.
fn murmur_hash2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (n, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * n);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur_hash2;
    use crate::testing::{error, value};

    #[test]
    fn hashes() {
        for (text, expected) in [("", 0), ("a", 0x9268_5f5e), ("abc", 0x1357_7c9b), ("abcd", 0x2687_3021), ("abcdefg", 0xf9a1_cef3)] {
            assert_eq!(murmur_hash2(text.as_bytes()), expected, "{text}: {:#x}", murmur_hash2(text.as_bytes()));
        }
    }

    #[test]
    fn everybody_has_a_part() {
        let part = |conf: &str, key: &str| value(conf, &format!("GET /?k={key}"), "$v");
        assert_eq!(part("split_clients $arg_k $v { 100% all; }", "x"), "all");
        assert_eq!(part("split_clients $arg_k $v { 0.01% few; * all; }", "x"), "all");
        let conf = "split_clients ${arg_k}salt $v { 50% a; 0.5% b; * c; }";
        let all: Vec<_> = (0..1000).map(|n| part(conf, &n.to_string())).collect();
        let count = |name: &str| all.iter().filter(|it| *it == name).count();
        assert!((450..550).contains(&count("a")) && (430..550).contains(&count("c")), "{}", count("a"));
        assert_eq!(all[7], part(conf, "7"));
    }

    #[test]
    fn mistakes_are_told_as_nginx_tells_them() {
        for (conf, expected) in [
            ("split_clients $uri v { * a; }", "invalid variable name \"v\""),
            ("split_clients $uri $v { 10 a; }", "invalid percent value \"10\""),
            ("split_clients $uri $v { 0% a; }", "invalid percent value \"0%\""),
            ("split_clients $uri $v { 1.234% a; }", "invalid percent value \"1.234%\""),
            ("split_clients $uri $v { 60% a; 50% b; }", "percent total is greater than 100%"),
            ("split_clients $uri $v { 60.05% a; 39.95% b; }", ""),
        ] {
            assert_eq!(error(conf), expected, "{conf}");
        }
    }
}
