//! `flv`: Flash videos from the byte that `?start=` names, behind a header of their own.

use foregate_conf::{Error, Node};
use foregate_core::{Args, Body, Compile, Directive, Exchange, Method, Part, Reply, Scope};
use foregate_wire::{Buf, uri};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    on: bool,
}

pub struct Settings;

/// Signature, version 1, sound and picture, the header's length, the length of the tag before the first.
const HEADER: &[u8; 13] = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::own("flv", Scope::LOCATION, Args::NONE, read, |_, _| ())];

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

/// Whether the location answers such requests at all.
pub fn takes(_: &Settings, ex: &Exchange) -> bool {
    matches!(ex.method, Method::Get | Method::Head)
}

/// Content phase, behind the file: leaves out what is before the start that is asked for.
pub fn cut(_: &Settings, ex: &Exchange, reply: &mut Reply) {
    let Some(start) = uri::arg(&ex.args, b"start").and_then(|it| std::str::from_utf8(it).ok()) else { return };
    let digits = !start.is_empty() && start.bytes().all(|it| it.is_ascii_digit());
    let Some(start) = start.parse().ok().filter(|it| digits && *it > 0) else { return };
    let Body::File(slice) = &reply.body else { return };
    if start < slice.end {
        let mut slice = slice.clone();
        slice.start = start;
        reply.body = Body::Parts(vec![Part::Bytes(Buf::from_static(HEADER)), Part::File(slice)]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use foregate_core::FileSlice;

    use super::*;
    use crate::testing::Site;

    fn check(request: &str) -> Option<u64> {
        let site = Site::new("server { location / { flv; } }");
        let on = site.settings().flv.as_ref()?;
        let file = Arc::new(std::fs::File::open("/dev/null").ok()?);
        let mut reply = Reply { body: Body::File(FileSlice::new(file, 0, 100)), ..Reply::default() };
        cut(on, &site.exchange(request), &mut reply);
        reply.body.len()
    }

    #[test]
    fn a_start_within_the_file_is_kept_to() {
        assert_eq!(check("GET /a.flv"), Some(100));
        assert_eq!(check("GET /a.flv?start=0"), Some(100));
        assert_eq!(check("GET /a.flv?start=40"), Some(73));
        assert_eq!(check("GET /a.flv?x=1&start=99"), Some(14));
        assert_eq!(check("GET /a.flv?start=100"), Some(100));
        assert_eq!(check("GET /a.flv?start=-1"), Some(100));
        assert_eq!(check("GET /a.flv?start=+1"), Some(100));
    }
}
