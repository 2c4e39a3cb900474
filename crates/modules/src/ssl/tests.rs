//! Configurations and what becomes of them; handshakes are the end-to-end tests' to prove.

use foregate_conf::Strings;
use foregate_net::tls::Facts;

use crate::testing::Site;

/// Made for these tests by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 36500`.
const CERT: &str = include_str!("test.crt");
const KEY: &str = include_str!("test.key");
const OTHER_KEY: &str = include_str!("other.key");

fn files() -> Strings {
    let mut files = Strings::default();
    for (name, text) in [("a.crt", CERT), ("a.key", KEY), ("other.key", OTHER_KEY), ("empty", "")] {
        files.insert(format!("/etc/nginx/{name}"), text);
    }
    files.insert("/etc/nginx/ticket.key", vec![7u8; 48]);
    files
}

/// What is wrong with a server of these directives, or the warnings.
fn check(directives: &str) -> String {
    let conf = format!("server {{ ssl_certificate a.crt; ssl_certificate_key a.key; {directives} }}");
    match crate::testing::try_with(&conf, files()) {
        Ok(site) => site.warnings.join("; "),
        Err(error) => error.what,
    }
}

/// The same without a certificate.
fn check_bare(directives: &str) -> String {
    match crate::testing::try_with(&format!("server {{ {directives} }}"), files()) {
        Ok(site) if site.settings().ssl.is_none() => "no TLS".to_owned(),
        Ok(site) => site.warnings.join("; "),
        Err(error) => error.what,
    }
}

#[test]
fn what_is_fine_is_taken_without_a_word() {
    for directives in [
        "",
        "ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers HIGH:!aNULL:!MD5; ssl_prefer_server_ciphers on;",
        "ssl_session_cache shared:SSL:10m; ssl_session_timeout 1d; ssl_session_tickets off;",
        "ssl_session_cache builtin:1000 shared:SSL:1m; ssl_session_ticket_key ticket.key;",
        "ssl_ecdh_curve X25519:prime256v1:secp384r1; ssl_buffer_size 4k; ssl_early_data off;",
        "ssl_verify_client optional; ssl_client_certificate a.crt; ssl_verify_depth 2;",
        "ssl_verify_client on; ssl_trusted_certificate a.crt;",
        "ssl_conf_command Options -ServerPreference,KTLS; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;",
        "ssl_certificate_cache max=10 inactive=20s valid=1m;",
    ] {
        assert_eq!(check(directives), "", "{directives}");
    }
    assert_eq!(check_bare("ssl_protocols TLSv1.3;"), "no TLS");
    assert_eq!(check_bare("ssl_reject_handshake on;"), "");
}

#[test]
fn what_cannot_be_had_is_said() {
    let about = "TLS below 1.2 is not spoken";
    for (directives, expected) in [
        ("ssl_protocols TLSv1 TLSv1.1 TLSv1.2;", format!("\"TLSv1\" in \"ssl_protocols\" is ignored: {about}")),
        (
            "ssl_ciphers DHE-RSA-AES128-SHA;",
            "no cipher of \"DHE-RSA-AES128-SHA\" is available: TLS 1.2 uses ECDHE+AES128:HIGH:!aNULL:!MD5".to_owned(),
        ),
        (
            "ssl_dhparam a.key;",
            "\"ssl_dhparam\" is ignored: keys are exchanged over elliptic curves only".to_owned(),
        ),
        ("ssl_conf_command NumTickets 1;", "\"ssl_conf_command NumTickets\" is ignored: OpenSSL is not used".into()),
    ] {
        assert_eq!(check(directives), expected, "{directives}");
    }
    assert_eq!(check("ssl_protocols TLSv1.2; ssl_ciphers DHE-RSA-AES128-SHA; ssl_protocols TLSv1.3;"), check("ssl_ciphers DHE-RSA-AES128-SHA;"));
    assert_eq!(check("ssl_protocols TLSv1.3; ssl_ciphers DHE-RSA-AES128-SHA;"), "");
}

