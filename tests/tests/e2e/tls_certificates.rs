//! `ssl_certificate` with variables: read when a client names it, kept as long as `ssl_certificate_cache` says.

use foregate_testkit::{Certificate, Client, Server, Setup, both, foregate_only};

/// The certificate that a client who asks for this name is shown.
fn shown(server: &Server, name: &str) -> Option<Vec<u8>> {
    let handshake = Client::connect_tls(server.address(0), name, &[]).ok()?;
    handshake.certificates.into_iter().next()
}

fn put(server: &Server, name: &str, certificate: &Certificate) {
    server.write(&format!("{name}.crt"), &certificate.cert_pem);
    server.write(&format!("{name}.key"), &certificate.key_pem);
}

fn setup(more: &str) -> Setup {
    Setup::http(&format!(
        "server {{
            listen 127.0.0.1:{{port:0}} ssl;
            ssl_certificate {{dir}}/$ssl_server_name.crt;
            ssl_certificate_key {{dir}}/$ssl_server_name.key;
            {more}
            return 200 $ssl_server_name;
        }}"
    ))
}

#[test]
fn a_certificate_of_a_variable_name_is_read_for_each_connection() {
    both(|subject| {
        let server = setup("").start(subject);
        let [a, b, later] = ["a.test", "b.test", "a.test"].map(|name| Certificate::self_signed(&[name]));
        put(&server, "a.test", &a);
        put(&server, "b.test", &b);
        assert_eq!(shown(&server, "a.test"), Some(a.der));
        assert_eq!(shown(&server, "b.test"), Some(b.der));
        put(&server, "a.test", &later);
        assert_eq!(shown(&server, "a.test"), Some(later.der), "no reload is needed");
        assert_eq!(shown(&server, "none.test"), None);
        server.wait_for_error("cannot load certificate \"");
        let mut handshake =
            Client::connect_tls(server.address(0), "b.test", &[]).expect("because it is served");
        assert_eq!(handshake.client.get("/").text(), "b.test");
    });
}

#[test]
fn what_is_kept_is_not_read_again() {
    foregate_only(|subject| {
        let server = setup("ssl_certificate_cache max=4 valid=1h inactive=1h;").start(subject);
        let [a, b, c, later] =
            ["a.test", "b.test", "c.test", "a.test"].map(|it| Certificate::self_signed(&[it]));
        for (name, certificate) in [("a.test", &a), ("b.test", &b), ("c.test", &c)] {
            put(&server, name, certificate);
        }
        assert_eq!(shown(&server, "a.test"), Some(a.der.clone()));
        put(&server, "a.test", &later);
        assert_eq!(shown(&server, "a.test"), Some(a.der));
        assert_eq!([shown(&server, "b.test"), shown(&server, "c.test")], [Some(b.der), Some(c.der)]);
        assert_eq!(shown(&server, "a.test"), Some(later.der), "others had needed its place");
    });
}

#[test]
fn a_certificate_that_changes_on_disk_is_picked_up_and_nothing_else_is() {
    foregate_only(|subject| {
        let [old, new] = ["site.test"; 2].map(|name| Certificate::self_signed(&[name]));
        let conf = "server {
                listen 127.0.0.1:{port:0} ssl;
                ssl_certificate {dir}/site.crt;
                ssl_certificate_key {dir}/site.key;
                include {dir}/answer.conf;
            }";
        let server = Setup::http(conf)
            .file("site.crt", &old.cert_pem)
            .file("site.key", &old.key_pem)
            .file("answer.conf", "return 200 before;")
            .allow_log("cannot load certificate")
            .start(subject);
        let open = |server: &Server| Client::connect_tls(server.address(0), "site.test", &[]);
        let mut kept = open(&server).expect("because it is served");
        assert_eq!(kept.certificates, [old.der]);
        server.write("answer.conf", "return 200 after;");
        server.write("site.key", &new.key_pem);
        server.write("site.crt", &new.cert_pem);
        server.eventually(|server| shown(server, "site.test").as_ref() == Some(&new.der));
        assert_eq!(
            kept.client.get("/").text(),
            "before",
            "the connection lives on, and the rest is as it was loaded"
        );
        server.wait_for_error("certificates have changed on disk");

        server.write("site.crt", "no certificate");
        server.wait_for_error("those that were read before stay in use");
        assert_eq!(shown(&server, "site.test"), Some(new.der));
    });
}

/// A proxy that shows its certificate `own` to a backend that tells whose it was.
fn proxy_setup(more: &str, certificates: &[(&str, &Certificate)]) -> Setup {
    let setup = Setup::http(&format!(
        "server {{
            listen 127.0.0.1:{{port:0}};
            location / {{ proxy_pass https://127.0.0.1:{{port:1}}; {more} }}
        }}
        server {{
            listen 127.0.0.1:{{port:1}} ssl;
            ssl_certificate {{dir}}/own.crt; ssl_certificate_key {{dir}}/own.key;
            ssl_verify_client optional_no_ca;
            return 200 $ssl_client_s_dn;
        }}"
    ));
    certificates.iter().fold(setup, |setup, (name, certificate)| {
        setup
            .file(&format!("{name}.crt"), &certificate.cert_pem)
            .file(&format!("{name}.key"), &certificate.key_pem)
    })
}

#[test]
fn a_command_names_the_certificate_that_a_backend_is_shown() {
    both(|subject| {
        let [own, other] = ["own", "other"].map(|name| Certificate::self_signed(&[name]));
        let more = "proxy_ssl_certificate {dir}/own.crt; proxy_ssl_certificate_key {dir}/own.key;
            proxy_ssl_conf_command Certificate {dir}/other.crt;
            proxy_ssl_conf_command PrivateKey {dir}/other.key;
            proxy_ssl_conf_command MinProtocol TLSv1.2;";
        let server = proxy_setup(more, &[("own", &own), ("other", &other)]).start(subject);
        assert_eq!(server.get("/").text(), "CN=other");
    });
}

#[test]
fn a_certificate_for_backends_that_changes_on_disk_is_picked_up() {
    foregate_only(|subject| {
        let [own, first, second] = ["own", "first", "second"].map(|name| Certificate::self_signed(&[name]));
        let more = "proxy_ssl_certificate {dir}/shown.crt; proxy_ssl_certificate_key {dir}/shown.key;";
        let setup = proxy_setup(more, &[("own", &own), ("shown", &first)]);
        let server = setup.allow_log("key values mismatch").start(subject);
        assert_eq!(server.get("/").text(), "CN=first");
        put(&server, "shown", &second);
        server.eventually(|server| server.get("/").text() == "CN=second");
    });
}
