//! `security_headers`: the header fields that browsers want to be told for a site's safety, in one line.
//!
//! The names are those of GetPageSpeed's ngx_security_headers, the values what OWASP and Mozilla's Observatory advise
//! as far as it breaks no page. `Strict-Transport-Security` is not among them: it binds visitors for years, which is
//! for `hsts` to say.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Directive, Exchange, Reply, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    on: Option<bool>,
    frame: Option<Word>,
    csp: Option<Word>,
    referrer: Option<Word>,
    permissions: Option<Word>,
    coop: Option<Word>,
    coep: Option<Word>,
    corp: Option<Word>,
    xss: Option<Word>,
}

/// Fields to be added where the answer has none of the name.
pub struct Settings {
    /// To every answer.
    always: Box<[Field]>,
    /// To what a browser may show as a page of its own.
    pages: Box<[Field]>,
}

struct Field {
    name: &'static str,
    value: Box<[u8]>,
}

/// Written in the place of a value: the field is left out.
const OMIT: &str = "omit";

/// What a page that says nothing may not use: devices, positions, payments.
const PERMISSIONS: &str = "accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), \
                           microphone=(), payment=(), usb=()";

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("security_headers", Scope::ANY_HTTP, |o| &mut o.on),
        Directive::text("security_headers_frame", Scope::ANY_HTTP, |o| &mut o.frame),
        Directive::text("security_headers_csp", Scope::ANY_HTTP, |o| &mut o.csp),
        Directive::text("security_headers_referrer_policy", Scope::ANY_HTTP, |o| &mut o.referrer),
        Directive::text("security_headers_permissions_policy", Scope::ANY_HTTP, |o| &mut o.permissions),
        Directive::text("security_headers_coop", Scope::ANY_HTTP, |o| &mut o.coop),
        Directive::text("security_headers_coep", Scope::ANY_HTTP, |o| &mut o.coep),
        Directive::text("security_headers_corp", Scope::ANY_HTTP, |o| &mut o.corp),
        Directive::text("security_headers_xss", Scope::ANY_HTTP, |o| &mut o.xss),
    ];

    fn resolve(o: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let frame = among(o.frame.as_ref(), &[("sameorigin", "SAMEORIGIN"), ("deny", "DENY")], "SAMEORIGIN")?;
        let framing = match frame {
            Some("SAMEORIGIN") => Some("frame-ancestors 'self'"),
            Some(_) => Some("frame-ancestors 'none'"),
            None => None,
        };
        let xss = among(o.xss.as_ref(), &[("off", "0"), ("on", "1"), ("block", "1; mode=block")], "")?;
        let all = [
            (true, "X-Content-Type-Options", Some("nosniff")),
            (true, "Referrer-Policy", referrer(o.referrer.as_ref())?),
            (true, "Cross-Origin-Resource-Policy", among(o.corp.as_ref(), CORP, "same-site")?),
            (false, "X-Frame-Options", frame),
            (false, "Content-Security-Policy", text(o.csp.as_ref(), framing)?),
            (false, "Permissions-Policy", text(o.permissions.as_ref(), Some(PERMISSIONS))?),
            (false, "Cross-Origin-Opener-Policy", among(o.coop.as_ref(), COOP, "same-origin")?),
            (false, "Cross-Origin-Embedder-Policy", among(o.coep.as_ref(), COEP, "")?),
            (false, "X-XSS-Protection", xss),
            (false, "X-Permitted-Cross-Domain-Policies", Some("none")),
        ];
        let of = |always: bool| -> Box<[Field]> {
            let chosen = all.iter().filter(|(for_all, _, value)| *for_all == always && *value != Some(""));
            let field = |name, value: &str| Field { name, value: value.as_bytes().into() };
            chosen.filter_map(|(_, name, value)| value.map(|it| field(*name, it))).collect()
        };
        Ok((o.on == Some(true)).then(|| Settings { always: of(true), pages: of(false) }))
    }
}

/// Values of a directive that stand for themselves.
type Choices = &'static [(&'static str, &'static str)];

const COOP: Choices = &[
    ("same-origin", "same-origin"),
    ("same-origin-allow-popups", "same-origin-allow-popups"),
    ("noopener-allow-popups", "noopener-allow-popups"),
    ("unsafe-none", "unsafe-none"),
];
const COEP: Choices =
    &[("require-corp", "require-corp"), ("credentialless", "credentialless"), ("unsafe-none", "unsafe-none")];
const CORP: Choices =
    &[("same-origin", "same-origin"), ("same-site", "same-site"), ("cross-origin", "cross-origin")];

/// One of a few values; `None`: to be left out.
fn among(word: Option<&Word>, choices: Choices, usual: &'static str) -> Result<Option<&'static str>, Error> {
    let Some(word) = word else { return Ok(Some(usual)) };
    if *word == OMIT {
        return Ok(None);
    }
    let found = choices.iter().find(|(name, _)| *word == *name);
    found.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|it| it.0).chain([OMIT]).collect();
        Error::at(word.span, format!("invalid value \"{word}\"")).advise(format!("one of: {}", names.join(", ")))
    })
}

/// The policies of Referrer-Policy (W3C, 3), several of them with commas between.
fn referrer(word: Option<&Word>) -> Result<Option<&str>, Error> {
    const POLICIES: [&str; 8] = [
        "no-referrer",
        "no-referrer-when-downgrade",
        "same-origin",
        "origin",
        "strict-origin",
        "origin-when-cross-origin",
        "strict-origin-when-cross-origin",
        "unsafe-url",
    ];
    let Some(word) = word else { return Ok(Some("strict-origin-when-cross-origin")) };
    if *word != OMIT && !word.split(',').all(|it| POLICIES.contains(&it.trim())) {
        let error = Error::at(word.span, format!("invalid value \"{word}\""));
        return Err(error.advise(format!("one of: {}, {OMIT}", POLICIES.join(", "))));
    }
    Ok((*word != OMIT).then_some(word.text.as_str()))
}

