//! `gunzip`: unpacks answers for clients that do not take gzip.

use std::rc::Rc;

use flate2::{Decompress, FlushDecompress, Status};
use foregate_conf::{Error, Node, value as values};
use foregate_core::{
    Args, BodyError, Compile, Directive, Exchange, Household, Level, Reply, Scope, Transform, duplicate,
};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    gunzip: Option<bool>,
    /// Read and checked; our buffers are the thread's.
    buffers: bool,
}

/// Present where it is on.
pub struct Settings;

/// Whether an answer is packed, so that a client that does not take gzip needs it unpacked.
pub fn fits(_: &Settings, reply: &Reply) -> bool {
    reply.fields.get(b"Content-Encoding").is_some_and(|it| it.eq_ignore_ascii_case(b"gzip"))
}

/// Header and body filter. The answer [`fits`], and the client does not take gzip.
pub fn filter(_: &Settings, ex: &Exchange, reply: &mut Reply) {
    reply.fields.remove(b"Content-Encoding");
    reply.body_changes();
    reply.weaken_etag();
    if ex.header_only {
        return;
    }
    let log = Log { cycle: ex.cycle.clone(), location: ex.location, connection: ex.conn.number };
    let inflate = Inflate { state: fresh(), in_stream: false, log };
    reply.body = std::mem::take(&mut reply.body).transformed(inflate);
}

struct Inflate {
    state: Decompress,
    /// A stream has begun and not ended.
    in_stream: bool,
    log: Log,
}

/// Where a body's failure is told, when the exchange is out of reach.
struct Log {
    cycle: Rc<dyn Household>,
    location: u32,
    connection: u64,
}

/// The largest window (RFC 1951): 32 KiB.
const WINDOW_BITS: u8 = 15;
/// Room made for what comes out of one step.
const STEP_BYTES: usize = 16 * 1024;

fn fresh() -> Decompress {
    Decompress::new_gzip(WINDOW_BITS)
}

impl Transform for Inflate {
    fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        loop {
            if !self.in_stream && input.is_empty() {
                return Ok(());
            }
            self.in_stream = true;
            out.reserve(STEP_BYTES);
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress_vec(input, out, FlushDecompress::None);
            let status = status.map_err(|why| self.log.broken(&format!("inflate() failed: {why}")))?;
            let (read, written) = (self.state.total_in() - read, self.state.total_out() - written);
            input = &input[read as usize..];
            if status == Status::StreamEnd {
                // Another stream may follow (RFC 1952, 2.2).
                self.state = fresh();
                self.in_stream = false;
            } else if input.is_empty() && out.len() < out.capacity() || read + written == 0 {
                return Ok(());
            }
        }
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<(), BodyError> {
        if self.in_stream {
            return Err(self.log.broken("inflate() returned -5 on response end"));
        }
        Ok(())
    }
}

impl Log {
    fn broken(&self, what: &str) -> BodyError {
        let log = self.cycle.error_log(self.location);
        log.write_about(Level::Error, self.connection, &what, &|_| ());
        BodyError::Upstream
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::flag("gunzip", Scope::ANY_HTTP, |o| &mut o.gunzip),
        Directive::own("gunzip_buffers", Scope::ANY_HTTP, Args::Exactly(2), buffers, |_, _| ()),
    ];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.gunzip.unwrap_or(false).then_some(Settings))
    }
}

fn buffers(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if std::mem::replace(&mut o.buffers, true) {
        return Err(duplicate(node));
    }
    let (count, size) = (&node.args[0], &node.args[1]);
    let good = values::number(count).is_some_and(|it| it > 0) && values::size(size).is_some_and(|it| it > 0);
    if good { Ok(()) } else { Err(Error::at(count.span, "\"gunzip_buffers\" directive invalid value")) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use foregate_core::{Body, BodyError, Reply, next};
    use foregate_wire::Buf;

    use crate::testing::{Site, error};

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(plain).unwrap();
        gzip.finish().unwrap()
    }

    fn check(body: Vec<u8>) -> Result<Vec<u8>, BodyError> {
        foregate_net::runtime::run(async move {
            let site = Site::new("gunzip on;");
            let on = site.settings().gunzip.as_ref().unwrap();
            let mut reply = Reply { status: 200, body: Body::Bytes(Buf::from_vec(body)), ..Reply::default() };
            assert!(!super::fits(on, &reply));
            reply.fields.push(b"Content-Encoding", b"GZIP");
            reply.fields.push(b"ETag", b"\"a\"");
            assert!(super::fits(on, &reply));
            super::filter(on, &site.exchange("GET / HTTP/1.1\nHost: h"), &mut reply);
            assert_eq!(reply.fields.get(b"ETag"), Some(&b"W/\"a\""[..]));
            assert!(!reply.fields.contains(b"Content-Encoding") && reply.content_length().is_none());
            let (mut source, mut all) = (reply.body.into_source(), Vec::new());
            while let Some(bytes) = next(&mut *source).await? {
                all.extend_from_slice(&bytes);
            }
            Ok(all)
        })
        .unwrap()
    }

    #[test]
    fn bodies_are_unpacked() {
        for n in [0, 1, 1000, 70_000, 5_000_000] {
            let plain = vec![b'x'; n];
            assert!(check(packed(&plain)) == Ok(plain), "{n}");
        }
        assert_eq!(check([packed(b"one"), packed(b"two")].concat()), Ok(b"onetwo".to_vec()));
        assert_eq!(check(Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn broken_bodies_break_off() {
        let good = packed(&[b'x'; 1000]);
        assert_eq!(check(good[..good.len() - 1].to_vec()), Err(BodyError::Upstream));
        assert_eq!(check(b"no gzip at all".to_vec()), Err(BodyError::Upstream));
        assert_eq!(check([&good[..], b"garbage behind"].concat()), Err(BodyError::Upstream));
        assert_eq!(error("gunzip_buffers 1;"), "invalid number of arguments in \"gunzip_buffers\" directive");
        assert!(Site::new("gunzip off;").settings().gunzip.is_none());
    }
}
