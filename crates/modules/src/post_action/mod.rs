//! `post_action`: a request inside once the client has its answer, for counting and accounting.

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Directive, Scope};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    to: Option<Word>,
}

pub enum Settings {
    Uri(Box<[u8]>),
    /// Without its `@`.
    Named(Box<[u8]>),
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] =
        &[Directive::text("post_action", Scope::ANY_HTTP_IF, |o| &mut o.to)];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(to) = options.to.filter(|it| it.text != "off" && !it.text.is_empty()) else { return Ok(None) };
        Ok(Some(match to.bytes() {
            uri @ [b'/', ..] => Settings::Uri(uri.into()),
            name => Settings::Named(name.strip_prefix(b"@").unwrap_or(name).into()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::testing::Site;

    #[test]
    fn places_are_told_apart() {
        let site = Site::new("post_action /a; server { post_action @b; location / { } }");
        assert!(matches!(site.settings().post_action.as_deref(), Some(Settings::Named(it)) if **it == *b"b"));
        let site = Site::new("post_action /a;");
        assert!(matches!(site.settings().post_action.as_deref(), Some(Settings::Uri(it)) if **it == *b"/a"));
        assert!(Site::new("post_action /a; server { post_action off; }").settings().post_action.is_none());
    }
}
