//! What of TLS is refused in a configuration, with nginx's words.

use foregate_testkit::{Certificate, Setup, both};

/// The line that says what is wrong, without the path of the folder.
fn refusal(printed: &str) -> &str {
    printed.lines().find_map(|line| line.split_once("[emerg] ")).map_or(printed, |(_, what)| what)
}

#[test]
fn what_cannot_be_loaded_is_said_as_nginx_says_it() {
    let (own, other) = (Certificate::self_signed(&["a.example"]), Certificate::self_signed(&["b.example"]));
    for (directives, expected) in [
        ("", "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive in {dir}/nginx.conf:"),
        ("ssl_certificate c;", "no \"ssl_certificate_key\" is defined for certificate \"c\""),
        (
            "ssl_certificate no; ssl_certificate_key k;",
            "cannot load certificate \"{dir}/no\": BIO_new_file() failed (SSL: error:80000002:system library::No such \
             file or directory:calling fopen({dir}/no, r) error:10000080:BIO routines::no such file)",
        ),
        (
            "ssl_certificate c; ssl_certificate_key no;",
            "cannot load certificate key \"{dir}/no\": BIO_new_file() failed (SSL: error:80000002:",
        ),
        (
            "ssl_certificate k; ssl_certificate_key k;",
            "cannot load certificate \"{dir}/k\": PEM_read_bio_X509_AUX() failed",
        ),
        (
            "ssl_certificate c; ssl_certificate_key c;",
            "cannot load certificate key \"{dir}/c\": PEM_read_bio_PrivateKey() failed",
        ),
        (
            "ssl_certificate c; ssl_certificate_key other;",
            "SSL_CTX_use_PrivateKey(\"{dir}/other\") failed (SSL: error:05800074:x509 certificate routines::key values \
             mismatch)",
        ),
        ("ssl_certificate c; ssl_certificate_key k; ssl_verify_client on;", "no ssl_client_certificate"),
        (
            "ssl_certificate c; ssl_certificate_key k; ssl_protocols TLSv9;",
            "invalid value \"TLSv9\" in {dir}/nginx.conf:",
        ),
        (
            "ssl_certificate c; ssl_certificate_key k; ssl_ciphers none-such;",
            "SSL_CTX_set_cipher_list(\"none-such\") failed",
        ),
        (
            "ssl_certificate c; ssl_certificate_key k; ssl_ecdh_curve x;",
            "SSL_CTX_set1_curves_list(\"x\") failed",
        ),
        ("ssl_session_cache shared:x;", "invalid session cache \"shared:x\" in {dir}/nginx.conf:"),
        ("ssl_session_cache shared:x:1k;", "session cache \"shared:x:1k\" is too small in {dir}/nginx.conf:"),
    ] {
        let setup = Setup::http(&format!("server {{ listen 127.0.0.1:{{port:0}} ssl; {directives} }}"))
            .file("c", &own.cert_pem)
            .file("k", &own.key_pem)
            .file("other", &other.key_pem);
        both(|subject| {
            let (good, printed) = setup.test(subject);
            let seen = refusal(&printed);
            assert!(!good && seen.starts_with(expected), "{subject} {directives}: {seen}");
        });
    }
}
