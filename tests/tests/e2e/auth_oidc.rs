//! People log in at a provider: `auth_oidc` from end to end, by hand and in a real browser.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use foregate_testkit::identity::Provider;
use foregate_testkit::jwt::Signer;
use foregate_testkit::{Authority, Backend, Response, Server, Setup, Subject, TIMEOUT, foregate_only, get};

/// A browser as far as logging in goes: cookies, and where it is sent.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn ask(&mut self, server: &Server, path: &str) -> Response {
        self.send(server, "GET", path)
    }

    fn send(&mut self, server: &Server, method: &str, path: &str) -> Response {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let port = server.port(0);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: {}\r\nContent-Length: 0\r\n\r\n",
            cookies.join("; ")
        );
        let answer = foregate_testkit::http(port, request);
        for line in answer.all("Set-Cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            assert!(attributes.contains("Path=/; HttpOnly; SameSite=Lax"), "{line}");
            let (name, value) = pair.split_once('=').expect("because a cookie has a value");
            match attributes.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    /// Up to the provider and back to the door of the application, without going through it: the callback's path.
    fn go(&mut self, server: &Server, provider: &Provider, path: &str) -> String {
        let sent = self.ask(server, path);
        assert_eq!(sent.status, 302, "{}", sent.text());
        let to = sent.header("Location").expect("because it leads somewhere").to_owned();
        let to = to
            .strip_prefix(&format!("{}/authorize?", provider.identity().issuer))
            .expect("because it leads there");
        let port = provider
            .issuer()
            .rsplit_once(':')
            .and_then(|it| it.1.parse().ok())
            .expect("because it has a port");
        let back = get(port, &format!("/login?{to}"));
        let back = back.header("Location").unwrap_or_else(|| panic!("{}", back.text())).to_owned();
        back.strip_prefix(&format!("http://localhost:{}", server.port(0)))
            .expect("because it leads back")
            .to_owned()
    }

    /// All the way; where the visitor is sent in the end.
    fn log_in(&mut self, server: &Server, provider: &Provider, path: &str) -> Result<String, u16> {
        let back = self.go(server, provider, path);
        let done = self.ask(server, &back);
        match done.status {
            302 => Ok(done.header("Location").unwrap_or_default().to_owned()),
            status => Err(status),
        }
    }
}

fn start(subject: Subject, provider: &Provider, app: &Backend, more: &str) -> Server {
    Setup::http(&format!(
        r#"oidc_provider idp {{
            issuer {};
            client_id client;
            client_secret a-secret-of-thirty-two-letters-!;
            logout_uri /logout;
            post_logout_uri /bye;
            frontchannel_logout_uri /front;
            {more}
        }}
        large_client_header_buffers 4 32k;
        server {{
            listen 127.0.0.1:{{port:0}};
            location / {{
                auth_oidc idp;
                proxy_set_header X-User "$oidc_claim_sub, $oidc_claim_name, $oidc_claim_groups, $oidc_claim_email";
                proxy_set_header X-Token $oidc_access_token;
                proxy_pass http://{{app}};
            }}
            location /bye {{ empty_gif; }}
        }}"#,
        provider.issuer()
    ))
    .backend("app", app)
    .start(subject)
}

