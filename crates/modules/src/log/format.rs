//! `log_format`: what a line says.

use foregate_conf::{Error, Span, Word};
use foregate_core::{Compile, Exchange, Template};

use super::escape;

/// A format as written.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) name: Word,
    escape: Escape,
    /// All strings behind the name, one after the other.
    text: Word,
}

#[derive(Clone, Copy)]
enum Escape {
    Default,
    Json,
    None,
}

/// A compiled format.
pub(super) struct Format {
    template: Template,
    escape: Escape,
}

/// nginx's built-in format, Apache's "combined".
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
     \"$http_referer\" \"$http_user_agent\"";

impl Written {
    pub(super) fn read(name: &Word, words: &[Word]) -> Result<Self, Error> {
        let (mut escape, mut words) = (Escape::Default, words);
        if let [first, rest @ ..] = words
            && let Some(how) = first.strip_prefix("escape=")
        {
            words = rest;
            escape = match how {
                "default" => Escape::Default,
                "json" => Escape::Json,
                "none" => Escape::None,
                _ => return Err(Error::at(first.span, format!("unknown log format escaping \"{how}\""))),
            };
        }
        let text = words.iter().flat_map(|it| it.bytes()).copied().collect();
        let span = words.first().map_or(name.span, |first| first.span);
        Ok(Self { name: name.clone(), escape, text: Word::new(text, span, true) })
    }
}

impl Format {
    pub(super) fn compile(written: &Written, cx: &mut Compile<'_>) -> Result<Self, Error> {
        Ok(Self { template: cx.template(&written.text)?, escape: written.escape })
    }

    pub(super) fn combined(cx: &mut Compile<'_>) -> Result<Self, Error> {
        let word = Word::new(COMBINED.into(), Span::default(), true);
        Ok(Self { template: cx.template(&word)?, escape: Escape::Default })
    }

    /// Appends the line for an exchange, without its end.
    pub(super) fn fill(&self, ex: &mut Exchange, out: &mut Vec<u8>) {
        let template = &self.template;
        match self.escape {
            Escape::Default => template.fill_escaped(ex, out, b"-", escape::default),
            Escape::Json => template.fill_escaped(ex, out, b"", escape::json),
            Escape::None => template.fill_escaped(ex, out, b"", escape::none),
        }
    }
}
