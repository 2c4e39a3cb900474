//! Configurations of issuers: what is read, and what is refused.

use foregate_acme::{Challenge, Issuers};
use foregate_conf::Strings;
use foregate_core::testing;

use crate::testing::{Site, error, try_with};

#[test]
fn mistakes_are_told() {
    for (conf, what) in [
        ("acme_issuer a;", "\"uri\" is missing for acme_issuer \"a\""),
        ("acme_issuer a { uri ftp://x; }", "invalid value \"ftp://x\" in \"uri\" directive"),
        ("acme_issuer a { uri https://x/; speed 3; }", "unknown directive \"speed\""),
        ("acme_issuer a { uri https://x/; uri https://y/; }", "\"uri\" directive is duplicate"),
        ("acme_issuer letsencrypt; acme_issuer letsencrypt;", "duplicate acme_issuer \"letsencrypt\""),
        ("acme_issuer letsencrypt yes;", "invalid parameter \"yes\""),
        ("acme_issuer letsencrypt { challenge mail; }", "unsupported challenge: mail"),
        ("acme_issuer letsencrypt { challenge dns-01; }", "\"dns\" is missing for the challenge dns-01"),
        ("acme_issuer letsencrypt { dns godns; }", "\"dns godns\": unknown provider \"godns\"; there are rfc2136"),
        ("acme_issuer letsencrypt { dns cloudflare; }", "\"dns cloudflare\": token=… is missing"),
        ("acme_issuer letsencrypt { dns cloudflare token=a x=y; }", "\"dns cloudflare\": unknown parameter \"x\""),
        ("acme_issuer letsencrypt { dns exec program=hook; }", "\"dns exec\": program=… must be a full path"),
        ("acme_issuer letsencrypt { fallback b; }", "issuer \"b\" cannot be fallen back on"),
        ("acme_issuer letsencrypt { fallback letsencrypt; }", "issuer \"letsencrypt\" cannot be fallen back on"),
        ("acme_issuer letsencrypt { external_account_key k data:!; }", "the external account's key is no base64url"),
        ("acme_issuer letsencrypt { account_key none; }", "cannot load \"/etc/nginx/none\""),
        ("acme_shared_zone zone=a;", "invalid zone size \"\""),
        ("server { acme_certificate a; }", "issuer \"a\" is missing"),
        ("acme_issuer internal; server { acme_certificate internal a..b; }", "invalid server name: a..b"),
        ("acme_issuer letsencrypt; server { acme_certificate letsencrypt *.a.test; }", "invalid server name: *.a.test"),
        ("acme_issuer internal; server { acme_certificate internal key=dsa; }", "unsupported key \"dsa\""),
    ] {
        let seen = error(conf);
        assert!(seen.starts_with(what), "{conf}: {seen}");
    }
}

#[test]
fn nginx_acme_s_block_is_read() {
    let conf = "acme_issuer example {
            uri https://acme.example.com/directory;
            account_key ecdsa:384;
            challenge tls-alpn;
            contact admin@example.test mailto:b@example.test;
            external_account_key kid eab.key;
            profile shortlived require;
            preferred_chain 'Root';
            state_path off;
            ssl_verify off;
            common_name_in_csr on;
            accept_terms_of_service;
            fallback internal;
        }
        acme_issuer internal { lifetime 1d; }
        server { acme_certificate example www.example.test 192.0.2.1 key=rsa:2048; }";
    let mut files = Strings::default();
    files.insert("/etc/nginx/eab.key", "c2VjcmV0\n");
    let site = try_with(conf, files).unwrap_or_else(|why| panic!("{}", why.what));
    let on = site.settings().acme.as_ref().unwrap();
    let issuer = &on.issuer;
    assert_eq!(on.names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["www.example.test", "192.0.2.1"]);
    assert_eq!(issuer.contacts, ["mailto:admin@example.test", "mailto:b@example.test"]);
    assert_eq!(issuer.external_account, Some(("kid".to_owned(), b"secret".to_vec())));
    assert_eq!((issuer.challenge, &issuer.state), (Some(Challenge::TlsAlpn01), &None));
    assert_eq!(issuer.profile, Some(("shortlived".to_owned(), true)));
    let fallback = issuer.fallback.as_ref().unwrap();
    assert!(fallback.uri.is_none() && fallback.lifetime.as_secs() == 86_400);
    assert_eq!(fallback.state.as_ref().map(|it| it.ends_with("acme_internal")), Some(true));
}

#[test]
fn the_first_issuer_is_the_default() {
    let site = Site::new("acme_issuer letsencrypt accept_terms_of_service; acme_issuer internal; server { }");
    let issuers = site.house.shared.get::<Issuers>().unwrap();
    let default = issuers.default.as_ref().unwrap();
    assert_eq!((&*default.name, default.accepts_terms, issuers.by_name.len()), ("letsencrypt", true, 2));
    assert!(default.uri.as_ref().unwrap().starts_with("https://acme-v02.api.letsencrypt.org/"));
}

#[test]
fn nobody_asks_for_challenges_without_issuers() {
    let ex = testing::exchange("GET /.well-known/acme-challenge/token HTTP/1.1\nHost: a");
    assert!(super::challenge(&ex).is_none());
}
