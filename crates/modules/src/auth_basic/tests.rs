//! Passwords against files, and every form of hash against what crypt(3) made.

use std::ops::ControlFlow::{Break, Continue};
use std::path::PathBuf;

use foregate_core::Stop;
use foregate_core::base64::{self, Alphabet};

use super::hash::{Undecided, verify};
use crate::testing::Site;

/// A password file that lives as long as the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("foregate-auth-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

fn basic(pair: &str) -> String {
    let mut out = b"Basic ".to_vec();
    base64::encode(pair.as_bytes(), Alphabet::Standard, &mut out);
    String::from_utf8(out).unwrap()
}

/// Status and challenge of the refusal, or what else was said; and what was logged.
fn check(conf: &str, authorization: &str) -> (String, String) {
    let (conf, authorization) = (conf.to_owned(), authorization.to_owned());
    foregate_net::runtime::run(async move {
        let site = Site::new(&conf);
        let Some(on) = &site.settings().auth_basic else { return ("off".into(), String::new()) };
        let mut ex = site.exchange(&format!("GET /d HTTP/1.1\nHost: h\nAuthorization: {authorization}"));
        let said = match super::check(on, &mut ex).await {
            Continue(true) => "allowed".into(),
            Continue(false) => "silent".into(),
            Break(Stop::Reply(reply)) => {
                let realm = reply.fields.get(b"WWW-Authenticate").unwrap_or_default();
                format!("{} {}", reply.status, String::from_utf8_lossy(realm))
            }
            Break(_) => "?".into(),
        };
        let log = site.house.logged().first().cloned().unwrap_or_default();
        (said, log.split(", client").next().unwrap_or_default().replace("*1 ", ""))
    })
    .unwrap()
}

#[test]
fn users_are_let_in_by_their_password() {
    let file = File::new("users", "a:{PLAIN}secret\nb:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=:comment\n");
    let path = file.0.display().to_string();
    let conf = format!("auth_basic \"of $uri\"; auth_basic_user_file {path};");
    let refused = "401 Basic realm=\"of /d\"".to_owned();
    let ok = ("allowed".to_owned(), String::new());
    assert_eq!(check(&conf, &basic("a:secret")), ok);
    assert_eq!(check(&conf, &basic("b:password")), ok);
    assert_eq!(check(&conf, &basic("b:password").replace("Basic ", "bASIC   ")), ok);
    let mismatch = "error: user \"a\": password mismatch".to_owned();
    assert_eq!(check(&conf, &basic("a:secret2")), (refused.clone(), mismatch));
    let missing = format!("error: user \"c\" was not found in \"{path}\"");
    assert_eq!(check(&conf, &basic("c:x")), (refused.clone(), missing));
    let none = "info: no user/password was provided for basic authentication".to_owned();
    for authorization in ["", "Bearer x", "Basic ", "Basic !", &basic(":x"), &basic("ax")] {
        assert_eq!(check(&conf, authorization), (refused.clone(), none.clone()), "{authorization}");
    }
    std::fs::write(&file.0, "a:{PLAIN}other, and longer\n").unwrap();
    assert_eq!(check(&conf, &basic("a:other, and longer")).0, "allowed");
}

#[test]
fn a_file_may_be_named_by_variables_and_may_be_missing() {
    let file = File::new("d", "a:{PLAIN}b");
    let conf = format!("auth_basic r; auth_basic_user_file {}$arg_x;", file.0.display());
    assert_eq!(check(&conf, &basic("a:b")).0, "allowed");
    let (said, log) = check("auth_basic r; auth_basic_user_file no-such;", &basic("a:b"));
    assert_eq!(said, "403 ");
    assert_eq!(log, "error: open() \"/etc/nginx/no-such\" failed (2: No such file or directory)");
    assert!(check("auth_basic r; auth_basic_user_file /;", &basic("a:b")).0.starts_with("500"));
}

#[test]
fn off_turns_it_off() {
    assert_eq!(check("auth_basic r; auth_basic_user_file f; server { auth_basic off; }", "").0, "off");
    assert_eq!(check("auth_basic r;", "").0, "off");
    assert_eq!(check("auth_basic o$arg_x; auth_basic_user_file f;", "").0, "401 Basic realm=\"o\"");
}

#[test]
fn every_form_of_hash_is_understood() {
    let long = "pässword with more than sixty four characters, so that all loops run twice";
    let cases = [
        ("{PLAIN}password", "password"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"),
        ("{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0", "password"),
        ("$apr1$xxxxxxxx$dxHfLAsjHkDRmG83UXe8K0", "password"),
        ("$1$ab$rn6aQS/o7141mj179E/zA.", ""),
        ("$5$rounds=1400$saltstring$kDr44D3fF3hki0AYJvNM6mzayoWG5MfPBxjy91CeXP5", "password"),
        ("$5$saltsaltsaltsalt$w6MMzL6uP1zC/zFPks1aojSlkIwXOntfy4rPxWhJHg2", "x"),
        (
            "$6$saltsalt$xY4rZGuQkuSCqbvmOCTc6da4T87TdAxgwgEgVCh9axExMkAKSSDuOpbFfaXz0dAfSXx60JskC5HrIDHaix4jo1",
            long,
        ),
        ("$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu", "password"),
        ("$y$j9T$abcdefgh$79JhsKZwfY/UU2qrk3QcffpHl7EyEEJK0pA5pD1wu73", "password"),
        ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC", "password"),
        ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"),
        ("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8", "password"),
        ("sa3tHJ3/KuYvI", "password"),
        ("./koteo0MEUbI", "verylongpassword"),
    ];
    foregate_net::runtime::run(async move {
        for (stored, password) in cases {
            let check = |password: &str| verify(stored.into(), password.into());
            assert_eq!(check(password).await, Ok(true), "{stored}");
            assert_eq!(check(password).await, Ok(true), "{stored} again");
            assert_eq!(check("wrong").await, Ok(false), "{stored}");
        }
        for stored in ["$1$", "$apr1$", "{SSHA}", "{SSHA}!", "{SHA}", "{PLAIN}", "$5$", "ab", "password"] {
            assert_eq!(verify(stored.into(), b"x".into()).await, Ok(false), "{stored}");
        }
        for stored in ["$9$x", "", "a", "$2y$05$short", "$5$rounds=1$a$b", "$y$j9T$x", "$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$AAAA", "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAA", "$y$zzzz$abcd$x", "$argon2id$"] {
            assert_eq!(verify(stored.into(), b"x".into()).await, Err(Undecided::Unknown), "{stored}");
        }
    })
    .unwrap();
}

#[test]
fn new_hashes_fit_their_passwords() {
    use super::{Algorithm, fits};
    for name in Algorithm::NAMES.split(", ") {
        let algorithm = match Algorithm::named(name) {
            Some(Algorithm::Bcrypt { .. }) => Algorithm::Bcrypt { cost: 5 },
            other => other.unwrap(),
        };
        let (one, two) = (algorithm.hash("pässword".as_bytes()).unwrap(), algorithm.hash("pässword".as_bytes()).unwrap());
        assert_ne!(one, two, "{name}: every hash has a salt of its own");
        assert!(fits(&one, "pässword".as_bytes()) && !fits(&one, b"password"), "{name}: {one}");
        assert!(algorithm.hash(b"a\0b").is_err());
    }
    assert!(Algorithm::Bcrypt { cost: 5 }.hash(&[b'x'; 73]).is_err());
}
