//! The bare cost of one proxied request: a relay that only finds the end of heads.
//!
//! `relay LISTEN BACKEND [CERT KEY]`, addresses as 127.0.0.1:8000; with a certificate and its key (PEM files) clients
//! speak TLS.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use foregate_net::runtime::{run, spawn};
use foregate_net::tls::{self, Server, certs::Certificates, tickets::TicketKeys};
use foregate_net::{Addr, Conn, ConnectOptions, ListenSpec, Listener, Stream};

type Pool = Rc<RefCell<Vec<Conn>>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, backend, cert @ ..] = &args[..] else {
        return Err("usage: relay 127.0.0.1:8000 127.0.0.1:9000 [cert.pem key.pem]".into());
    };
    let (listen, backend) = (Addr::Ip(listen.parse()?), Addr::Ip(backend.parse()?));
    let server = match cert {
        [cert, key] => Some(tls_server(&std::fs::read(cert)?, &std::fs::read(key)?)?),
        _ => None,
    };
    run(async {
        let listener = Listener::bind(&ListenSpec::new(listen))?;
        let pool = Pool::default();
        loop {
            let (stream, _) = listener.accept().await?;
            let (pool, backend, server) = (pool.clone(), backend.clone(), server.clone());
            spawn(async move {
                let client = match server {
                    Some(server) => match tls::accept(stream, |_| Ok(server)).await {
                        Ok(client) => Conn::Tls(Box::new(client)),
                        Err(_) => return,
                    },
                    None => Conn::Plain(stream),
                };
                let _ = serve(client, &pool, &backend).await;
            });
        }
    })?
}

fn tls_server(cert: &[u8], key: &[u8]) -> Result<Server, Box<dyn std::error::Error>> {
    let certified = Arc::new(tls::certs::certified(cert, key)?);
    let mut config = rustls::ServerConfig::builder_with_provider(tls::provider().clone())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates::new(vec![certified])));
    config.ticketer = Arc::new(TicketKeys::random(300).ok_or("no randomness")?);
    Ok(Server::new(config))
}

async fn serve(client: Conn, pool: &Pool, backend: &Addr) -> std::io::Result<()> {
    loop {
        let request = client.recv().await?;
        if request.is_empty() {
            return Ok(());
        }
        let idle = pool.borrow_mut().pop().filter(|idle| !idle.is_readable());
        let upstream = match idle {
            Some(idle) => idle,
            None => Conn::Plain(Stream::connect(backend, &ConnectOptions::default()).await?),
        };
        upstream.send_all(&request).await?;
        let mut left = None;
        while left != Some(0) {
            let part = upstream.recv().await?;
            if part.is_empty() {
                return Ok(());
            }
            left = Some(left.unwrap_or_else(|| response_bytes(&part)).saturating_sub(part.len()));
            client.send_all(&part).await?;
        }
        pool.borrow_mut().push(upstream);
    }
}

/// Bytes of the response whose head `head` begins with.
fn response_bytes(head: &[u8]) -> usize {
    let end = memchr::memmem::find(head, b"\r\n\r\n").map_or(head.len(), |end| end + 4);
    let name = b"Content-Length: ";
    let value = memchr::memmem::find(head, name).map_or(&[][..], |at| &head[at + name.len()..]);
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    end + digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}
