//! Which client gets which content coding: one negotiation for all, with `gzip_vary`, `gzip_proxied`,
//! `gzip_http_version` and `gzip_disable`.
//!
//! The client's weights decide, and among equals our order: [`Coding`]. As in the modules that they are named after,
//! brotli and zstd ask for nothing but `Accept-Encoding`; the other `gzip_…` directives are about gzip alone, which
//! is read just as nginx reads it, so that with `gzip` alone nothing differs.

pub mod accept;

use foregate_conf::{Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Exchange, Regex, Reply, Scope, Version};
use foregate_net::clock;
use foregate_wire::date;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    vary: Option<bool>,
    http_version: Option<usize>,
    proxied: Option<u16>,
    disable: Option<Vec<Word>>,
    /// Never inherited, so that each is reported once.
    warnings: Vec<Error>,
}

/// `None` stands for nginx's defaults.
pub struct Settings {
    vary: bool,
    /// `gzip_http_version 1.0`
    http10: bool,
    proxied: u16,
    disable_msie6: bool,
    disable: Box<[Regex]>,
}

const HTTP_VERSIONS: [&str; 2] = ["1.0", "1.1"];

/// Values of `gzip_proxied`: each is the bit of its position.
const PROXIED: [&str; 9] =
    ["off", "expired", "no-cache", "no-store", "private", "no_last_modified", "no_etag", "auth", "any"];
const OFF: u16 = 1;
const EXPIRED: u16 = 1 << 1;
const NO_CACHE: u16 = 1 << 2;
const NO_STORE: u16 = 1 << 3;
const PRIVATE: u16 = 1 << 4;
const NO_LAST_MODIFIED: u16 = 1 << 5;
const NO_ETAG: u16 = 1 << 6;
const AUTH: u16 = 1 << 7;
const ANY: u16 = 1 << 8;

/// Whether the client takes gzip and the configuration lets it have this answer so.
pub fn accepts_gzip(on: Option<&Settings>, ex: &Exchange, reply: &Reply) -> bool {
    if ex.subrequest_depth > 0 || !ex.field(b"Accept-Encoding").is_some_and(accept::takes_gzip) {
        return false;
    }
    let http10 = on.is_some_and(|on| on.http10);
    if ex.version < if http10 { Version::H10 } else { Version::H11 } {
        return false;
    }
    let proxied = on.map_or(OFF, |on| on.proxied);
    if ex.field(b"Via").is_some() && !proxied_may(proxied, ex, reply) {
        return false;
    }
    !on.is_some_and(|on| on.disables(ex))
}

/// A content coding that we make, the one we like best first: zstd costs the least and packs nearly as well as
/// brotli, gzip is for those who know nothing better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

/// The codings that an answer could be sent in.
#[derive(Clone, Copy, Default)]
pub struct Offers {
    pub zstd: bool,
    pub brotli: bool,
    pub gzip: bool,
}

impl Coding {
    /// As `Accept-Encoding` and `Content-Encoding` name it.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Zstd => b"zstd",
            Self::Brotli => b"br",
            Self::Gzip => b"gzip",
        }
    }
}

impl Offers {
    pub fn any(self) -> bool {
        self.zstd || self.brotli || self.gzip
    }
}

/// Those of the codings that the client takes, the one it is to have first.
pub fn rank(on: Option<&Settings>, ex: &Exchange, reply: &Reply, offers: Offers) -> [Option<Coding>; 3] {
    let mut ranked = [None; 3];
    let Some(value) = ex.field(b"Accept-Encoding").filter(|_| ex.subrequest_depth == 0) else { return ranked };
    // Unpacked goes before what the client likes less; if it does not say, nothing is the better for it.
    let identity = accept::weight_of(value, b"identity");
    let weight = |coding: Coding, offered: bool| match coding {
        _ if !offered => 0,
        Coding::Gzip if !accepts_gzip(on, ex, reply) => 0,
        Coding::Gzip => accept::weight_of(value, b"gzip").max(1),
        _ => Some(accept::weight_of(value, coding.name())).filter(|it| *it >= identity).unwrap_or(0),
    };
    let weighed = [(Coding::Zstd, offers.zstd), (Coding::Brotli, offers.brotli), (Coding::Gzip, offers.gzip)];
    let mut weighed = weighed.map(|(coding, offered)| (weight(coding, offered), coding));
    weighed.sort_by_key(|it| std::cmp::Reverse(it.0));
    for (slot, (weight, coding)) in ranked.iter_mut().zip(weighed) {
        *slot = (weight > 0).then_some(coding);
    }
    ranked
}

/// A note: the answer would be another one for a client that takes other encodings.
pub struct Varies;

/// Whether caches are to be told of such answers.
pub fn tells(on: Option<&Settings>) -> bool {
    on.is_some_and(|on| on.vary)
}

