//! Lists of media types: `gzip_types`, `charset_types`, `sub_filter_types` and their kin.

use std::sync::Arc;

use foregate_conf::{Error, Node};
use foregate_wire::Fields;

/// The types whose answers a filter looks at. Cheap to clone.
#[derive(Clone, Default)]
pub struct Types {
    /// `*`
    any: bool,
    /// Lower case.
    list: Arc<Vec<Box<[u8]>>>,
}

impl Types {
    pub fn of(types: &[&str]) -> Self {
        let list = types.iter().map(|it| it.as_bytes().into()).collect();
        Self { any: false, list: Arc::new(list) }
    }

    /// Reads a directive that adds to the types written before it in the same block, or else to `always`.
    /// Doubles go to `warnings`, as nginx words them.
    pub fn read(slot: &mut Option<Self>, always: &[&str], node: &Node, warnings: &mut Vec<Error>) {
        let types = slot.get_or_insert_with(|| Self::of(always));
        let list = Arc::make_mut(&mut types.list);
        for word in &node.args {
            if *word == "*" {
                types.any = true;
                return;
            }
            let lower: Box<[u8]> = word.bytes().to_ascii_lowercase().into();
            if list.contains(&lower) {
                let what = format!("duplicate MIME type \"{}\"", String::from_utf8_lossy(&lower));
                warnings.push(Error::at(word.span, what).warn());
            } else {
                list.push(lower);
            }
        }
    }

    /// Whether the `Content-Type` of an answer is listed, parameters aside.
    pub fn fit(&self, fields: &Fields) -> bool {
        if self.any {
            return true;
        }
        let Some(value) = fields.get(b"Content-Type") else { return false };
        let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
        let found = value[..end].trim_ascii_end();
        self.list.iter().any(|it| it.eq_ignore_ascii_case(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(conf: &str, content_type: &str) -> (bool, usize) {
        let tree = foregate_conf::parse(conf).unwrap();
        let (mut slot, mut warnings) = (None, Vec::new());
        tree.nodes.iter().for_each(|node| Types::read(&mut slot, &["text/html"], node, &mut warnings));
        let mut fields = Fields::new();
        if !content_type.is_empty() {
            fields.push(b"content-type", content_type.as_bytes());
        }
        (slot.unwrap_or_else(|| Types::of(&["text/html"])).fit(&fields), warnings.len())
    }

    #[test]
    fn types_fit() {
        for (conf, content_type, want) in [
            ("", "text/html", (true, 0)),
            ("", "text/css", (false, 0)),
            ("t text/CSS;", "Text/css ; charset=x", (true, 0)),
            ("t a/b; t c/d;", "text/html", (true, 0)),
            ("t a/b; t c/d;", "a/b", (true, 0)),
            ("t a/b text/html a/b;", "a/bc", (false, 2)),
            ("t *;", "", (true, 0)),
            ("t a/b;", "", (false, 0)),
        ] {
            assert_eq!(check(conf, content_type), want, "{conf} {content_type}");
        }
    }
}