#[test]
fn a_visitor_logs_in_stays_and_logs_out() {
    foregate_only(|subject| {
        let (provider, app) = (Provider::start(), Backend::echo());
        let server = start(subject, &provider, &app, "userinfo on;");
        let mut browser = Browser::default();
        let to = browser.log_in(&server, &provider, "/deep?a=b%20c&d");
        assert_eq!(to, Ok(format!("http://localhost:{}/deep?a=b%20c&d", server.port(0))));
        assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["NGX_OIDC_SESSION"]);
        let page = browser.ask(&server, "/deep").text();
        assert!(
            page.contains("X-User: ann, Ann, a,b, ann@example.com") && page.contains("X-Token: access-2"),
            "{page}"
        );
        let asked = provider.asked().len();
        for _ in 0..5 {
            assert_eq!(browser.send(&server, "POST", "/x").status, 200);
        }
        assert_eq!(provider.asked().len(), asked, "a session asks nobody");
        assert_eq!(
            provider.asked().iter().filter(|it| *it == "/.well-known/openid-configuration").count(),
            1
        );
        // Another provider's frame, then this one's.
        assert_eq!(browser.ask(&server, "/front?iss=x&sid=s1").status, 200);
        assert_eq!(browser.cookies.len(), 1);
        let out = browser.ask(&server, "/logout");
        let port = server.port(0);
        assert_eq!(
            out.header("Location").unwrap_or_default(),
            format!(
                "{}/end?client_id=client&post_logout_redirect_uri=http%3A%2F%2Flocalhost%3A{port}%2Fbye",
                provider.issuer()
            )
        );
        assert!(browser.cookies.is_empty());
        assert_eq!(browser.ask(&server, "/deep").status, 302);
        // Forms and scripts are told, not sent away.
        assert_eq!(browser.send(&server, "POST", "/x").status, 401);
        assert_eq!(
            browser.ask(&server, "/logout").header("Location"),
            Some(&*format!("http://localhost:{port}/bye"))
        );
        assert_eq!(browser.log_in(&server, &provider, "/").map(|_| ()), Ok(()));
        assert_eq!(browser.ask(&server, &format!("/front?iss={}&sid=s1", provider.issuer())).status, 200);
        assert!(!browser.cookies.contains_key("NGX_OIDC_SESSION"));
    });
}

