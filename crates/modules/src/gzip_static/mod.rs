//! `gzip_static`: sends `page.html.gz` in the place of `page.html`.

use foregate_conf::Error;
use foregate_core::{Compile, Directive, PACKED_VALUES, PackedFiles, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    gzip_static: Option<usize>,
}

/// What the packed file's name has behind that of the plain one.
pub const SUFFIX: &[u8] = b".gz";

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = PackedFiles;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::choice("gzip_static", Scope::ANY_HTTP, &PACKED_VALUES, |o| &mut o.gzip_static)];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<PackedFiles>, Error> {
        Ok(PackedFiles::chosen(options.gzip_static))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Site;

    fn check(conf: &str, request: &str) -> Option<(bool, bool)> {
        let site = Site::new(conf);
        let on = site.settings().gzip_static.as_ref()?;
        Some((on.always, on.fits(&site.exchange(request))))
    }

    #[test]
    fn only_files_have_packed_ones() {
        assert_eq!(check("gzip_static on;", "GET /a HTTP/1.1\nHost: h"), Some((false, true)));
        assert_eq!(check("gzip_static always;", "HEAD /a HTTP/1.1\nHost: h"), Some((true, true)));
        assert_eq!(check("gzip_static on;", "GET /a/ HTTP/1.1\nHost: h"), Some((false, false)));
        assert_eq!(check("gzip_static on;", "POST /a HTTP/1.1\nHost: h"), Some((false, false)));
        assert_eq!(check("gzip_static on; server { gzip_static off; }", "GET /a HTTP/1.1\nHost: h"), None);
    }
}
