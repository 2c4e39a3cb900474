//! Tokens good and bad under all directives, and what the variables show of them.

use std::cell::Cell;
use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::Strings;
use foregate_core::{Reply, Stop};
use foregate_testkit::jwt::Signer;
use foregate_wire::Buf;

use super::claims::{Judged, KNOWN_MAX, judge, n_known};
use crate::testing::{Site, error, try_with};

fn files(keys: &str) -> Strings {
    let mut files = Strings::default();
    files.insert("/etc/nginx/keys.json", keys);
    files
}

fn signer() -> Signer {
    Signer::secret("a", "HS256", &[7; 32])
}

fn run<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    foregate_net::runtime::run(work).unwrap()
}

/// What the access phase says, and the first line that is logged.
async fn said(site: &Site, ex: &mut foregate_core::Exchange) -> (String, String) {
    let Some(on) = &site.settings().auth_jwt else { return ("off".into(), String::new()) };
    let said = match super::check(on, ex).await {
        Continue(true) => "allowed".into(),
        Continue(false) => "silent".into(),
        Break(Stop::Reply(reply)) => {
            let realm = reply.fields.get(b"WWW-Authenticate").unwrap_or_default();
            format!("{} {}", reply.status, String::from_utf8_lossy(realm)).trim_end().to_owned()
        }
        Break(_) => "?".into(),
    };
    let log = site.house.logged().first().cloned().unwrap_or_default();
    (said, log.split(", client").next().unwrap_or_default().replace("*1 ", ""))
}

fn check(conf: &str, request: &str) -> (String, String) {
    let (conf, request) = (conf.to_owned(), request.to_owned());
    run(async move {
        let site = Site::with(&conf, &[], files(&signer().jwks()));
        let mut ex = site.exchange(&format!("GET /d {request}"));
        said(&site, &mut ex).await
    })
}

const ON: &str = "auth_jwt \"of $uri\"; auth_jwt_key_file keys.json;";

#[test]
fn a_good_token_lets_in() {
    let token = signer().sign("{\"sub\":\"joe\"}");
    assert_eq!(check(ON, &format!("HTTP/1.1\nAuthorization: Bearer {token}")).0, "allowed");
    assert_eq!(check(ON, &format!("HTTP/1.1\nAuthorization: bEARER  {token}")).0, "allowed");
    let conf = "auth_jwt x token=$cookie_t; auth_jwt_key_file keys.json;";
    assert_eq!(check(conf, &format!("HTTP/1.1\nCookie: t={token}")).0, "allowed");
    assert_eq!(check("auth_jwt off; auth_jwt_key_file keys.json;", "").0, "off");
    assert_eq!(check(&format!("{ON} server {{ auth_jwt off; }}"), "").0, "off");
}

#[test]
fn without_one_nobody_comes_in() {
    let missing = ("401 Bearer realm=\"of /d\"", "info: no JSON Web Token was provided for \"auth_jwt\"");
    for request in ["", "HTTP/1.1\nAuthorization: Basic x", "HTTP/1.1\nAuthorization: Bearer ", "HTTP/1.1\nAuthorization: Bearer"] {
        let (said, log) = check(ON, request);
        assert_eq!((said.as_str(), log.as_str()), missing, "{request}");
    }
    let bad = |token: &str| check(ON, &format!("HTTP/1.1\nAuthorization: Bearer {token}"));
    let refused = "401 Bearer realm=\"of /d\",error=\"invalid_token\"";
    let cases = [
        ("x".into(), "it is not three parts with dots between them"),
        (Signer::secret("a", "HS256", &[8; 32]).sign("{}"), "the signature does not fit"),
        (Signer::secret("b", "HS256", &[7; 32]).sign("{}"), "no key has the \"kid\" \"b\""),
        (signer().sign("{\"exp\":1}"), "it expired "),
        (signer().sign("{\"nbf\":9999999999}"), "it is valid only in "),
        (signer().sign("[]"), "its payload is unfit: it is not a JSON object"),
        ("eyJhbGciOiJub25lIn0.e30.".into(), "\"alg\":\"none\" is no signature"),
    ];
    for (token, why) in cases {
        let (said, log) = bad(&token);
        assert_eq!(said, refused, "{token}");
        assert!(log.starts_with(&format!("error: JSON Web Token is refused: {why}")), "{log}");
    }
    let (said, log) = check("auth_jwt x;", "HTTP/1.1\nAuthorization: Bearer a.b.c");
    assert_eq!(said, "500");
    assert!(log.contains("has no keys"), "{log}");
}

