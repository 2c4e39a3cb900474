//! The vectors of the standards are believed; what a forger would send is not.

use foregate_testkit::jwt::{ALGORITHMS, Signer, encode};

use crate::{Keys, Refused, Times, Token, json::Wrong};

fn keys(text: &str) -> Keys {
    Keys::parse(text.as_bytes()).unwrap()
}

fn verify(token: &str, keys: &Keys) -> Result<Token, Refused> {
    let token = Token::parse(token.as_bytes())?;
    token.verify(keys)?;
    Ok(token)
}

const JOE: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
/// RFC 7515, A.2.
const RSA: &str = concat!(
    r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1"#,
    "Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KX",
    r#"BdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkM"#,
    r#"Ls91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
);

#[test]
fn the_examples_of_the_standards_are_believed() {
    let cases = [
        // RFC 7515, A.1 and RFC 7519, 3.1
        (
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            JOE,
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        ),
        // A.2
        (
            "eyJhbGciOiJSUzI1NiJ9",
            JOE,
            concat!(
                "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb",
                "F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383",
                "LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy",
                "wlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            ),
            RSA,
        ),
        // A.3
        (
            "eyJhbGciOiJFUzI1NiJ9",
            JOE,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            concat!(
                r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
                r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            ),
        ),
        // RFC 8037, A.4
        (
            "eyJhbGciOiJFZERTQSJ9",
            "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        ),
    ];
    for (header, payload, signature, key) in cases {
        let keys = keys(key);
        let token = verify(&format!("{header}.{payload}.{signature}"), &keys);
        assert!(token.is_ok(), "{header}: {token:?} {:?}", keys.remarks);
        let other = format!("{}A{}", &signature[..9], &signature[10..]);
        let forged = verify(&format!("{header}.{payload}.{other}"), &keys);
        assert_eq!(forged.err(), Some(Refused::Signature), "{header}");
    }
    // RFC 7519, 3.1: what it says, and that it is over.
    let token =
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let claims = Token::parse(token.as_bytes()).unwrap().claims().unwrap();
    assert_eq!(claims.to_string(), r#"{"iss":"joe","exp":1300819380,"http://example.com/is_root":true}"#);
    let at = |now, leeway| Times { now, leeway }.check(&claims);
    assert_eq!(at(1_300_819_379, 0), Ok(()));
    assert_eq!(at(1_300_819_380, 0), Err(Refused::Expired(0)));
    assert_eq!(at(1_300_819_389, 10), Ok(()));
    assert_eq!(at(1_300_819_390, 10), Err(Refused::Expired(10)));
}

#[test]
fn unsecured_tokens_are_refused() {
    // RFC 7519, 6.1
    let token = format!("eyJhbGciOiJub25lIn0.{JOE}.");
    assert_eq!(verify(&token, &keys(RSA)).err(), Some(Refused::AlgNone));
}

#[test]
fn every_algorithm_is_checked_by_its_own_keys_alone() {
    let signers: Vec<Signer> = ALGORITHMS.iter().map(|alg| Signer::new("k", alg)).collect();
    for (alg, signer) in ALGORITHMS.iter().zip(&signers) {
        let token = signer.sign("{}");
        for (other, owner) in ALGORITHMS.iter().zip(&signers) {
            let done = verify(&token, &keys(&owner.jwks()));
            assert_eq!(done.is_ok(), alg == other, "{alg} by {other}: {done:?}");
        }
        // The same key without a word about what it is for serves all algorithms of its kind, and no other.
        let open = signer.jwks().replace(&format!(",\"alg\":\"{alg}\""), "");
        assert!(verify(&token, &keys(&open)).is_ok(), "{alg}");
    }
}

fn refusal(token: &str, keys: &Keys) -> Refused {
    match verify(token, keys).and_then(|it| it.claims()) {
        Err(why) => why,
        Ok(claims) => Times { now: 1_000_000, leeway: 5 }.check(&claims).expect_err(token),
    }
}

#[test]
fn forgeries_are_refused() {
    let rsa = Signer::new("a", "RS256");
    let keys = keys(&rsa.jwks());
    let good = rsa.sign("{\"sub\":\"joe\"}");
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { unreachable!() };
    let head = |text: &str| rsa.sign_with(text, b"{}");
    // What everybody has: the public key, in the forms that a careless reader takes for a secret.
    let der = Signer::secret("a", "HS256", &rsa.public_der());
    let jwk = Signer::secret("a", "HS256", rsa.jwk().as_bytes());
    let other = Signer::new("a", "RS256");
    let cases: Vec<(&str, String, Refused)> = vec![
        ("none", format!("{}.{payload}.", encode(br#"{"alg":"none"}"#)), Refused::AlgNone),
        ("NoNe", format!("{}.{payload}.{signature}", encode(br#"{"alg":"NoNe"}"#)), Refused::AlgNone),
        ("HS with the public key", der.sign("{}"), Refused::NoKeyFor(crate::Alg::Hs256)),
        ("HS with the JWK", jwk.sign("{}"), Refused::NoKeyFor(crate::Alg::Hs256)),
        ("another's key", other.sign("{}"), Refused::Signature),
        (
            "a key of its own",
            other.sign_with(&format!("{{\"alg\":\"RS256\",\"jwk\":{}}}", other.jwk()), b"{}"),
            Refused::Signature,
        ),
        ("wrong kid", head(r#"{"alg":"RS256","kid":"b"}"#), Refused::UnknownKey("b".into())),
        ("kid of no text", head(r#"{"alg":"RS256","kid":1}"#), Refused::Kid),
        ("another algorithm", head(r#"{"alg":"RS512","kid":"a"}"#), Refused::NoKeyFor(crate::Alg::Rs512)),
        ("an unknown one", head(r#"{"alg":"rs256"}"#), Refused::UnknownAlg("rs256".into())),
        ("no algorithm", head("{}"), Refused::NoAlg),
        ("alg of no text", head(r#"{"alg":["RS256"]}"#), Refused::NoAlg),
        ("crit", head(r#"{"alg":"RS256","crit":["exp"],"exp":1}"#), Refused::Critical),
        ("b64", head(r#"{"alg":"RS256","b64":false,"crit":["b64"]}"#), Refused::Critical),
        ("expired", rsa.sign("{\"exp\":999995}"), Refused::Expired(5)),
        ("not yet valid", rsa.sign("{\"nbf\":1000006}"), Refused::NotYet(6)),
        ("exp of no number", rsa.sign("{\"exp\":\"2000000\"}"), Refused::Claim("exp")),
        ("exp beyond all numbers", rsa.sign("{\"exp\":1e999}"), Refused::Claim("exp")),
        ("iat of no number", rsa.sign("{\"iat\":null}"), Refused::Claim("iat")),
        (
            "oversized",
            format!("{}.{payload}.{signature}", "a".repeat(20_000)),
            Refused::TooLong(20_000 + good.len() - header.len()),
        ),
        (
            "members twice",
            rsa.sign(r#"{"sub":"a","sub":"b"}"#),
            Refused::Json("payload", Wrong::Twice("sub".into())),
        ),
        (
            "the same in the header",
            head(r#"{"alg":"RS256","alg":"RS256"}"#),
            Refused::Json("header", Wrong::Twice("alg".into())),
        ),
        ("two parts", format!("{header}.{payload}"), Refused::Parts),
        ("four", format!("{good}.x"), Refused::Parts),
        ("five", format!("{good}.x.y"), Refused::Encrypted),
        ("nothing", String::new(), Refused::Parts),
        ("dots", "..".into(), Refused::Json("header", Wrong::Text(0))),
        ("no signature", format!("{header}.{payload}."), Refused::Signature),
        ("half a signature", format!("{header}.{payload}.{}", &signature[..172]), Refused::Signature),
        ("another payload", format!("{header}.{}.{signature}", encode(b"{}")), Refused::Signature),
        ("padding", format!("{header}=.{payload}.{signature}"), Refused::Base64("header")),
        ("plain base64", format!("{header}.{payload}.{}+", &signature[1..]), Refused::Base64("signature")),
        ("bits left over", format!("{header}.{payload}.{signature}B"), Refused::Base64("signature")),
        ("a line end", format!("{header}.{payload}.{signature}\n"), Refused::Base64("signature")),
        ("no object", rsa.sign("[]"), Refused::Json("payload", Wrong::NoObject)),
        ("no JSON", rsa.sign("sub=joe"), Refused::Json("payload", Wrong::Text(0))),
    ];
    for (name, token, want) in cases {
        assert_eq!(refusal(&token, &keys), want, "{name}");
    }
    assert!(verify(&good, &keys).is_ok());
}

#[test]
fn a_truncated_token_is_never_believed() {
    let signer = Signer::new("a", "ES256");
    let keys = keys(&signer.jwks());
    let token = signer.sign("{\"sub\":\"joe\"}");
    for cut in 0..token.len() {
        assert!(verify(&token[..cut], &keys).is_err(), "{cut}");
    }
}

#[test]
fn sets_of_keys_are_read() {
    let (a, b) = (Signer::new("a", "ES256"), Signer::new("b", "EdDSA"));
    let set = keys(&format!("{{\"keys\":[{},{},{{\"kty\":\"new\"}},1]}}", a.jwk(), b.jwk()));
    assert_eq!((set.len(), set.remarks.len()), (2, 2), "{:?}", set.remarks);
    assert!(set.knows("a") && set.knows("b") && !set.knows("c"));
    assert!(verify(&b.sign_with("{\"alg\":\"EdDSA\"}", b"{}"), &set).is_ok(), "without a kid all are tried");
    for text in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}"] {
        assert!(Keys::parse(text.as_bytes()).is_err(), "{text}");
    }
    for (key, why) in [
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "key 1 is no RSA key of 2048 to 8192 bits"),
        (r#"{"kty":"oct","k":""}"#, "key 1 is empty"),
        (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "key 1 has a coordinate of the wrong length"),
        (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, "key 1 is of a kind that is not known"),
        (r#"{"kty":"RSA","use":"enc"}"#, "key 1 is not for signatures"),
        (r#"{"kty":"RSA","key_ops":["encrypt"]}"#, "key 1 is not for verifying"),
        (r#"{"kty":"RSA","alg":"none"}"#, "key 1 is for an algorithm that is not known"),
        (r#"{"kid":"x","kty":"oct","k":"+"}"#, "key \"x\" has a member that is not base64url"),
    ] {
        let set = keys(key);
        assert!(set.is_empty(), "{key}");
        assert_eq!(set.remarks, [why], "{key}");
    }
    // An elliptic key's point must lie on its curve.
    let point = |y: &str| {
        let at = a.jwk().find("\"y\":\"").map_or(0, |it| it + 5);
        let end = at + 43;
        format!("{}{y}{}", &a.jwk()[..at], &a.jwk()[end..])
    };
    let off = keys(&point(&encode(&[1; 32])));
    assert!(off.is_empty() && off.remarks == ["key \"a\" is not a point of its curve"], "{:?}", off.remarks);
    let short = keys(r#"{"kty":"oct","k":"c2hvcnQ"}"#);
    assert_eq!((short.len(), short.remarks.len()), (1, 1));
    assert!(short.public_only().is_empty());
}
