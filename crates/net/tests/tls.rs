//! TLS as its users see it: both sides of ours with each other, and each with rustls' own record layer.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use foregate_net::runtime::spawn;
use foregate_net::tls::{self, Client, HandshakeError, Server, TlsStream};
use foregate_net::{Addr, Conn, ConnectOptions, ListenSpec, Listener, Stream, clock};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

mod driver;

use driver::run;

struct Made {
    cert: String,
    key: String,
}

fn make(algorithm: &'static rcgen::SignatureAlgorithm) -> Made {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_string()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    Made { cert: cert.pem(), key: key.serialize_pem() }
}

fn server_config(certs: &[Made], versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let certified =
        |made: &Made| Arc::new(tls::certs::certified(made.cert.as_bytes(), made.key.as_bytes()).unwrap());
    let resolver = tls::certs::Certificates::new(certs.iter().map(certified).collect());
    let mut config = ServerConfig::builder_with_provider(tls::provider().clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.ticketer = Arc::new(tls::tickets::TicketKeys::random(300).unwrap());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn client_config(certs: &[Made]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for made in certs {
        roots.add(tls::certs::chain(made.cert.as_bytes()).unwrap().remove(0)).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(tls::provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn listener() -> Listener {
    Listener::bind(&ListenSpec::new(Addr::Ip("127.0.0.1:0".parse().unwrap()))).unwrap()
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

async fn stream_to(addr: &Addr) -> Stream {
    Stream::connect(addr, &ConnectOptions::default()).await.unwrap()
}

async fn connect(addr: &Addr, client: &Client) -> TlsStream {
    tls::connect(stream_to(addr).await, client, localhost()).await.unwrap()
}

/// Accepts for ever and sends everything back.
fn serve_echo(server: Server) -> Addr {
    let listener = listener();
    let addr = listener.addr().clone();
    spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = server.clone();
            spawn(async move {
                let Ok(stream) = tls::accept(stream, |_| Ok(server)).await else { return };
                let conn = Conn::Tls(Box::new(stream));
                while let Ok(data) = conn.recv().await {
                    if data.is_empty() || conn.send_all(&data).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

async fn receive(stream: &TlsStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let data = stream.recv().await.unwrap();
        assert!(!data.is_empty(), "the end came after {} bytes", all.len());
        all.extend_from_slice(&data);
    }
    all
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

const V12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const V13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn both_sides_talk_in_either_version() {
    for (versions, protocol, cipher) in
        [(V12, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"), (V13, "TLSv1.3", "TLS_AES_256_GCM_SHA384")]
    {
        let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
        let (server, client) = (server_config(&certs, versions), client_config(&certs));
        run(async move {
            let addr = serve_echo(Server::new(server));
            let stream = connect(&addr, &Client::new(client)).await;
            assert_eq!((stream.facts().protocol, stream.facts().cipher), (protocol, cipher));
            assert_eq!((&*stream.facts().alpn, stream.facts().resumed), (&b"http/1.1"[..], false));
            assert!(!stream.facts().curve.is_empty());
            for _ in 0..3 {
                stream.send_all(b"hello").await.unwrap();
                assert_eq!(receive(&stream, 5).await, b"hello");
            }
            let (head, body) = (pattern(300), pattern(100_000));
            stream.send_vectored_all(&[&head, b"", &body]).await.unwrap();
            assert!(receive(&stream, 100_300).await == [head, body].concat());
            assert!(clock::timeout(Duration::from_millis(5), stream.readable()).await.is_err());
            assert!(!stream.is_readable());
            stream.shutdown_write();
            assert!(stream.recv().await.unwrap().is_empty());
            assert!(stream.send_all(b"late").await.is_err());
        })
        .unwrap();
    }
}

#[test]
fn megabytes_pass_both_ways_at_once() {
    for versions in [V12, V13] {
        let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
        let (server, client) = (server_config(&certs, versions), client_config(&certs));
        run(async move {
            let addr = serve_echo(Server::new(server));
            let stream = std::rc::Rc::new(connect(&addr, &Client::new(client)).await);
            let sender = stream.clone();
            spawn(async move {
                for part in pattern(8_000_000).chunks(123_457) {
                    sender.send_all(part).await.unwrap();
                }
            });
            assert!(receive(&stream, 8_000_000).await == pattern(8_000_000));
        })
        .unwrap();
    }
}

#[test]
fn a_session_is_resumed() {
    for versions in [V12, V13] {
        let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
        let (server, client) = (server_config(&certs, versions), client_config(&certs));
        run(async move {
            let addr = serve_echo(Server::new(server));
            let client = Client::new(client);
            for resumed in [false, true, true] {
                let stream = connect(&addr, &client).await;
                assert_eq!(stream.facts().resumed, resumed);
                stream.send_all(b"x").await.unwrap();
                assert_eq!(receive(&stream, 1).await, b"x");
            }
        })
        .unwrap();
    }
}

#[test]
fn the_certificate_fits_what_the_client_can_check() {
    let certs = [make(&rcgen::PKCS_RSA_SHA256), make(&rcgen::PKCS_ECDSA_P256_SHA256)];
    let server = Server::new(server_config(&certs, BOTH));
    let only_rsa = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::CryptoProvider {
        cipher_suites: tls::ciphers::tls12("aRSA+AES128"),
        ..(**tls::provider()).clone()
    }))
    .with_protocol_versions(V12)
    .unwrap()
    .dangerous()
    .with_custom_certificate_verifier(Arc::new(tls::verify::AnyServer))
    .with_no_client_auth();
    let any = client_config(&certs);
    run(async move {
        let addr = serve_echo(server);
        let stream = connect(&addr, &Client::new(only_rsa)).await;
        assert_eq!(stream.facts().cipher, "ECDHE-RSA-AES128-GCM-SHA256");
        let rsa_cert = tls::certs::chain(certs[0].cert.as_bytes()).unwrap().remove(0);
        assert_eq!(&*stream.facts().peer_certs[0], rsa_cert.as_ref());
        let stream = connect(&addr, &Client::new(any)).await;
        let ecdsa_cert = tls::certs::chain(certs[1].cert.as_bytes()).unwrap().remove(0);
        assert_eq!(&*stream.facts().peer_certs[0], ecdsa_cert.as_ref());
    })
    .unwrap();
}

#[test]
fn plain_http_and_unwanted_names_are_told_apart() {
    let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
    let client = Client::new(client_config(&certs));
    run(async move {
        let listener = listener();
        let plain = stream_to(listener.addr()).await;
        plain.send_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let Err(HandshakeError::NotTls(back, bytes)) =
            tls::accept(stream, |_| Err(tls::Refusal::UnknownName)).await
        else {
            panic!("taken for TLS")
        };
        assert_eq!(&*bytes, b"GET / HTTP/1.0\r\n\r\n");
        back.send_all(b"400").await.unwrap();
        assert_eq!(&*plain.recv().await.unwrap(), b"400");

        let addr = listener.addr().clone();
        let asking = spawn(async move {
            let refused = tls::connect(stream_to(&addr).await, &client, localhost()).await;
            let Err(HandshakeError::Tls(error)) = refused else { panic!("not refused") };
            assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName));
        });
        let (stream, _) = listener.accept().await.unwrap();
        let refused = tls::accept(stream, |hello| {
            assert_eq!(hello.server_name.as_deref(), Some("localhost"));
            Err(tls::Refusal::UnknownName)
        });
        assert!(matches!(refused.await, Err(HandshakeError::Refused)));
        while !asking.is_finished() {
            clock::sleep(Duration::from_millis(1)).await;
        }

        let addr = listener.addr().clone();
        drop(stream_to(&addr).await);
        let (stream, _) = listener.accept().await.unwrap();
        assert!(matches!(
            tls::accept(stream, |_| Err(tls::Refusal::UnknownName)).await,
            Err(HandshakeError::Closed)
        ));
    })
    .unwrap();
}

#[test]
fn an_unknown_certificate_fails_on_both_sides() {
    let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
    let server = Server::new(server_config(&certs, BOTH));
    let client = Client::new(client_config(&[make(&rcgen::PKCS_ECDSA_P256_SHA256)]));
    run(async move {
        let listener = listener();
        let addr = listener.addr().clone();
        spawn(async move {
            let refused = tls::connect(stream_to(&addr).await, &client, localhost()).await;
            assert!(matches!(refused, Err(HandshakeError::Tls(rustls::Error::InvalidCertificate(_)))));
        });
        let (stream, _) = listener.accept().await.unwrap();
        let failed = tls::accept(stream, |_| Ok(server)).await;
        assert!(matches!(failed, Err(HandshakeError::Tls(rustls::Error::AlertReceived(_)))));
    })
    .unwrap();
}

#[test]
fn clients_show_certificates_that_are_checked_afterwards() {
    let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "the authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let own_key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(["client".to_string()])
        .unwrap()
        .signed_by(&own_key, &authority)
        .unwrap();
    let roots = [authority.der().clone()];

    let mut config = server_config(&certs, BOTH);
    config = ServerConfig::builder_with_provider(tls::provider().clone())
        .with_protocol_versions(BOTH)
        .unwrap()
        .with_client_cert_verifier(Arc::new(tls::verify::AnyClient::new(&roots)))
        .with_cert_resolver(config.cert_resolver);
    let client = ClientConfig::builder_with_provider(tls::provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(tls::verify::AnyServer))
        .with_client_auth_cert(
            vec![own.der().clone()],
            tls::certs::key(own_key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let good = tls::verify::ClientChain::new(&roots, Vec::new(), 1);
    let others = tls::certs::chain(certs[0].cert.as_bytes()).unwrap();
    let bad = tls::verify::ClientChain::new(&others, Vec::new(), 1);
    run(async move {
        let listener = listener();
        let addr = listener.addr().clone();
        spawn(async move {
            let stream = connect(&addr, &Client::new(client)).await;
            stream.recv().await.unwrap();
        });
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tls::accept(stream, |_| Ok(Server::new(config))).await.unwrap();
        assert_eq!(good.check(&stream.facts().peer_certs), Ok(()));
        let why = bad.check(&stream.facts().peer_certs).unwrap_err();
        assert_eq!((why.code, why.text), (21, "unable to verify the first certificate"));
    })
    .unwrap();
}

/// A client on rustls' own record layer, on a thread of its own: it updates its key between messages.
#[test]
fn rustls_own_client_with_key_updates_is_understood() {
    let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
    let (server, client) = (server_config(&certs, V13), client_config(&certs));
    run(async move {
        let addr = serve_echo(Server::new(server)).ip().unwrap();
        foregate_net::runtime::blocking(move || {
            let conn = rustls::ClientConnection::new(Arc::new(client), localhost()).unwrap();
            let mut stream = rustls::StreamOwned::new(conn, std::net::TcpStream::connect(addr).unwrap());
            for round in 0..5 {
                let sent = pattern(50_000 + round);
                stream.write_all(&sent).unwrap();
                let mut back = vec![0; sent.len()];
                stream.read_exact(&mut back).unwrap();
                assert!(back == sent);
                stream.conn.refresh_traffic_keys().unwrap();
            }
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
        })
        .await;
    })
    .unwrap();
}

#[test]
fn damaged_records_end_the_connection_with_an_alert() {
    let certs = [make(&rcgen::PKCS_ECDSA_P256_SHA256)];
    let (server, client) = (server_config(&certs, V13), client_config(&certs));
    run(async move {
        let listener = listener();
        let addr = listener.addr().clone();
        spawn(async move {
            let stream = connect(&addr, &Client::new(client)).await;
            assert_eq!(receive(&stream, 2).await, b"go");
            stream.send_all(b"good").await.unwrap();
            stream.stream().send_all(&[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await.unwrap();
            stream.stream().send_all(&[0; 10]).await.unwrap();
            assert!(stream.recv().await.unwrap().is_empty());
        });
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tls::accept(stream, |_| Ok(Server::new(server))).await.unwrap();
        stream.send_all(b"go").await.unwrap();
        assert_eq!(&*stream.recv().await.unwrap(), b"good");
        let error = stream.recv().await.unwrap_err();
        assert_eq!(error.to_string(), "decryption failed or bad record mac");
        assert!(stream.recv().await.is_err());
    })
    .unwrap();
}