#[test]
fn more_may_be_required() {
    let conf = "map $jwt_claim_iss $mine { default 0; joe 1; } auth_jwt x; auth_jwt_key_file keys.json;";
    let with = |require: &str, claims: &str| {
        let token = signer().sign(claims);
        check(&format!("{conf} {require}"), &format!("HTTP/1.1\nAuthorization: Bearer {token}")).0
    };
    let (mine, other) = ("{\"iss\":\"joe\"}", "{\"iss\":\"ann\"}");
    assert_eq!(with("auth_jwt_require $mine;", mine), "allowed");
    assert_eq!(with("auth_jwt_require $mine;", other), "401 Bearer realm=\"x\",error=\"invalid_token\"");
    assert_eq!(with("auth_jwt_require $mine error=403;", other), "403");
    assert_eq!(with("auth_jwt_require $mine; auth_jwt_require $jwt_claim_sub error=403;", mine), "403");
}

#[test]
fn claims_are_variables() {
    let show = |template: &'static str, claims: &str| {
        let token = signer().sign(claims);
        run(async move {
            let conf = format!("{ON} auth_jwt_claim_set $job info \"job title\"; auth_jwt_header_set $alg alg;");
            let site = Site::with(&conf, &[template], files(&signer().jwks()));
            let mut ex = site.exchange(&format!("GET / HTTP/1.1\nAuthorization: Bearer {token}"));
            // Ahead of the access phase, as limit_req asks, and behind it.
            let early = site.value(&mut ex, 0);
            let allowed = said(&site, &mut ex).await.0 == "allowed";
            assert_eq!(site.value(&mut ex, 0), early);
            (early, allowed)
        })
    };
    let claims = r#"{"sub":"joe","userId":7,"admin":true,"roles":["a","b"],"info":{"job title":"cook"}}"#;
    assert_eq!(
        show("$jwt_claim_sub $jwt_claim_userid $jwt_claim_admin $jwt_claim_roles $job", claims),
        ("joe 7 true a,b cook".into(), true)
    );
    assert_eq!(show("$jwt_header_alg $jwt_header_kid $alg", claims), ("HS256 a HS256".into(), true));
    assert_eq!(show("$jwt_payload", claims), (claims.into(), true));
    let lines = "{\"sub\":\"joe\\r\\nX-Admin: 1\",\r\n\"a\":1}";
    assert_eq!(show("$jwt_claim_sub", lines).0, "joe  X-Admin: 1", "no line end gets into a field");
    assert!(!show("$jwt_payload", lines).0.contains(['\r', '\n']));
    assert_eq!(show("$jwt_claim_info", claims).0, "{\"job title\":\"cook\"}");
    assert_eq!(show("$jwt_claim_none|$jwt_claim_sub", "{\"exp\":1,\"sub\":\"x\"}"), ("|".into(), false));
}

#[test]
fn what_was_judged_elsewhere_is_judged_again() {
    run(async {
        let other = Signer::secret("a", "HS256", &[8; 32]);
        let site = Site::with(ON, &["$jwt_claim_sub"], files(&signer().jwks()));
        let more = Site::with(ON, &["$jwt_claim_sub"], files(&other.jwks()));
        let mut ex = site.exchange(&format!("GET / HTTP/1.1\nAuthorization: Bearer {}", signer().sign("{\"sub\":\"x\"}")));
        assert_eq!(said(&site, &mut ex).await.0, "allowed");
        let moved = more.settings().auth_jwt.as_ref().unwrap();
        assert!(super::check(moved, &mut ex).await.is_break());
    });
}

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
    static ANSWER: Cell<(u16, u8)> = const { Cell::new((200, 7)) };
}

/// The issuer: `ANSWER` is its status and the byte that its secret is made of.
fn issuer(ex: &mut foregate_core::Exchange) -> Option<Reply> {
    assert_eq!((&ex.uri[..], &ex.args[..]), (&b"/_keys"[..], &b"x=1"[..]));
    ASKED.set(ASKED.get() + 1);
    let (status, secret) = ANSWER.get();
    let name = if secret == 7 { "a" } else { "b" };
    let keys = Signer::secret(name, "HS256", &[secret; 32]).jwks();
    Some(Reply::bytes(status, b"application/json", Buf::copy_from(keys.as_bytes())))
}

