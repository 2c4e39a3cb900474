//! `acme_on_demand`: certificates for names that nobody has written down.

use std::net::SocketAddr;

use foregate_net::tls::x509::Certificate as Parsed;
use foregate_testkit::{Backend, Client, Pebble, Reply, Setup, foregate_only};

/// An address that says yes to names below `yes.test`.
fn registrar() -> Backend {
    Backend::new(|seen| {
        let is_known = seen.head.lines().next().is_some_and(|it| it.contains(".yes.test HTTP/"));
        Reply::status(if is_known { 200 } else { 404 }, "", "")
    })
}

/// Who issued the certificate that a visitor of this name is shown at once; the site answers under it.
fn issuer(address: SocketAddr, name: &str) -> Result<String, String> {
    let mut seen = Client::connect_tls(address, name, &[])?;
    let leaf = Parsed::parse(&seen.certificates[0]).expect("because rustls took it");
    let issuer = leaf.issuer.common_names().join(" ");
    seen.client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"));
    assert_eq!(seen.client.response().expect("because it answers").text(), name);
    Ok(issuer)
}

fn setup(head: &str, registrar: &Backend, more: &str) -> Setup {
    Setup::http(&format!(
        "{head}
        server {{
            listen 127.0.0.1:{{port:0}} ssl;
            acme_on_demand http://{}/may {more};
            return 200 $host;
        }}",
        registrar.address()
    ))
}

#[test]
fn a_name_that_may_have_one_gets_a_certificate_within_its_first_handshake() {
    foregate_only(|subject| {
        let registrar = registrar();
        let setup = setup("acme_issuer internal;", &registrar, "names=3");
        let server = setup.start(subject);
        let address = server.address(0);
        std::thread::scope(|scope| {
            for name in ["a.yes.test", "b.yes.test"] {
                scope.spawn(move || {
                    let issuer = issuer(address, name).expect("because it may have one");
                    assert!(issuer.starts_with("Foregate internal authority"), "{issuer}");
                });
            }
        });
        assert!(issuer(address, "a.no.test").is_err() && issuer(address, "a.no.test").is_err());
        assert_eq!(registrar.requests().len(), 3, "each is asked about once");
        assert!(registrar.requests()[0].head.starts_with("GET /may?domain="));
        assert!(issuer(address, "c.yes.test").is_ok(), "who was refused takes no place");
        assert!(issuer(address, "d.yes.test").is_err(), "three are the most");
        server.reload(|server| server.read("error.log").contains("signal 1"));
        assert!(issuer(address, "a.yes.test").is_ok());
        assert_eq!(registrar.requests().len(), 4, "what is there is not asked about");
    });
}

#[test]
fn an_issuer_out_there_is_asked_for_several_names_side_by_side() {
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        let registrar = registrar();
        let head = format!(
            "acme_issuer test {{ uri {}; ssl_trusted_certificate {}; accept_terms_of_service; }}
            server {{ listen 127.0.0.1:{}; return 404; }}",
            pebble.uri(),
            pebble.ca(),
            pebble.http.number()
        );
        let server = setup(&head, &registrar, "").start(subject);
        let address = server.address(0);
        let first = |name: &str| {
            // Pebble makes us wait, and refuses now and then: the next visitor finds it.
            for _ in 0..120 {
                match issuer(address, name) {
                    Ok(issuer) => return issuer,
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(500)),
                }
            }
            panic!("no certificate for {name}");
        };
        std::thread::scope(|scope| {
            for name in ["a.yes.test", "b.yes.test", "c.yes.test"] {
                scope.spawn(move || assert!(first(name).starts_with("Pebble Intermediate CA")));
            }
        });
    });
}
