//! OCSP: issuers' words stapled to our certificates, and asked for about clients' (`ssl_stapling`, `ssl_ocsp`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use foregate_net::tls::x509::Certificate as Parsed;
use foregate_testkit::{
    Authority, Backend, Certificate, Client, Reply, Server, Setup, both, foregate_only, own_certificate,
};

/// An authority that can be asked, and what it says of the one certificate that it has issued.
struct Responder {
    authority: Authority,
    folder: PathBuf,
    answer: Arc<Mutex<Vec<u8>>>,
    backend: Backend,
}

impl Responder {
    fn new() -> Responder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("foregate-ocsp-{}-{n}", std::process::id()));
        fs::create_dir_all(&folder).expect("because it is a temporary folder");
        let answer = Arc::new(Mutex::new(Vec::new()));
        let said = answer.clone();
        let backend = Backend::new(move |_| {
            let body = said.lock().unwrap().clone();
            Reply::status(200, "Content-Type: application/ocsp-response\r\n", body).close()
        });
        Responder { authority: Authority::new("The Authority"), folder, answer, backend }
    }

    /// From now on the answer is that `certificate` is valid (`V`) or revoked (`R`).
    fn say(&self, certificate: &Certificate, state: &str) -> Vec<u8> {
        let (cert, key) = (self.authority.cert_pem(), self.authority.key_pem());
        self.say_as(&cert, &key, &certificate.der, state)
    }

    /// The same as if it were another authority.
    fn say_as(&self, cert_pem: &str, key_pem: &str, leaf: &[u8], state: &str) -> Vec<u8> {
        let write = |name: &str, bytes: &[u8]| fs::write(self.folder.join(name), bytes).unwrap();
        write("ca.pem", cert_pem.as_bytes());
        write("ca.key", key_pem.as_bytes());
        write("leaf.der", leaf);
        self.openssl("x509 -inform DER -in leaf.der -out leaf.pem");
        let serial = self.openssl("x509 -in leaf.pem -noout -serial");
        let serial = String::from_utf8_lossy(&serial).trim().replace("serial=", "");
        let revoked = if state == "R" { "200101000000Z" } else { "" };
        let line = format!("{state}\t491231000000Z\t{revoked}\t{serial}\tunknown\t/CN=x\n");
        write("index", line.as_bytes());
        let files = "-index index -CA ca.pem -rsigner ca.pem -rkey ca.key -issuer ca.pem -cert leaf.pem";
        self.openssl(&format!("ocsp {files} -ndays 1 -respout answer.der"));
        let answer = fs::read(self.folder.join("answer.der")).unwrap();
        *self.answer.lock().unwrap() = answer.clone();
        answer
    }

    fn openssl(&self, arguments: &str) -> Vec<u8> {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.folder).output();
        let done = done.expect("because openssl is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.folder);
    }
}

fn stapling(responder: &Responder, own: &Certificate) -> Setup {
    Setup::http(&format!(
        "server {{
            listen 127.0.0.1:{{port:0}} ssl;
            ssl_certificate {{dir}}/c; ssl_certificate_key {{dir}}/k; ssl_trusted_certificate {{dir}}/ca;
            ssl_stapling on; ssl_stapling_verify on; ssl_stapling_responder http://{}/ask;
        }}",
        responder.backend.address()
    ))
    .file("c", &own.cert_pem)
    .file("k", &own.key_pem)
    .file("ca", responder.authority.cert_pem())
}

fn stapled(server: &Server) -> Option<Vec<u8>> {
    Client::stapled(server.address(0), "a.test")
}

#[test]
fn what_the_issuer_says_of_a_certificate_comes_with_it() {
    both(|subject| {
        let responder = Responder::new();
        let own = responder.authority.issue(&["a.test"]);
        let answer = responder.say(&own, "V");
        let server = stapling(&responder, &own).start(subject);
        server.eventually(|server| stapled(server).as_ref() == Some(&answer));
        let asked = responder.backend.requests();
        assert!(asked[0].head.starts_with("GET /ask/M"), "{}", asked[0].head);
        stapled(&server);
        assert_eq!(responder.backend.requests().len(), 1, "it is asked once");
    });
}

#[test]
fn what_speaks_against_a_certificate_is_logged_and_not_stapled() {
    both(|subject| {
        let responder = Responder::new();
        let own = responder.authority.issue(&["a.test"]);
        responder.say(&own, "R");
        let setup = stapling(&responder, &own).allow_log("certificate status");
        let server = setup.start(subject);
        stapled(&server);
        server.wait_for_error("certificate status \"revoked\" in the OCSP response");
        assert_eq!(stapled(&server), None);
    });
}

#[test]
fn a_response_outlives_a_reload() {
    foregate_only(|subject| {
        let responder = Responder::new();
        let own = responder.authority.issue(&["a.test"]);
        let answer = responder.say(&own, "V");
        let server = stapling(&responder, &own).start(subject);
        server.eventually(|server| stapled(server).as_ref() == Some(&answer));
        server.signal(foregate_testkit::Signal::HUP);
        server.wait_for_error("signal 1");
        for _ in 0..20 {
            assert_eq!(stapled(&server).as_ref(), Some(&answer), "never without");
        }
        assert_eq!(responder.backend.requests().len(), 1);
    });
}

