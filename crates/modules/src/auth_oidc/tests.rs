//! What a block of `oidc_provider` may say. The login itself is tested end to end.

use foregate_conf::Strings;
use foregate_jose::json::Object;

use super::provider::Providers;
use super::tokens::binds;
use crate::testing::{Site, error, try_with};

const PLAIN: &str = "issuer http://idp; client_id me; client_secret a-secret-of-some-length;";

fn files() -> Strings {
    let mut files = Strings::default();
    files.insert("/etc/nginx/short.key", "too short\n");
    files.insert("/etc/nginx/good.key", "0123456789abcdefghijklmnopqrstuvwxyz\n");
    files
}

#[test]
fn mistakes_are_told() {
    for (block, what) in [
        ("", "\"issuer\" is missing for oidc_provider \"p\""),
        ("issuer http://a;", "\"client_id\" is missing for oidc_provider \"p\""),
        ("issuer a.test; client_id me;", "invalid value \"a.test\" in \"issuer\" directive"),
        ("issuer http://a; issuer http://a;", "\"issuer\" directive is duplicate"),
        ("nonsense x;", "unknown directive \"nonsense\""),
        (&format!("{PLAIN} pkce yes;"), "invalid value \"yes\" in \"pkce\" directive"),
        (&format!("{PLAIN} redirect_uri cb;"), "invalid value \"cb\" in \"redirect_uri\" directive"),
        (&format!("{PLAIN} logout_uri /x?y;"), "invalid value \"/x?y\" in \"logout_uri\" directive"),
        (&format!("{PLAIN} post_logout_uri x;"), "invalid value \"x\" in \"post_logout_uri\" directive"),
        (&format!("{PLAIN} session_timeout x;"), "invalid value \"x\" in \"session_timeout\" directive"),
        (&format!("{PLAIN} cookie_name 'a b';"), "invalid value \"a b\" in \"cookie_name\" directive"),
        (&format!("{PLAIN} ssl_trusted_certificate no;"), "open() \"/etc/nginx/no\" failed (2: No such file or directory)"),
    ] {
        let said = error(&format!("oidc_provider p {{ {block} }}"));
        assert_eq!(said, what, "{block}");
    }
    assert_eq!(error("auth_oidc p;"), "unknown OpenID Connect provider \"p\"");
    let twice = format!("oidc_provider p {{ {PLAIN} }} oidc_provider p {{ {PLAIN} }}");
    assert_eq!(error(&twice), "duplicate OpenID Connect provider \"p\"");
    let short = try_with(&format!("oidc_provider p {{ {PLAIN} session_key short.key; }}"), files());
    assert_eq!(short.err().unwrap().what, "the session key in \"short.key\" is shorter than 32 bytes");
}

#[test]
fn warnings_are_given() {
    let warnings = |block: &str| {
        let site = Site::with(&format!("oidc_provider p {{ {block} }}"), &[], files());
        site.warnings.iter().map(|it| it.split(':').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let plain = "the issuer \"http";
    assert_eq!(warnings(PLAIN), [plain]);
    assert_eq!(warnings("issuer http://idp; client_id me;"), [plain, "sessions of oidc_provider \"p\" end with the process"]);
    assert_eq!(warnings("issuer http://idp; client_id me; session_key good.key;"), [plain]);
    assert_eq!(warnings(&format!("{PLAIN} session_store x;"))[1], "\"session_store\" is ignored");
}

#[test]
fn a_place_may_turn_it_off() {
    let conf = |more: &str| format!("oidc_provider p {{ {PLAIN} }} auth_oidc p; {more}");
    assert!(Site::new(&conf("")).settings().auth_oidc.is_some());
    assert!(Site::new(&conf("server { auth_oidc off; }")).settings().auth_oidc.is_none());
    let scope = "oidc_provider p { issuer http://idp/; client_id me; scope profile openid 'email groups'; }";
    let site = Site::new(&format!("{scope} auth_oidc p;"));
    let provider = &site.settings().auth_oidc.as_ref().unwrap().provider;
    assert_eq!(provider.scope, "openid profile email groups");
    assert_eq!(provider.config_url.path, "/.well-known/openid-configuration");
    assert_eq!(site.house.shared.get::<Providers>().map(|it| it.0.len()), Some(1));
}

#[test]
fn an_id_token_must_be_for_us() {
    let site = Site::new(&format!("oidc_provider p {{ {PLAIN} }} auth_oidc p;"));
    let provider = &site.settings().auth_oidc.as_ref().unwrap().provider;
    for (claims, good) in [
        (r#"{"iss":"http://idp","aud":"me","sub":"a","exp":1}"#, true),
        (r#"{"iss":"http://idp","aud":["me"],"sub":"a","exp":1}"#, true),
        (r#"{"iss":"http://idp","aud":["me","you"],"azp":"me","sub":"a","exp":1}"#, true),
        (r#"{"iss":"http://idp","aud":["me","you"],"sub":"a","exp":1}"#, false),
        (r#"{"iss":"http://idp","aud":"me","azp":"you","sub":"a","exp":1}"#, false),
        (r#"{"iss":"http://idp","aud":"you","azp":"me","sub":"a","exp":1}"#, false),
        (r#"{"iss":"http://idp/","aud":"me","sub":"a","exp":1}"#, false),
        (r#"{"iss":"http://idp","aud":"me","exp":1}"#, false),
        (r#"{"iss":"http://idp","aud":"me","sub":"a"}"#, false),
        (r#"{"iss":["http://idp"],"aud":{"me":1},"sub":1,"exp":1}"#, false),
    ] {
        let claims = Object::parse(claims.as_bytes()).unwrap();
        assert_eq!(binds(provider, &claims).is_ok(), good, "{claims}");
    }
}
