//! `ssl_verify_client`: who may come in, what is known of him, and which server he may ask.

use std::cell::RefCell;

use foregate_testkit::{
    Authority, Certificate, Client, Server, Setup, any_certificate, both, foregate_only, get, own_certificate,
};

/// What a client with this certificate gets: the status and the first line of the page.
fn ask(server: &Server, sni: &str, own: Option<&Certificate>, host: &str) -> String {
    let config = own.map_or_else(any_certificate, own_certificate);
    let tls = Client::connect_tls_with(server.address(0), sni, config);
    let mut client = match tls {
        Ok(tls) => tls.client,
        Err(why) => return why,
    };
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    let Some(seen) = client.response() else { return "closed".to_owned() };
    match seen.status {
        200 => seen.text(),
        status => {
            let text = seen.text();
            let title = text.split("<center>").nth(1).and_then(|it| it.split("</center>").next());
            format!("{status} {}", title.unwrap_or_default().replace("<h1>", "").replace("</h1>", ""))
        }
    }
}

struct People {
    authority: Authority,
    host: Certificate,
    friend: Certificate,
    stranger: Certificate,
}

fn people() -> People {
    let authority = Authority::new("The Authority");
    let (host, friend) = (Certificate::self_signed(&["a.example"]), authority.issue(&["friend"]));
    People { authority, host, friend, stranger: Certificate::self_signed(&["stranger"]) }
}

fn setup(people: &People, text: &str) -> Setup {
    Setup::http(&format!(
        "ssl_certificate {{dir}}/c; ssl_certificate_key {{dir}}/k; ssl_client_certificate {{dir}}/ca; {text}"
    ))
    .file("c", &people.host.cert_pem)
    .file("k", &people.host.key_pem)
    .file("ca", people.authority.cert_pem())
}

#[test]
fn clients_are_judged_by_their_certificates() {
    let people = people();
    let server = |name: &str, verify: &str| {
        format!(
            "server {{ listen 127.0.0.1:{{port:0}} ssl; server_name {name}; ssl_verify_client {verify};
                       location / {{ return 200 $ssl_client_verify; }} }}"
        )
    };
    let servers = [
        server("off.example", "off"),
        server("on.example", "on"),
        server("optional.example", "optional"),
        server("any.example", "optional_no_ca"),
    ];
    let setup = setup(&people, &servers.concat());
    both(|subject| {
        let server = setup.start(subject);
        let (friend, stranger) = (Some(&people.friend), Some(&people.stranger));
        for (name, own, expected) in [
            ("off.example", None, "NONE"),
            ("off.example", friend, "NONE"),
            ("on.example", None, "400 No required SSL certificate was sent"),
            ("on.example", stranger, "400 The SSL certificate error"),
            ("on.example", friend, "SUCCESS"),
            ("optional.example", None, "NONE"),
            ("optional.example", stranger, "400 The SSL certificate error"),
            ("optional.example", friend, "SUCCESS"),
            ("any.example", None, "NONE"),
            ("any.example", stranger, "FAILED:self-signed certificate"),
            ("any.example", friend, "SUCCESS"),
        ] {
            let seen = ask(&server, name, own, name);
            assert!(seen.ends_with(expected) || seen == short(expected), "{name}: {seen}, not {expected}");
        }
    });
}

/// The page's heading is the same for both errors.
fn short(expected: &str) -> String {
    expected.split_once(' ').map_or_else(String::new, |(status, _)| format!("{status} 400 Bad Request"))
}

#[test]
fn what_is_known_of_a_client_is_what_nginx_knows() {
    let people = people();
    let setup = setup(
        &people,
        "server { listen 127.0.0.1:{port:0} ssl; server_name a.example; ssl_verify_client on;
            location / {
                return 200 '$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_s_dn_legacy|$ssl_client_i_dn_legacy|\
$ssl_client_serial|$ssl_client_fingerprint|$ssl_client_verify|$ssl_client_v_start|$ssl_client_v_end|\
$ssl_client_v_remain|$ssl_client_raw_cert|$ssl_client_escaped_cert|$ssl_client_cert|$ssl_curve|$ssl_curves|\
$ssl_ciphers|$ssl_session_reused|$ssl_early_data|$ssl_alpn_protocol|$ssl_server_name|$https';
            }
        }",
    );
    let first = RefCell::new(None);
    both(|subject| {
        let server = setup.start(subject);
        let seen = ask(&server, "a.example", Some(&people.friend), "a.example");
        assert!(seen.starts_with("CN=friend|CN=The Authority|/CN=friend|/CN=The Authority|"), "{seen}");
        let mut first = first.borrow_mut();
        match &*first {
            None => *first = Some(known(&seen)),
            Some(first) => assert_eq!(known(&seen), *first),
        }
    });
}

