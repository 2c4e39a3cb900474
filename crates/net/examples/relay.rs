//! The bare cost of one proxied request: a relay that only finds the end of heads. `relay LISTEN BACKEND`.

use std::cell::RefCell;
use std::rc::Rc;

use foregate_net::runtime::{run, spawn};
use foregate_net::{Addr, ConnectOptions, ListenSpec, Listener, Stream};

type Pool = Rc<RefCell<Vec<Stream>>>;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut addr = || args.next().and_then(|text| text.parse().ok()).map(Addr::Ip);
    let (Some(listen), Some(backend)) = (addr(), addr()) else {
        eprintln!("usage: relay 127.0.0.1:8000 127.0.0.1:9000");
        std::process::exit(2);
    };
    run(async {
        let listener = Listener::bind(&ListenSpec::new(listen))?;
        let pool = Pool::default();
        loop {
            let (client, _) = listener.accept().await?;
            let (pool, backend) = (pool.clone(), backend.clone());
            spawn(async move {
                let _ = serve(client, &pool, &backend).await;
            });
        }
    })?
}

async fn serve(client: Stream, pool: &Pool, backend: &Addr) -> std::io::Result<()> {
    loop {
        let request = client.recv().await?;
        if request.is_empty() {
            return Ok(());
        }
        let idle = pool.borrow_mut().pop().filter(|idle| !idle.is_readable());
        let upstream = match idle {
            Some(idle) => idle,
            None => Stream::connect(backend, &ConnectOptions::default()).await?,
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