#[test]
fn certificates_that_come_later_are_asked_about_when_they_have_been_shown() {
    foregate_only(|subject| {
        let responder = Responder::new();
        let own = responder.authority.issue(&["a.test"]);
        let answer = responder.say(&own, "V");
        let conf = format!(
            "server {{
                listen 127.0.0.1:{{port:0}} ssl;
                ssl_certificate {{dir}}/$ssl_server_name.crt; ssl_certificate_key {{dir}}/$ssl_server_name.key;
                ssl_trusted_certificate {{dir}}/ca;
                ssl_stapling on; ssl_stapling_verify on; ssl_stapling_responder http://{}/ask;
            }}",
            responder.backend.address()
        );
        let setup = Setup::http(&conf).file("a.test.crt", &own.cert_pem).file("a.test.key", &own.key_pem);
        let server = setup.file("ca", responder.authority.cert_pem()).start(subject);
        assert_eq!(stapled(&server), None, "nobody has been asked yet");
        server.eventually(|server| stapled(server).as_ref() == Some(&answer));
        assert_eq!(responder.backend.requests().len(), 1, "it is asked once");
    });
}

#[test]
fn what_the_internal_authority_issues_is_stapled_when_somebody_answers_for_it() {
    foregate_only(|subject| {
        let responder = Responder::new();
        let conf = |more: &str| {
            Setup::http(&format!(
                "acme_issuer internal;
                 server {{ listen 127.0.0.1:{{port:0}} ssl; server_name a.test; {more} return 200; }}"
            ))
        };
        let server = conf("").start(subject);
        let shown = |server: &Server| {
            let handshake = Client::connect_tls(server.address(0), "a.test", &[]);
            handshake.ok()?.certificates.into_iter().next()
        };
        let issued = |server: &Server| {
            let leaf = shown(server)?;
            let by = Parsed::parse(&leaf)?.issuer.common_names();
            by.first()?.starts_with("Foregate internal authority").then_some(leaf)
        };
        server.eventually(|server| issued(server).is_some());
        let leaf = issued(&server).expect("because it was there just now");
        let [root, key] = ["root.pem", "root.key"].map(|it| server.read(&format!("acme_internal/{it}")));
        let answer = responder.say_as(&root, &key, &leaf, "V");
        server.write_conf(&conf(&format!(
            "ssl_trusted_certificate {{dir}}/acme_internal/root.pem; ssl_stapling on; ssl_stapling_verify on;
             ssl_stapling_responder http://{}/ask;",
            responder.backend.address()
        )));
        server.reload(|server| stapled(server).as_ref() == Some(&answer));
        assert_eq!(shown(&server), Some(leaf), "the same certificate as before");
        server.signal(foregate_testkit::Signal::HUP);
        server.wait_for_error("signal 1");
        for _ in 0..20 {
            assert_eq!(stapled(&server).as_ref(), Some(&answer), "never without");
        }
    });
}

/// The page of a client with this certificate, who comes on a connection of its own.
fn page(server: &Server, own: &Certificate) -> String {
    let tls = Client::connect_tls_with(server.address(0), "a.test", own_certificate(own));
    let mut client = tls.expect("because the handshake asks for nothing").client;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    let seen = client.response().expect("because there is always an answer");
    format!("{} {}", seen.status, seen.text().lines().next().unwrap_or_default())
}

fn asking(responder: &Responder, more: &str) -> Setup {
    let host = Certificate::self_signed(&["a.test"]);
    Setup::http(&format!(
        "server {{
            listen 127.0.0.1:{{port:0}} ssl;
            ssl_certificate {{dir}}/c; ssl_certificate_key {{dir}}/k;
            ssl_client_certificate {{dir}}/ca; ssl_verify_client on;
            ssl_ocsp leaf; ssl_ocsp_responder http://{}; {more}
            error_page 495 =403 @bad;
            location / {{ return 200 $ssl_client_verify; }}
            location @bad {{ return 403 $ssl_client_verify; }}
        }}",
        responder.backend.address()
    ))
    .file("c", &host.cert_pem)
    .file("k", &host.key_pem)
    .file("ca", responder.authority.cert_pem())
}

#[test]
fn the_issuer_is_asked_about_each_client() {
    both(|subject| {
        let responder = Responder::new();
        let friend = responder.authority.issue(&["friend"]);
        let server = asking(&responder, "").allow_log("certificate status").start(subject);
        responder.say(&friend, "V");
        assert_eq!(page(&server, &friend), "200 SUCCESS");
        responder.say(&friend, "R");
        assert_eq!(page(&server, &friend), "403 FAILED:certificate revoked");
        *responder.answer.lock().unwrap() = b"nonsense".to_vec();
        assert_eq!(page(&server, &friend), "403 FAILED:certificate status request failed");
        assert_eq!(responder.backend.requests().len(), 3);
    });
}

#[test]
fn answers_about_clients_are_kept_where_there_is_a_cache() {
    both(|subject| {
        let responder = Responder::new();
        let friend = responder.authority.issue(&["friend"]);
        let server = asking(&responder, "ssl_ocsp_cache shared:ocsp:1m;").start(subject);
        responder.say(&friend, "V");
        assert_eq!(page(&server, &friend), "200 SUCCESS");
        responder.say(&friend, "R");
        assert_eq!(page(&server, &friend), "200 SUCCESS");
        assert_eq!(responder.backend.requests().len(), 1);
    });
}