/// Any text that may stand in a header field.
fn text<'a>(word: Option<&'a Word>, usual: Option<&'a str>) -> Result<Option<&'a str>, Error> {
    match word {
        None => Ok(usual),
        Some(word) if *word == OMIT => Ok(None),
        Some(word) if word.is_empty() || word.bytes().iter().any(u8::is_ascii_control) => {
            Err(Error::at(word.span, "this cannot be the value of a header field")
                .advise(format!("write it on one line, or \"{OMIT}\" to leave the field out")))
        }
        Some(word) => Ok(Some(&word.text)),
    }
}

/// Header filter, for every status. What the application, or `add_header`, has said stays the only one.
pub fn filter(on: &Settings, ex: &Exchange, reply: &mut Reply) {
    // What a cache keeps has been told already.
    if ex.subrequest_depth > 0 || reply.status < 200 || reply.status == 304 {
        return;
    }
    let is_page = may_be_page(reply.fields.get(b"Content-Type"));
    let pages = on.pages.iter().filter(|_| is_page);
    for field in on.always.iter().chain(pages) {
        if !reply.fields.contains(field.name.as_bytes()) {
            reply.fields.push(field.name.as_bytes(), &field.value);
        }
    }
}

/// Whether a browser may show it as a page, in which scripts run or which may be framed.
fn may_be_page(content_type: Option<&[u8]>) -> bool {
    let Some(content_type) = content_type else { return true };
    let end = content_type.iter().position(|b| *b == b';').unwrap_or(content_type.len());
    let kind = content_type[..end].trim_ascii();
    const KINDS: [&[u8]; 6] = [
        b"text/html",
        b"application/xhtml+xml",
        b"image/svg+xml",
        b"text/xml",
        b"application/xml",
        b"application/pdf",
    ];
    KINDS.iter().any(|it| it.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use foregate_core::Reply;
    use foregate_wire::Buf;

    use crate::testing::{Site, error};

    /// The fields that an answer of this type ends up with, besides its type.
    fn check(conf: &str, content_type: &str, said: &[(&str, &str)]) -> Vec<String> {
        let site = Site::new(conf);
        let ex = site.exchange("GET / HTTP/1.1\nHost: h");
        let mut reply = Reply::bytes(200, content_type.as_bytes(), Buf::default());
        said.iter().for_each(|(name, value)| reply.fields.push(name.as_bytes(), value.as_bytes()));
        if let Some(on) = &site.settings().security_headers {
            super::filter(on, &ex, &mut reply);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = reply.fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value)));
        fields.filter(|it| !it.starts_with("Content-Type")).collect()
    }

    #[test]
    fn pages_have_all_of_them_and_other_things_what_concerns_them() {
        assert_eq!(check("", "text/html", &[]), [""; 0]);
        let page = check("security_headers on;", "text/html; charset=utf-8", &[]);
        let names: Vec<&str> = page.iter().filter_map(|it| it.split(':').next()).collect();
        assert_eq!(
            names,
            [
                "X-Content-Type-Options",
                "Referrer-Policy",
                "Cross-Origin-Resource-Policy",
                "X-Frame-Options",
                "Content-Security-Policy",
                "Permissions-Policy",
                "Cross-Origin-Opener-Policy",
                "X-Permitted-Cross-Domain-Policies",
            ]
        );
        assert!(page.contains(&"Content-Security-Policy: frame-ancestors 'self'".to_owned()));
        let image = check("security_headers on;", "image/png", &[]);
        assert_eq!(
            image,
            [
                "X-Content-Type-Options: nosniff",
                "Referrer-Policy: strict-origin-when-cross-origin",
                "Cross-Origin-Resource-Policy: same-site"
            ]
        );
    }

    #[test]
    fn what_the_application_says_stays_the_only_one() {
        let page = check("security_headers on;", "text/html", &[("x-frame-options", "DENY")]);
        let frame: Vec<_> =
            page.iter().filter(|it| it.to_ascii_lowercase().starts_with("x-frame-options")).collect();
        assert_eq!(frame, ["x-frame-options: DENY"]);
    }

    #[test]
    fn each_may_be_changed_or_left_out() {
        let conf = "security_headers on; security_headers_frame deny; security_headers_coop omit;
            security_headers_csp \"default-src 'self'\"; security_headers_xss off; server {
            security_headers_referrer_policy no-referrer; security_headers_corp omit;
            security_headers_permissions_policy omit; security_headers_coep require-corp; }";
        assert_eq!(
            check(conf, "text/html", &[]),
            [
                "X-Content-Type-Options: nosniff",
                "Referrer-Policy: no-referrer",
                "X-Frame-Options: DENY",
                "Content-Security-Policy: default-src 'self'",
                "Cross-Origin-Embedder-Policy: require-corp",
                "X-XSS-Protection: 0",
                "X-Permitted-Cross-Domain-Policies: none",
            ]
        );
        let framing = check("security_headers on; security_headers_frame deny;", "text/html", &[]);
        assert!(framing.contains(&"Content-Security-Policy: frame-ancestors 'none'".to_owned()));
        assert!(check("security_headers on; server { security_headers off; }", "text/html", &[]).is_empty());
    }

    #[test]
    fn mistakes() {
        assert_eq!(error("security_headers_frame never;"), "invalid value \"never\"");
        assert_eq!(error("security_headers_referrer_policy origin,what;"), "invalid value \"origin,what\"");
        assert_eq!(error("security_headers_csp \"a\nb\";"), "this cannot be the value of a header field");
    }
}