#[test]
fn tokens_are_renewed_once_for_all_who_ask() {
    foregate_only(|subject| {
        let (provider, app) = (Provider::start(), Backend::echo());
        let server = start(subject, &provider, &app, "");
        let mut browser = Browser::default();
        provider.identity().holds = 1;
        browser.log_in(&server, &provider, "/").unwrap();
        provider.identity().holds = 3600;
        let old = browser.cookies.clone();
        let start = Instant::now();
        while !browser.ask(&server, "/").text().contains("X-Token: access-3") {
            assert!(start.elapsed() < TIMEOUT, "the tokens are not renewed");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_ne!(browser.cookies, old);
        let asked = provider.asked().len();
        // What was sent with the old cookie gets the same new tokens; the old refresh token is good no more.
        let mut late = Browser { cookies: old };
        assert!(late.ask(&server, "/").text().contains("X-Token: access-3"));
        assert!(browser.ask(&server, "/").text().contains("X-Token: access-3"));
        assert_eq!(provider.asked().len(), asked);
        // Refused, the visitor logs in anew.
        let mut other = Browser::default();
        provider.identity().holds = 1;
        other.log_in(&server, &provider, "/").unwrap();
        provider.identity().refuses = true;
        server.eventually(|server| Browser { cookies: other.cookies.clone() }.ask(server, "/").status == 302);
    });
}

#[test]
fn whatever_a_provider_or_a_stranger_forges_lets_nobody_in() {
    foregate_only(|subject| {
        let (provider, app) = (Provider::start(), Backend::echo());
        let server = start(subject, &provider, &app, "");
        type Forge = fn(String) -> String;
        let lies: [(&str, Forge); 9] = [
            ("is refused: it expired", |it| it.replace("\"exp\":", "\"exp\":1,\"x\":")),
            ("another issuer's", |it| it.replace("\"iss\":\"http", "\"iss\":\"https")),
            ("another client (aud)", |it| it.replace("\"aud\":\"client\"", "\"aud\":\"other\"")),
            ("several clients", |it| it.replace("\"aud\":\"client\"", "\"aud\":[\"client\",\"other\"]")),
            ("another client (azp)", |it| it.replace("\"sid\"", "\"azp\":\"other\",\"sid\"")),
            ("another login (nonce)", |it| it.replace("\"nonce\":\"", "\"nonce\":\"x")),
            ("never ends", |it| it.replace("\"exp\"", "\"x\"")),
            ("of nobody", |it| it.replace("\"sub\":\"ann\"", "\"sub\":\"\"")),
            ("stands there twice", |it| it.replace("\"sid\"", "\"sub\":\"eve\",\"sid\"")),
        ];
        for (why, lie) in lies {
            provider.identity().spoil = lie;
            assert_eq!(Browser::default().log_in(&server, &provider, "/"), Err(502), "{why}");
            server.wait_for_error(why);
        }
        provider.identity().spoil = |it| it;
        let secret = provider.identity().client_secret.clone();
        let forgers = [
            (Signer::new("one", "RS256"), "the signature does not fit"),
            (Signer::secret("one", "HS256", secret.as_bytes()), "no key may check HS256"),
            (Signer::new("other", "ES256"), "no key has the"),
        ];
        for (forger, why) in forgers {
            provider.identity().forger = Some(forger);
            assert_eq!(Browser::default().log_in(&server, &provider, "/"), Err(502), "{why}");
            server.wait_for_error(why);
        }
        provider.identity().forger = None;
        // Another's callback, a state that was changed, a code of one's own, an answer of another provider.
        let back = Browser::default().go(&server, &provider, "/");
        assert_eq!(Browser::default().ask(&server, &back).status, 400);
        let tries: [fn(&str) -> String; 4] = [
            |it| it.replace("state=", "state=x"),
            |it| it.replace("code=", "code=x"),
            |it| it.split("&iss").next().unwrap_or_default().to_owned() + "&iss=https://other",
            |it| it.split('?').next().unwrap_or_default().to_owned(),
        ];
        for (n, change) in tries.iter().enumerate() {
            let mut browser = Browser::default();
            let back = browser.go(&server, &provider, "/");
            assert!(matches!(browser.ask(&server, &change(&back)).status, 400 | 403), "{n}");
            assert_eq!(browser.ask(&server, "/").status, 302, "{n}");
        }
        // Used twice.
        let mut browser = Browser::default();
        let back = browser.go(&server, &provider, "/");
        let before = browser.cookies.clone();
        assert_eq!(browser.ask(&server, &back).status, 302);
        assert_eq!(Browser { cookies: before }.ask(&server, &back).status, 403);
        // A session that was changed in any place.
        let whole = browser.cookies["NGX_OIDC_SESSION"].clone();
        for at in [2, 10, 40, whole.len() / 2, whole.len() - 1] {
            let mut forged = whole.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            let mut eve = Browser { cookies: BTreeMap::from([("NGX_OIDC_SESSION".to_owned(), forged)]) };
            assert_eq!(eve.ask(&server, "/").status, 302, "{at}");
        }
        // A login's cookie is no session.
        let mut eve = Browser::default();
        eve.ask(&server, "/");
        let login = eve.cookies.values().next().cloned().unwrap_or_default();
        eve.cookies.insert("NGX_OIDC_SESSION".into(), format!("1.{login}"));
        assert_eq!(eve.ask(&server, "/").status, 302);
    });
}

#[test]
fn nobody_is_led_elsewhere() {
    foregate_only(|subject| {
        let (provider, app) = (Provider::start(), Backend::echo());
        let server = start(subject, &provider, &app, "");
        let home = format!("http://localhost:{}", server.port(0));
        for path in
            ["//evil.test/x", "/\\evil.test", "/%0d%0aLocation:%20http://evil.test/", "/@evil.test", "//"]
        {
            let to = Browser::default().log_in(&server, &provider, path);
            assert_eq!(to, Ok(format!("{home}{path}")), "{path}");
        }
        let long = format!("/{}", "x".repeat(3000));
        assert_eq!(Browser::default().log_in(&server, &provider, &long), Ok(format!("{home}/")));
    });
}

#[test]
fn a_large_session_lies_in_several_cookies() {
    foregate_only(|subject| {
        let (provider, app) = (Provider::start(), Backend::echo());
        let server = start(subject, &provider, &app, "cookie_name mine;");
        provider.identity().padding = 6000;
        let mut browser = Browser::default();
        browser.log_in(&server, &provider, "/").unwrap();
        assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["mine", "mine_1", "mine_2", "mine_3"]);
        assert!(browser.ask(&server, "/").text().contains("X-User: ann"));
        browser.ask(&server, "/logout");
        assert!(browser.cookies.is_empty());
    });
}