/// Without what OpenSSL of different ages calls differently: groups that are newer than it.
fn known(seen: &str) -> Vec<String> {
    seen.split('|').map(|it| it.replace("X25519MLKEM768", "0x11ec")).collect()
}

#[test]
fn how_both_sides_have_signed_is_known() {
    let people = people();
    let setup = setup(
        &people,
        "server { listen 127.0.0.1:{port:0} ssl; server_name a.example; ssl_verify_client optional;
                  return 200 $ssl_sigalg|$ssl_client_sigalg; }",
    );
    // Other versions of OpenSSL than those since 3.5 do not tell nginx.
    foregate_only(|subject| {
        let server = setup.start(subject);
        let seen = |own| ask(&server, "a.example", own, "a.example");
        assert_eq!(seen(None), "ecdsa_secp256r1_sha256|");
        assert_eq!(seen(Some(&people.friend)), "ecdsa_secp256r1_sha256|ecdsa_secp256r1_sha256");
    });
}

#[test]
fn a_connection_is_not_used_for_a_server_that_wants_certificates() {
    let people = people();
    let setup = setup(
        &people,
        "server { listen 127.0.0.1:{port:0} ssl; server_name a.example; location / { return 200 a; } }
         server { listen 127.0.0.1:{port:0} ssl; server_name b.example; location / { return 200 b; } }
         server { listen 127.0.0.1:{port:0} ssl; server_name c.example; ssl_verify_client on;
                  location / { return 200 c; } }",
    );
    both(|subject| {
        let server = setup.start(subject);
        let friend = Some(&people.friend);
        for (sni, own, host, expected) in [
            ("a.example", None, "a.example", "a"),
            ("a.example", None, "b.example", "b"),
            ("b.example", None, "unknown.example", "a"),
            ("unknown.example", None, "b.example", "b"),
            ("c.example", friend, "c.example", "c"),
            ("c.example", friend, "a.example", "a"),
            ("a.example", friend, "c.example", "421 421 Misdirected Request"),
        ] {
            let seen = ask(&server, sni, own, host);
            assert!(
                seen == expected || (expected.starts_with("421") && seen.starts_with("421")),
                "{sni} {host}: {seen}"
            );
        }
    });
}

#[test]
fn names_may_be_refused_in_the_handshake() {
    let people = people();
    let setup = setup(
        &people,
        "server { listen 127.0.0.1:{port:0} ssl default_server; ssl_reject_handshake on; }
         server { listen 127.0.0.1:{port:0} ssl; server_name a.example; location / { return 200 a; } }",
    );
    both(|subject| {
        let server = setup.start(subject);
        assert_eq!(ask(&server, "a.example", None, "a.example"), "a");
        let seen = ask(&server, "b.example", None, "b.example");
        assert!(seen.contains("UnrecognisedName"), "{seen}");
    });
}

#[test]
fn a_server_without_a_certificate_shows_the_default_one() {
    let own = Certificate::self_signed(&["a.example"]);
    let setup = Setup::http(
        "server { listen 127.0.0.1:{port:0} ssl; ssl_certificate {dir}/c; ssl_certificate_key {dir}/k;
                  location / { return 200 a; } }
         server { listen 127.0.0.1:{port:0} ssl; server_name b.example; location / { return 200 b; } }",
    )
    .file("c", &own.cert_pem)
    .file("k", &own.key_pem);
    both(|subject| {
        let server = setup.start(subject);
        assert_eq!(ask(&server, "b.example", None, "b.example"), "b");
    });
}

#[test]
fn a_session_is_taken_up_again() {
    let own = Certificate::self_signed(&["a.example"]);
    let setup = Setup::http(
        "server { listen 127.0.0.1:{port:0} ssl; ssl_certificate {dir}/c; ssl_certificate_key {dir}/k;
                  ssl_session_cache shared:SSL:1m; location / { return 200 $ssl_session_reused; } }",
    )
    .file("c", &own.cert_pem)
    .file("k", &own.key_pem);
    both(|subject| {
        let server = setup.start(subject);
        let config = any_certificate();
        let seen = [(); 3].map(|()| {
            let tls = Client::connect_tls_with(server.address(0), "a.example", config.clone());
            let mut client = tls.expect("because the handshake succeeds").client;
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
            client.response().map(|it| it.text()).unwrap_or_default()
        });
        assert_eq!(seen, [".", "r", "r"]);
    });
}

#[test]
fn without_tls_nothing_is_known() {
    let setup = Setup::http(
        "server { listen 127.0.0.1:{port:0};
                  location / { return 200 '[$ssl_protocol$ssl_client_verify$ssl_ciphers$ssl_session_reused]'; } }",
    );
    both(|subject| assert_eq!(get(setup.start(subject).port(0), "/").text(), "[]"));
}
