//! `empty_gif`: one transparent pixel, from memory.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Node};
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Method, Reply, Scope, Stop};
use foregate_wire::Buf;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    on: bool,
}

pub struct Settings;

/// GIF89a, 1x1, two colours of which the second is transparent.
const PIXEL: &[u8; 43] = b"GIF89a\x01\0\x01\0\x80\x01\0\0\0\0\xff\xff\xff\
    \x21\xf9\x04\x01\0\0\x01\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0\x3b";
/// Mon, 28 Sep 1970 06:00:00 GMT, in seconds since the epoch: nginx's date for it.
const MODIFIED: i64 = 23_349_600;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::own("empty_gif", Scope::LOCATION, Args::NONE, read, |_, _| ())];

    fn inherit_handler(options: &mut Options, outer: &Options) {
        options.on |= outer.on;
    }

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.on.then_some(Settings))
    }
}

fn read(o: &mut Options, _: &Node, _: Scope) -> Result<(), Error> {
    o.on = true;
    Ok(())
}

/// Content phase.
pub fn serve(_: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    if !matches!(ex.method, Method::Get | Method::Head) {
        return Break(Stop::status(405));
    }
    let mut reply = Reply::bytes(200, b"image/gif", Buf::from_static(PIXEL));
    let mut date = Vec::new();
    foregate_core::time::http(MODIFIED, &mut date);
    reply.fields.push(b"Last-Modified", &date);
    reply.mtime = Some(MODIFIED);
    Continue(reply)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow::{Break, Continue};

    use super::serve;
    use crate::testing::Site;

    #[test]
    fn a_pixel_is_served_to_readers() {
        let site = Site::new("server { location / { empty_gif; } }");
        let on = site.settings().empty_gif.as_ref().unwrap();
        let Continue(reply) = serve(on, &mut site.exchange("GET /")) else { panic!("a reply") };
        assert_eq!((reply.status, reply.body.len()), (200, Some(43)));
        assert_eq!(reply.fields.get(b"last-modified"), Some(&b"Mon, 28 Sep 1970 06:00:00 GMT"[..]));
        assert!(matches!(serve(on, &mut site.exchange("POST /")), Break(_)));
    }
}