#[test]
fn sessions_outlive_reloads_and_end_when_nobody_comes() {
    foregate_only(|subject| {
        let (provider, app) = (Provider::start(), Backend::echo());
        let server = start(subject, &provider, &app, "session_timeout 2s;");
        let mut browser = Browser::default();
        browser.log_in(&server, &provider, "/").unwrap();
        server.signal(foregate_testkit::Signal::HUP);
        // Who keeps coming stays longer than the time.
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            assert_eq!(browser.ask(&server, "/").status, 200, "after {:?}", start.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(browser.ask(&server, "/").status, 302);
    });
}

#[test]
fn a_provider_that_is_away_is_an_error_of_the_gateway() {
    foregate_only(|subject| {
        let app = Backend::echo();
        let server = {
            let provider = Provider::start();
            start(subject, &provider, &app, "")
        };
        assert_eq!(Browser::default().ask(&server, "/").status, 502);
        server.wait_for_error("the OpenID Connect provider \"idp\" is of no help");
    });
}

#[test]
fn a_provider_over_tls_must_be_certified() {
    foregate_only(|subject| {
        let (provider, app) = (Provider::start(), Backend::echo());
        let (authority, other) = (Authority::new("Root"), Authority::new("Other"));
        let certificate = authority.issue(&["localhost"]);
        // TLS in front of the provider is the server's own.
        let server = Setup::http(
            r"oidc_provider idp {
                issuer https://localhost:{port:1};
                client_id client;
                client_secret a-secret-of-thirty-two-letters-!;
                ssl_trusted_certificate root.pem;
            }
            oidc_provider doubtful {
                issuer https://localhost:{port:1};
                client_id client;
                ssl_trusted_certificate other.pem;
                session_key session.key;
            }
            server {
                listen 127.0.0.1:{port:0};
                location / { auth_oidc idp; proxy_pass http://{app}; }
                location /doubtful { auth_oidc doubtful; }
            }
            server {
                listen 127.0.0.1:{port:1} ssl;
                ssl_certificate own.pem;
                ssl_certificate_key own.key;
                location / { proxy_pass http://{idp}; }
            }",
        )
        .file("root.pem", authority.cert_pem())
        .file("other.pem", other.cert_pem())
        .file("own.pem", &certificate.cert_pem)
        .file("own.key", &certificate.key_pem)
        .file("session.key", "0123456789abcdefghijklmnopqrstuvwxyz")
        .set("idp", provider.issuer().trim_start_matches("http://"))
        .backend("app", &app)
        .start(subject);
        provider.identity().issuer = format!("https://localhost:{}", server.port(1));
        let mut browser = Browser::default();
        browser.log_in(&server, &provider, "/").unwrap();
        assert_eq!(browser.ask(&server, "/").status, 200);
        assert_eq!(Browser::default().ask(&server, "/doubtful").status, 502);
        server.wait_for_error("the TLS handshake failed");
    });
}

/// What a page shows in the end, or nothing where there is no Chromium.
fn chromium(url: &str) -> Option<String> {
    let folder = std::env::temp_dir().join(format!("foregate-chromium-{}", std::process::id()));
    let output = Command::new("timeout")
        .args([
            "60",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--virtual-time-budget=15000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.display()))
        .arg(url)
        .output();
    _ = std::fs::remove_dir_all(folder);
    output.ok().filter(|it| it.status.success()).map(|it| String::from_utf8_lossy(&it.stdout).into_owned())
}

#[test]
fn a_real_browser_logs_in() {
    foregate_only(|subject| {
        if Command::new("chromium").arg("--version").output().is_err() {
            println!("not run: there is no chromium");
            return;
        }
        // The provider is another site (127.0.0.1, not localhost), so that SameSite=Lax has something to say.
        let (provider, app) = (Provider::start(), Backend::echo());
        let server = start(subject, &provider, &app, "userinfo on;");
        let page = chromium(&format!("http://localhost:{}/hello?a=b", server.port(0)))
            .expect("because it ends well");
        assert!(page.contains("GET /hello?a=b"), "{page}");
        assert!(page.contains("X-User: ann, Ann, a,b, ann@example.com"), "{page}");
        let asked = provider.asked();
        for path in
            ["/.well-known/openid-configuration", "/authorize", "/login", "/token", "/jwks", "/userinfo"]
        {
            assert!(asked.iter().any(|it| it == path), "{path} in {asked:?}");
        }
    });
}
