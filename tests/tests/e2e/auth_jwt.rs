//! Tokens that a client shows: `auth_jwt` from end to end. nginx has it in its commercial edition alone.

use std::sync::{Arc, Mutex};

use foregate_testkit::jwt::{ALGORITHMS, Signer};
use foregate_testkit::{Backend, Reply, Server, Setup, foregate_only};

/// The status and the body, or the challenge where there is one.
fn ask(server: &Server, path: &str, token: &str) -> (u16, String) {
    let answer =
        server.ask(&format!("GET {path}\nAuthorization: Bearer {token}")).expect("because it answers");
    let challenge = answer.header("WWW-Authenticate").map(str::to_owned);
    (answer.status, challenge.unwrap_or_else(|| answer.text()))
}

#[test]
fn every_algorithm_and_what_the_application_is_told() {
    foregate_only(|subject| {
        let signers: Vec<Signer> = ALGORITHMS.iter().map(|alg| Signer::new(alg, alg)).collect();
        let keys: Vec<String> = signers.iter().map(Signer::jwk).collect();
        let app = Backend::echo();
        let server = Setup::http(
            r#"auth_jwt_claim_set $roles realm roles;
            limit_req_zone $jwt_claim_sub zone=users:1m rate=1r/m;
            server {
                listen 127.0.0.1:{port:0};
                auth_jwt "the house";
                auth_jwt_key_file keys.json;
                location / {
                    proxy_set_header X-User "$jwt_claim_sub by $jwt_header_alg as $roles";
                    proxy_pass http://{app};
                }
                location /limited { limit_req zone=users; empty_gif; }
                location /open { auth_jwt off; proxy_pass http://{app}; }
            }"#,
        )
        .file("keys.json", format!("{{\"keys\":[{}]}}", keys.join(",")))
        .backend("app", &app)
        .start(subject);
        for (alg, signer) in ALGORITHMS.iter().zip(&signers) {
            let token = signer.sign(&format!(
                "{{\"sub\":\"{alg}\",\"realm\":{{\"roles\":[\"a\",\"b\"]}},\"exp\":9999999999}}"
            ));
            let (status, body) = ask(&server, "/", &token);
            assert_eq!(status, 200, "{alg}");
            assert!(body.contains(&format!("X-User: {alg} by {alg} as a,b")), "{body}");
            // Users have buckets of their own, though the phase of limits comes first.
            assert!(ask(&server, "/limited", &token).0 == 200, "{alg}");
            assert_eq!(ask(&server, "/limited", &token).0, 503, "{alg}");
        }
        let invalid = (401, "Bearer realm=\"the house\",error=\"invalid_token\"".to_owned());
        assert_eq!(ask(&server, "/", &signers[3].sign("{\"exp\":1}")), invalid);
        assert_eq!(ask(&server, "/", "a.b.c"), invalid);
        let nothing = server.get("/");
        assert_eq!(
            (nothing.status, nothing.header("WWW-Authenticate")),
            (401, Some("Bearer realm=\"the house\""))
        );
        assert_eq!(server.get("/open").status, 200);
        server.wait_for_error("JSON Web Token is refused: it expired");
    });
}

#[test]
fn keys_are_read_again_when_their_file_changes() {
    foregate_only(|subject| {
        let (old, new) = (Signer::new("old", "ES256"), Signer::new("new", "EdDSA"));
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; auth_jwt x; auth_jwt_key_file keys.json; location / { return 404; } location /x { empty_gif; } }",
        )
        .file("keys.json", old.jwks())
        .start(subject);
        assert_eq!(ask(&server, "/x", &old.sign("{}")).0, 200);
        assert_eq!(ask(&server, "/x", &new.sign("{}")).0, 401);
        server.write("keys.json", new.jwks());
        server.eventually(|server| ask(server, "/x", &new.sign("{}")).0 == 200);
        assert_eq!(ask(&server, "/x", &old.sign("{}")).0, 401);
    });
}

#[test]
fn keys_come_from_an_issuer_and_may_change() {
    foregate_only(|subject| {
        let (old, new) = (Signer::new("old", "RS256"), Signer::new("new", "ES256"));
        let keys = Arc::new(Mutex::new(Some(old.jwks())));
        let published = keys.clone();
        let issuer = Backend::new(move |_| match &*published.lock().unwrap() {
            Some(keys) => Reply::ok(keys),
            None => Reply::status(503, "", ""),
        });
        let server = Setup::http(
            r"server {
                listen 127.0.0.1:{port:0};
                auth_jwt x;
                auth_jwt_key_request /_jwks;
                location /kept { auth_jwt_key_cache 1h; empty_gif; }
                location /short { auth_jwt_key_cache 1s; empty_gif; }
                location /always { empty_gif; }
                location /web { auth_jwt_key_request http://{issuer}/web; empty_gif; }
                location = /_jwks { internal; auth_jwt off; proxy_pass http://{issuer}/keys; }
            }",
        )
        .backend("issuer", &issuer)
        .start(subject);
        for _ in 0..5 {
            assert_eq!(ask(&server, "/kept", &old.sign("{}")).0, 200);
            assert_eq!(ask(&server, "/always", &old.sign("{}")).0, 200);
        }
        assert_eq!(
            issuer.requests().len(),
            issuer.requests().iter().filter(|it| it.target == "/keys").count()
        );
        // One thread or two ask for the kept ones.
        assert!((6..=7).contains(&issuer.requests().len()), "{}", issuer.requests().len());
        assert_eq!(issuer.last().target, "/keys");
        // An address needs no location, and is kept without a word.
        for _ in 0..5 {
            assert_eq!(ask(&server, "/web", &old.sign("{}")).0, 200);
        }
        let web = issuer.requests().iter().filter(|it| it.target == "/web").count();
        assert!((1..=2).contains(&web), "{web}");
        *keys.lock().unwrap() = Some(new.jwks());
        assert_eq!(ask(&server, "/always", &new.sign("{}")).0, 200);
        assert_eq!(ask(&server, "/always", &old.sign("{}")).0, 401);
        *keys.lock().unwrap() = None;
        assert_eq!(ask(&server, "/always", &new.sign("{}")).0, 500);
        assert_eq!(ask(&server, "/kept", &old.sign("{}")).0, 200);
        server.wait_for_error("auth_jwt_key_request \"/_jwks\" was answered with status 503");
    });
}
