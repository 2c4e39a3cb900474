//! `secure_link`: links that nobody can make who does not know the secret, and that may expire.

use foregate_conf::{Error, Word};
use foregate_core::base64::{self, Alphabet};
use foregate_core::{Compile, Directive, Exchange, Scope, Template, Variable};
use foregate_net::clock;
use md5::{Digest, Md5};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    link: Option<Word>,
    md5: Option<Word>,
    secret: Option<Word>,
}

pub enum Settings {
    /// `secure_link` and `secure_link_md5`.
    Checked { link: Template, md5: Template },
    /// `secure_link_secret`: `/prefix/hash/link`.
    Path { secret: Box<[u8]> },
}

/// The base64url form of 16 bytes, with padding.
const HASH_TEXT_BYTES_MAX: usize = 24;
const HEX_BYTES: usize = 32;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::text("secure_link", Scope::ANY_HTTP, |o| &mut o.link),
        Directive::text("secure_link_md5", Scope::ANY_HTTP, |o| &mut o.md5),
        Directive::text("secure_link_secret", Scope::ANY_HTTP, |o| &mut o.secret),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("secure_link", |ex, out| {
            let cycle = ex.cycle.clone();
            match crate::settings(&*cycle, ex.location).secure_link.as_deref() {
                Some(Settings::Checked { link, md5 }) => checked(link, md5, ex, out),
                Some(Settings::Path { secret }) => path(secret, ex, out),
                None => false,
            }
        }),
        Variable::new("secure_link_expires", |ex, out| {
            let Some(Expires(time)) = ex.notes.get() else { return false };
            out.extend_from_slice(time);
            true
        }),
    ];

    /// A secret and the newer pair exclude each other: which of them a block has decides what it inherits.
    fn inherit(options: &mut Options, outer: &Options) {
        if options.secret.is_some() {
            return;
        }
        options.link = options.link.take().or_else(|| outer.link.clone());
        options.md5 = options.md5.take().or_else(|| outer.md5.clone());
        if options.link.is_none() && options.md5.is_none() {
            options.secret.clone_from(&outer.secret);
        }
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        match options {
            Options { secret: Some(secret), link: None, md5: None } => {
                Ok(Some(Settings::Path { secret: secret.bytes().into() }))
            }
            Options { secret: Some(secret), .. } => Err(Error::at(
                secret.span,
                "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"",
            )),
            Options { link: Some(link), md5: Some(md5), .. } => {
                Ok(Some(Settings::Checked { link: cx.template(&link)?, md5: cx.template(&md5)? }))
            }
            _ => Ok(None),
        }
    }
}

/// When the link expires, as it says itself.
struct Expires(Vec<u8>);

/// "1": the link is good; "0": it was; no value: it never was.
fn checked(link: &Template, md5: &Template, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
    let link = link.fill_new(ex);
    let mut parts = link.splitn(2, |b| *b == b',');
    let (hash, time) = (parts.next().unwrap_or_default(), parts.next());
    let mut expires = None;
    if let Some(time) = time {
        expires = std::str::from_utf8(time).ok().and_then(foregate_conf::value::number).filter(|it| *it > 0);
        if expires.is_none() {
            return false;
        }
        ex.notes.put(Expires(time.into()));
    }
    if hash.len() > HASH_TEXT_BYTES_MAX {
        return false;
    }
    let given = base64::decode(hash, Alphabet::Url).unwrap_or_default();
    let right = Md5::digest(md5.fill_new(ex));
    if !same(&given, &right) {
        return false;
    }
    let over = expires.is_some_and(|it| it < clock::unix_ms() / 1000);
    out.push(if over { b'0' } else { b'1' });
    true
}

/// The link behind the hash, if the hash is right.
fn path(secret: &[u8], ex: &Exchange, out: &mut Vec<u8>) -> bool {
    let mut parts = ex.target.get(1..).unwrap_or_default().splitn(3, |b| *b == b'/');
    let (Some(_), Some(hash), Some(link)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let mut right = Vec::with_capacity(HEX_BYTES);
    foregate_core::push_hex(&Md5::new().chain_update(link).chain_update(secret).finalize(), &mut right);
    let good = !link.is_empty() && same(&hash.to_ascii_lowercase(), &right);
    if good {
        out.extend_from_slice(link);
    }
    good
}

/// Compares in a time that tells nothing about where they differ.
fn same(given: &[u8], right: &[u8]) -> bool {
    given.len() == right.len() && given.iter().zip(right).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use foregate_core::base64::{self, Alphabet};
    use md5::{Digest, Md5};

    use crate::testing::{error, value};

    #[test]
    fn links_with_a_hash() {
        let conf = "secure_link $arg_md5,$arg_e; secure_link_md5 \"secret$uri$arg_e\";";
        for (time, link_time, expected) in [
            ("4102444800", "4102444800", "1 4102444800"),
            ("1000000000", "1000000000", "0 1000000000"),
            ("4102444800", "4102444801", " 4102444801"),
            ("", "", " "),
            ("x", "x", " "),
        ] {
            let mut hash = Vec::new();
            base64::encode(&Md5::digest(format!("secret/a{time}")), Alphabet::Url, &mut hash);
            let hash = String::from_utf8(hash).unwrap();
            let request = format!("GET /a?md5={hash}&e={link_time}");
            assert_eq!(value(conf, &request, "$secure_link $secure_link_expires"), expected, "{time}");
        }
        let conf = "secure_link $arg_md5; secure_link_md5 x;";
        assert_eq!(value(conf, "GET /?md5=nd1eteJ-m9yCqg5iN_cWcg", "$secure_link"), "");
        assert_eq!(value(conf, "GET /?md5=nd0eZLYbFn7SFZCpuNV8fw==", "$secure_link"), "");
        let mut hash = Vec::new();
        base64::encode(&Md5::digest("x"), Alphabet::Url, &mut hash);
        let request = format!("GET /?md5={}==", String::from_utf8(hash).unwrap());
        assert_eq!(value(conf, &request, "$secure_link"), "1");
    }

    #[test]
    fn links_with_a_hash_in_their_path() {
        let conf = "secure_link_secret s;";
        let mut hash = Vec::new();
        foregate_core::push_hex(&Md5::digest("a/b.htmls"), &mut hash);
        let hash = String::from_utf8(hash).unwrap();
        for (target, expected) in [
            (format!("/p/{hash}/a/b.html"), "a/b.html"),
            (format!("/p/{}/a/b.html", hash.to_uppercase()), "a/b.html"),
            (format!("/p/{hash}/a/c.html"), ""),
            (format!("/p/{hash}/"), ""),
            (format!("/p/{hash}"), ""),
            ("/".to_owned(), ""),
        ] {
            assert_eq!(value(conf, &format!("GET {target}"), "$secure_link"), expected, "{target}");
        }
        assert_eq!(value("", "GET /", "$secure_link$secure_link_expires"), "");
    }

    #[test]
    fn the_two_ways_exclude_each_other() {
        assert_eq!(
            error("secure_link_secret s; secure_link x;"),
            "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\""
        );
        assert_eq!(error("secure_link_secret s; server { secure_link $uri; secure_link_md5 x; }"), "");
    }
}