#[test]
fn errors_are_worded_as_nginx_words_them() {
    for (directives, expected) in [
        ("ssl_protocols TLSv1;", "no protocol of \"ssl_protocols\" is available"),
        ("ssl_protocols TLSv2;", "invalid value \"TLSv2\""),
        ("ssl_ciphers foo;", "SSL_CTX_set_cipher_list(\"foo\") failed"),
        ("ssl_ciphers TLS_AES_128_GCM_SHA256;", "SSL_CTX_set_cipher_list("),
        ("ssl_ecdh_curve foo;", "SSL_CTX_set1_curves_list(\"foo\") failed"),
        ("ssl_session_cache shared:SSL;", "invalid session cache \"shared:SSL\""),
        ("ssl_session_cache shared:SSL:1k;", "session cache \"shared:SSL:1k\" is too small"),
        ("ssl_session_cache foo;", "invalid session cache \"foo\""),
        ("ssl_session_ticket_key a.key;", "\"/etc/nginx/a.key\" must be 48 or 80 bytes"),
        ("ssl_session_ticket_key no.key;", "open() \"/etc/nginx/no.key\" failed (2: No such file or directory)"),
        ("ssl_verify_client on;", "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client"),
        ("ssl_verify_client maybe;", "invalid value \"maybe\""),
        ("ssl_client_certificate empty; ssl_verify_client on;", "cannot load certificate \"/etc/nginx/empty\": "),
        ("ssl_crl no.crl;", "cannot load CRL \"/etc/nginx/no.crl\": BIO_new_file() failed (SSL: error:80000002:"),
        ("ssl_conf_command Options Foo;", "SSL_CONF_cmd(\"Options\", \"Foo\") failed"),
        ("ssl_conf_command VerifyMode Request;", "SSL_CONF_cmd(\"VerifyMode\", \"Request\") failed"),
        ("ssl_certificate_cache valid=1m;", "\"ssl_certificate_cache\" must have the \"max\" parameter"),
        ("ssl_certificate other.crt;", "no \"ssl_certificate_key\" is defined for certificate \"other.crt\""),
    ] {
        let seen = check(directives);
        assert!(seen.starts_with(expected), "{directives}: {seen}");
    }
    for (directives, expected) in [
        ("ssl_certificate a.crt;", "no \"ssl_certificate_key\" is defined for certificate \"a.crt\""),
        (
            "ssl_certificate no.crt; ssl_certificate_key a.key;",
            "cannot load certificate \"/etc/nginx/no.crt\": BIO_new_file() failed (SSL: error:80000002:system library::\
             No such file or directory:calling fopen(/etc/nginx/no.crt, r) error:10000080:BIO routines::no such file)",
        ),
        (
            "ssl_certificate a.crt; ssl_certificate_key a.crt;",
            "cannot load certificate key \"/etc/nginx/a.crt\": PEM_read_bio_PrivateKey() failed",
        ),
        (
            "ssl_certificate a.key; ssl_certificate_key a.key;",
            "cannot load certificate \"/etc/nginx/a.key\": PEM_read_bio_X509_AUX() failed",
        ),
        (
            "ssl_certificate a.crt; ssl_certificate_key other.key;",
            "SSL_CTX_use_PrivateKey(\"/etc/nginx/other.key\") failed",
        ),
        ("ssl_certificate $a; ssl_certificate_key a.key;", "unknown \"a\" variable"),
        ("ssl_certificate a.crt; ssl_certificate_key engine:x:y;", "cannot load certificate key \"engine:x:y\": "),
    ] {
        let seen = check_bare(directives);
        assert!(seen.starts_with(expected), "{directives}: {seen}");
    }
}

#[test]
fn a_certificate_may_stand_in_the_configuration() {
    let conf = format!("server {{ ssl_certificate \"data:{CERT}\"; ssl_certificate_key \"data:{KEY}\"; }}");
    let site = crate::testing::try_with(&conf, Strings::default()).unwrap();
    assert!(site.settings().ssl.as_ref().is_some_and(|it| it.server.is_some()));
}

#[test]
fn variables_show_what_was_settled() {
    let facts = Facts {
        protocol: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        curve: "X25519",
        server_name: Some("localhost".into()),
        sigalg: "ecdsa_secp256r1_sha256",
        peer_sigalg: "ed25519",
        resumed: true,
        session_id: [0xab, 1].into(),
        offered_ciphers: [0x1301, 0x0a0a].into(),
        offered_curves: [29, 0x1a1a].into(),
        offered_schemes: [0x0403].into(),
        peer_certs: foregate_net::tls::certs::chain(CERT.as_bytes()).unwrap().iter().map(|it| it.as_ref().into()).collect(),
        ..Facts::default()
    };
    let conf = "server { ssl_certificate a.crt; ssl_certificate_key a.key; ssl_client_certificate a.crt;
        ssl_verify_client on; }";
    for (template, expected) in [
        ("$ssl_protocol $ssl_cipher $ssl_curve $ssl_server_name", "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 localhost"),
        ("$ssl_session_reused $ssl_session_id [$ssl_early_data$ssl_alpn_protocol]", "r ab01 []"),
        ("$ssl_ciphers $ssl_curves $ssl_sigalgs", "TLS_AES_128_GCM_SHA256:0x0a0a X25519:0x1a1a 0x0403"),
        ("$ssl_sigalg $ssl_client_sigalg", "ecdsa_secp256r1_sha256 ed25519"),
        ("$ssl_client_s_dn $ssl_client_i_dn_legacy", "CN=localhost,O=Foregate /O=Foregate/CN=localhost"),
        ("$ssl_client_serial $ssl_client_verify", "0123456789ABCDEF SUCCESS"),
    ] {
        let site = Site::with(conf, &[template], files());
        let mut ex = site.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut conn = foregate_core::testing::connection();
        conn.tls = Some(facts.clone().into());
        ex.conn = conn.into();
        assert_eq!(site.value(&mut ex, 0), expected);
    }
    let site = Site::with(conf, &["$ssl_client_cert"], files());
    let mut ex = site.exchange("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut conn = foregate_core::testing::connection();
    conn.tls = Some(facts.into());
    ex.conn = conn.into();
    assert_eq!(site.value(&mut ex, 0), CERT.trim_end().replace('\n', "\n\t"));
}