/// What tokens of the two keys are told in turn, and how often the issuer was asked.
fn asked(conf: &'static str, steps: &[(u16, u8, u8)]) -> (Vec<String>, usize) {
    let steps = steps.to_vec();
    run(async move {
        ASKED.set(0);
        let conf = format!("auth_jwt x; auth_jwt_key_request /_keys?x=1; {conf}");
        let site = Site::serving(&conf, issuer);
        let mut all = Vec::new();
        for (status, serves, signs) in steps {
            ANSWER.set((status, serves));
            let name = if signs == 7 { "a" } else { "b" };
            let token = Signer::secret(name, "HS256", &[signs; 32]).sign("{}");
            let mut ex = site.exchange(&format!("GET / HTTP/1.1\nAuthorization: Bearer {token}"));
            all.push(said(&site, &mut ex).await.0.chars().take(3).collect());
        }
        (all, ASKED.get())
    })
}

#[test]
fn keys_come_by_requests() {
    let words = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert_eq!(asked("", &[(200, 7, 7), (200, 7, 7), (200, 8, 8), (404, 7, 7)]), (words(&["all", "all", "all", "500"]), 4));
    // Kept, the issuer is asked once, and again only for a key that is not known, but not at every token's bidding.
    let kept = asked("auth_jwt_key_cache 1h;", &[(200, 7, 7), (200, 7, 7), (404, 7, 7), (200, 8, 8), (200, 8, 8)]);
    assert_eq!(kept, (words(&["all", "all", "all", "401", "401"]), 1));
    // Away from the beginning, it is not asked by every request.
    let away = asked("auth_jwt_key_cache 1h;", &[(503, 7, 7), (200, 7, 7), (200, 7, 7)]);
    assert_eq!(away, (words(&["500", "500", "500"]), 1));
}

#[test]
fn what_is_no_token_asks_no_issuer() {
    run(async {
        ASKED.set(0);
        let site = Site::serving("auth_jwt x; auth_jwt_key_request /_keys?x=1;", issuer);
        let mut ex = site.exchange("GET / HTTP/1.1\nAuthorization: Bearer junk");
        assert!(said(&site, &mut ex).await.0.starts_with("401 "));
        assert_eq!(ASKED.get(), 0);
    });
}

#[test]
fn many_good_tokens_do_not_drive_each_other_out_when_they_come_again() {
    run(async {
        let site = Site::with(ON, &[], files(&signer().jwks()));
        let on = site.settings().auth_jwt.as_ref().unwrap();
        let sets = [on.keys.clone()];
        let tokens: Vec<String> = (0..KNOWN_MAX).map(|n| signer().sign(&format!("{{\"n\":{n}}}"))).collect();
        for _ in 0..2 {
            tokens.iter().for_each(|it| assert!(matches!(judge(on, it.as_bytes(), &sets), Judged::Good(_))));
            assert_eq!(n_known(), KNOWN_MAX);
        }
    });
}

#[test]
fn mistakes_are_told() {
    for (conf, what) in [
        ("auth_jwt x cookie;", "invalid parameter \"cookie\""),
        ("auth_jwt x token=abc;", "invalid parameter \"token=abc\""),
        ("auth_jwt_type encrypted;", "\"auth_jwt_type encrypted\" is not available in this version"),
        ("auth_jwt_type other;", "invalid value \"other\""),
        ("auth_jwt_require $uri error=404;", "invalid error \"error=404\""),
        ("auth_jwt_require uri;", "invalid parameter \"uri\""),
        ("auth_jwt_claim_set job x;", "invalid variable name \"job\""),
        ("auth_jwt_key_request keys;", "invalid uri \"keys\""),
        ("auth_jwt x; auth_jwt_key_file none;", "open() \"/etc/nginx/none\" failed (2: No such file or directory)"),
    ] {
        assert_eq!(error(conf), what, "{conf}");
    }
    let why = |keys: &str| try_with("auth_jwt x; auth_jwt_key_file keys.json;", files(keys)).err().unwrap().what;
    assert_eq!(why("x"), "\"/etc/nginx/keys.json\" is no set of keys: it is not JSON from byte 0 on");
    assert_eq!(
        why("{\"keys\":[{\"kty\":\"RSA\"}]}"),
        "\"/etc/nginx/keys.json\" has no key that can be used: key 1 lacks a member"
    );
    let short = Site::with(ON, &[], files("{\"keys\":[{\"k\":\"ZmFudGFzdGljand0\",\"kty\":\"oct\",\"kid\":\"0001\"}]}"));
    assert_eq!(
        short.warnings,
        ["key \"0001\" has 12 bytes where 32 are the least: who has a token may guess it, in \"/etc/nginx/keys.json\""]
    );
}
