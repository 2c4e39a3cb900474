//! `zstd_static`: sends `page.html.zst` in the place of `page.html`.

use foregate_conf::Error;
use foregate_core::{Compile, Directive, Exchange, Method, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    zstd_static: Option<usize>,
}

pub struct Settings {
    /// To every client, whether or not it takes zstd.
    pub always: bool,
}

/// What the packed file's name has behind that of the plain one.
pub const SUFFIX: &[u8] = b".zst";

const VALUES: [&str; 3] = ["off", "on", "always"];
const ALWAYS: usize = 2;

/// Whether a packed file may stand for what the request asks for.
pub fn fits(_: &Settings, ex: &Exchange) -> bool {
    matches!(ex.method, Method::Get | Method::Head) && !ex.uri.ends_with(b"/")
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::choice("zstd_static", Scope::ANY_HTTP, &VALUES, |o| &mut o.zstd_static)];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let on = options.zstd_static.filter(|it| *it > 0);
        Ok(on.map(|it| Settings { always: it == ALWAYS }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Site;

    fn check(conf: &str, request: &str) -> Option<(bool, bool)> {
        let site = Site::new(conf);
        let on = site.settings().zstd_static.as_ref()?;
        Some((on.always, super::fits(on, &site.exchange(request))))
    }

    #[test]
    fn only_files_have_packed_ones() {
        assert_eq!(check("zstd_static on;", "GET /a HTTP/1.1\nHost: h"), Some((false, true)));
        assert_eq!(check("zstd_static always;", "HEAD /a HTTP/1.1\nHost: h"), Some((true, true)));
        assert_eq!(check("zstd_static on;", "GET /a/ HTTP/1.1\nHost: h"), Some((false, false)));
        assert_eq!(check("zstd_static on;", "POST /a HTTP/1.1\nHost: h"), Some((false, false)));
        assert_eq!(check("zstd_static on; server { zstd_static off; }", "GET /a HTTP/1.1\nHost: h"), None);
    }
}