/// Tells caches that clients that take other encodings get another answer, if they are to be told.
pub fn vary(on: Option<&Settings>, reply: &mut Reply) {
    if tells(on) {
        reply.fields.push(b"Vary", b"Accept-Encoding");
    }
}

/// What holds for requests that another proxy passed on (`Via`).
fn proxied_may(flags: u16, ex: &Exchange, reply: &Reply) -> bool {
    let has = |flag| flags & flag != 0;
    if has(OFF) {
        return false;
    }
    if has(ANY) || has(AUTH) && ex.field(b"Authorization").is_some() {
        return true;
    }
    if let Some(expires) = reply.fields.get(b"Expires") {
        let now = || Some(clock::unix_ms() as i64 / 1000);
        let date = reply.fields.get(b"Date").map_or_else(now, date::parse);
        return has(EXPIRED) && date::parse(expires).zip(date).is_some_and(|(expires, date)| expires < date);
    }
    if reply.fields.contains(b"Cache-Control") {
        let says = |token: &[u8]| {
            let mut lines = reply.fields.get_all(b"Cache-Control");
            lines.any(|line| {
                let mut parts = line.split(|b| matches!(b, b',' | b';'));
                parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
            })
        };
        return has(NO_CACHE) && says(b"no-cache")
            || has(NO_STORE) && says(b"no-store")
            || has(PRIVATE) && says(b"private");
    }
    let kept = |flag, name: &[u8]| has(flag) && reply.fields.contains(name);
    !kept(NO_LAST_MODIFIED, b"Last-Modified") && !kept(NO_ETAG, b"ETag")
}

impl Settings {
    /// Some old browsers say that they take gzip and do not. A pattern too hard to match counts as one.
    fn disables(&self, ex: &Exchange) -> bool {
        let Some(agent) = ex.field(b"User-Agent") else { return false };
        self.disable_msie6 && accept::is_msie6(agent)
            || self.disable.iter().any(|it| it.is_match(agent).unwrap_or(true))
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("gzip_vary", Scope::ANY_HTTP, |o| &mut o.vary),
        Directive::choice("gzip_http_version", Scope::ANY_HTTP, &HTTP_VERSIONS, |o| &mut o.http_version),
        Directive::own("gzip_proxied", Scope::ANY_HTTP, Args::AtLeast(1), proxied, |o, outer| {
            o.proxied = o.proxied.or(outer.proxied);
        }),
        Directive::own("gzip_disable", Scope::ANY_HTTP, Args::AtLeast(1), disable, |o, outer| {
            o.disable = o.disable.take().or_else(|| outer.disable.clone());
        }),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        options.warnings.into_iter().for_each(|it| cx.warn(it));
        let (mut disable, mut disable_msie6) = (Vec::new(), false);
        for word in options.disable.unwrap_or_default() {
            match word.text.as_str() {
                "msie6" => disable_msie6 = true,
                // Asks for what only a server built for it would notice: that memory runs out.
                "degradation" => (),
                _ => disable.push(cx.regex(&word, true)?),
            }
        }
        let settings = Settings {
            vary: options.vary.unwrap_or(false),
            http10: options.http_version == Some(0),
            proxied: options.proxied.unwrap_or(OFF),
            disable_msie6,
            disable: disable.into(),
        };
        let plain = !settings.vary && !settings.http10 && settings.proxied == OFF;
        let plain = plain && !disable_msie6 && settings.disable.is_empty();
        Ok((!plain).then_some(settings))
    }
}

fn proxied(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let flags = o.proxied.get_or_insert(0);
    for word in &node.args {
        let Some(bit) = PROXIED.iter().position(|it| *word == **it) else {
            let error = Error::at(word.span, format!("invalid value \"{word}\""));
            return Err(error.advise(format!("one or more of: {}", PROXIED.join(", "))));
        };
        if *flags & 1 << bit != 0 {
            o.warnings.push(Error::at(word.span, format!("duplicate value \"{word}\"")).warn());
        }
        *flags |= 1 << bit;
    }
    Ok(())
}

fn disable(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.disable.get_or_insert_default().extend_from_slice(&node.args);
    Ok(())
}

#[cfg(test)]
mod tests {
    use foregate_core::Reply;

    use crate::testing::{Site, error};

