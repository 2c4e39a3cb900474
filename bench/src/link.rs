//! A visitor's connection, plain or TLS, and the certificate both sides agree on.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

use crate::Result;

/// How long a blocking call may take before it counts as an error.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
const NAME: &str = "localhost";

/// A connection to 127.0.0.1.
pub(crate) struct Link {
    pub(crate) socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Connects; calls block, for [`PATIENCE`] at most.
    pub(crate) fn open(port: u16, tls: Option<&Arc<ClientConfig>>) -> io::Result<Link> {
        let socket = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(NAME).expect("because localhost is a name");
        let tls = match tls {
            None => None,
            Some(config) => {
                let tls = ClientConnection::new(config.clone(), name);
                Some(Box::new(tls.map_err(io::Error::other)?))
            }
        };
        Ok(Link { socket, tls })
    }

    /// Whether the handshake took up an earlier session.
    pub(crate) fn resumed(&self) -> bool {
        self.tls.as_ref().and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// Version and cipher suite, once the handshake is done.
    pub(crate) fn suite(&self) -> Option<String> {
        let suite = self.tls.as_ref()?.negotiated_cipher_suite()?;
        Some(format!("{:?}", suite.suite()))
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer),
            Some(tls) => match rustls::Stream::new(tls.as_mut(), &mut self.socket).read(buffer) {
                // A peer that ends without close_notify has ended all the same.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                done => done,
            },
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.socket).flush(),
        }
    }
}

/// The certificate of all proxies: ECDSA P-256, made for this run.
pub(crate) struct Certificate {
    roots: Arc<RootCertStore>,
}

impl Certificate {
    /// Writes `cert.pem`, `key.pem` and `both.pem`, HAProxy's form, into the folder.
    pub(crate) fn make(folder: &Path) -> Result<Certificate> {
        let text = |e: &dyn std::fmt::Display| format!("certificate: {e}");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|e| text(&e))?;
        let params = rcgen::CertificateParams::new([NAME.to_owned()]).map_err(|e| text(&e))?;
        let cert = params.self_signed(&key).map_err(|e| text(&e))?;
        let (cert_pem, key_pem) = (cert.pem(), key.serialize_pem());
        let both = format!("{cert_pem}{key_pem}");
        for (name, pem) in [("cert.pem", &cert_pem), ("key.pem", &key_pem), ("both.pem", &both)] {
            std::fs::write(folder.join(name), pem).map_err(|e| text(&e))?;
        }
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).map_err(|e| text(&e))?;
        Ok(Certificate { roots: Arc::new(roots) })
    }

    /// A visitor's side: TLS 1.3 only, with a memory of sessions of its own, or none.
    pub(crate) fn visitor(&self, resume: bool) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("because the provider has TLS 1.3")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.resumption = if resume { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
        Arc::new(config)
    }
}