    fn check(conf: &str, request: &str, fields: &[(&str, &str)]) -> bool {
        let site = Site::new(conf);
        let ex = site.exchange(&format!("GET / HTTP/1.1\nHost: h\nAccept-Encoding: gzip\n{request}"));
        let mut reply = Reply::status(200);
        reply.fields.extend(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        super::accepts_gzip(site.settings().encoding.as_deref(), &ex, &reply)
    }

    #[test]
    fn answers_through_other_proxies_follow_gzip_proxied() {
        let via = "Via: 1.1 x";
        let past = ("Expires", "Thu, 01 Jan 1970 00:00:01 GMT");
        let future = ("Expires", "Thu, 31 Dec 2037 23:55:55 GMT");
        for (conf, fields, want) in [
            ("", &[][..], false),
            ("gzip_proxied any;", &[], true),
            ("gzip_proxied any off;", &[], false),
            ("gzip_proxied expired;", &[past], true),
            ("gzip_proxied expired;", &[future], false),
            ("gzip_proxied expired;", &[future, ("Date", "Thu, 31 Dec 2037 23:55:56 GMT")], true),
            ("gzip_proxied auth;", &[past], false),
            ("gzip_proxied no-cache;", &[("Cache-Control", "a, No-Cache")], true),
            ("gzip_proxied no-store private;", &[("Cache-Control", "no-cache")], false),
            ("gzip_proxied private;", &[("Cache-Control", "public"), ("Cache-Control", "private")], true),
            ("gzip_proxied no_etag;", &[("ETag", "x")], false),
            ("gzip_proxied no_etag;", &[("Last-Modified", "x")], true),
            ("gzip_proxied auth;", &[], true),
        ] {
            assert_eq!(check(conf, via, fields), want, "{conf} {fields:?}");
        }
        assert!(check("gzip_proxied auth;", "Via: 1.1 x\nAuthorization: y", &[past]));
        assert!(check("", "X: y", &[]));
    }

    #[test]
    fn the_client_s_weights_decide_and_then_our_order() {
        use super::{Coding, Coding::*, Offers};
        let site = Site::new("gzip_proxied any;");
        let check = |accept: &str, more: &str, [zstd, brotli, gzip]: [bool; 3]| -> Vec<Coding> {
            let ex = site.exchange(&format!("GET / HTTP/1.1\nHost: h\nAccept-Encoding: {accept}\n{more}"));
            let offers = Offers { zstd, brotli, gzip };
            let on = site.settings().encoding.as_deref();
            super::rank(on, &ex, &Reply::status(200), offers).into_iter().flatten().collect()
        };
        let all = [true; 3];
        assert_eq!(check("gzip, deflate, br, zstd", "X: y", all), [Zstd, Brotli, Gzip]);
        assert_eq!(check("gzip, deflate, br, zstd", "X: y", [false, true, true]), [Brotli, Gzip]);
        assert_eq!(check("gzip;q=1, br;q=0.9, zstd;q=0.95", "X: y", all), [Gzip, Zstd, Brotli]);
        assert_eq!(check("zstd;q=0, br;q=0.1, gzip;q=0", "X: y", all), [Brotli]);
        assert_eq!(check("br;q=0, *;q=0.5", "X: y", all), [Zstd]);
        assert_eq!(check("identity, br;q=0.5", "X: y", all), []);
        assert_eq!(check("identity, gzip;q=0.5", "X: y", all), [Gzip]);
        assert_eq!(check("identity;q=0.5, *;q=0", "X: y", all), []);
        assert_eq!(check("deflate", "X: y", all), []);
    }

    #[test]
    fn gzip_s_conditions_are_gzip_s() {
        use super::{Coding::*, Offers};
        let site = Site::new("gzip_disable old;");
        let offers = Offers { zstd: true, brotli: true, gzip: true };
        for more in ["Via: 1.1 x", "User-Agent: old"] {
            let ex = site.exchange(&format!("GET / HTTP/1.1\nHost: h\nAccept-Encoding: gzip, br\n{more}"));
            let ranked = super::rank(site.settings().encoding.as_deref(), &ex, &Reply::status(200), offers);
            assert_eq!(ranked, [Some(Brotli), None, None], "{more}");
        }
    }

    #[test]
    fn some_agents_get_no_gzip() {
        let msie6 = "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)";
        assert!(check("", msie6, &[]));
        assert!(!check("gzip_disable msie6;", msie6, &[]));
        assert!(check("gzip_disable msie6;", &format!("{msie6} SV1"), &[]));
        assert!(!check("gzip_disable ^x mozilla; server { location / { } }", msie6, &[]));
        assert!(check("gzip_disable ^x;", "X: y", &[]));
        assert_eq!(error("gzip_proxied some;"), "invalid value \"some\"");
        assert_eq!(Site::new("gzip_proxied any any;").warnings, ["duplicate value \"any\""]);
    }

    #[test]
    fn old_versions_get_none_unless_told() {
        let site = Site::new("server { gzip_http_version 1.0; }");
        let ex = site.exchange("GET / HTTP/1.0\nHost: h\nAccept-Encoding: x, gzip");
        assert!(super::accepts_gzip(site.settings().encoding.as_deref(), &ex, &Reply::status(200)));
        assert!(!super::accepts_gzip(None, &ex, &Reply::status(200)));
    }
}
