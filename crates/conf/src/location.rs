//! The arguments of `location`: the modifier, written apart or glued to the name, and the name.

use crate::error::Error;
use crate::tree::{Node, Word};

/// How a location matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// `location /x`: the longest prefix.
    Prefix,
    /// `location = /x`
    Exact,
    /// `location ^~ /x`: a prefix that keeps regular expressions out.
    NoRegex,
    /// `location ~ x`
    Regex,
    /// `location ~* x`
    RegexNoCase,
    /// `location @x`: reached by internal redirects only. The `@` is part of the name.
    Named,
}

/// Splits the head of a `location`.
///
/// # Errors
/// nginx's, about the number of arguments and an unknown modifier.
pub fn location_args(node: &Node) -> Result<(Modifier, Word), Error> {
    match node.args.as_slice() {
        [name] => Ok(glued(name)),
        [modifier, name] => Ok((apart(modifier)?, name.clone())),
        _ => Err(Error::arity(node)),
    }
}

fn apart(modifier: &Word) -> Result<Modifier, Error> {
    match &**modifier {
        "=" => Ok(Modifier::Exact),
        "^~" => Ok(Modifier::NoRegex),
        "~" => Ok(Modifier::Regex),
        "~*" => Ok(Modifier::RegexNoCase),
        _ => {
            let error = Error::at(modifier.span, format!("invalid location modifier \"{modifier}\""));
            Err(error.advise("the modifiers are =, ^~, ~ and ~*"))
        }
    }
}

fn glued(name: &Word) -> (Modifier, Word) {
    let (modifier, n) = match name.bytes() {
        [b'=', ..] => (Modifier::Exact, 1),
        [b'^', b'~', ..] => (Modifier::NoRegex, 2),
        [b'~', b'*', ..] => (Modifier::RegexNoCase, 2),
        [b'~', ..] => (Modifier::Regex, 1),
        [b'@', ..] => (Modifier::Named, 0),
        _ => (Modifier::Prefix, 0),
    };
    (modifier, name.trimmed(n, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn check(head: &str) -> Result<(Modifier, String), String> {
        let tree = parse(&format!("location {head} {{}}")).unwrap();
        match location_args(&tree.nodes[0]) {
            Ok((modifier, name)) => Ok((modifier, name.text)),
            Err(error) => Err(error.what),
        }
    }

    #[test]
    fn modifiers_stand_apart_or_glued() {
        let cases = [
            ("/", Modifier::Prefix, "/"),
            ("=/x", Modifier::Exact, "/x"),
            ("= /x", Modifier::Exact, "/x"),
            ("^~/x", Modifier::NoRegex, "/x"),
            ("^~ /x", Modifier::NoRegex, "/x"),
            ("~\\.php$", Modifier::Regex, "\\.php$"),
            ("~ \\.php$", Modifier::Regex, "\\.php$"),
            ("~*\\.(png)$", Modifier::RegexNoCase, "\\.(png)$"),
            ("~* \"^/\\d{3}$\"", Modifier::RegexNoCase, "^/\\d{3}$"),
            ("\"~^/x{2}\"", Modifier::Regex, "^/x{2}"),
            ("@name", Modifier::Named, "@name"),
            ("= @name", Modifier::Exact, "@name"),
        ];
        for (head, modifier, name) in cases {
            assert_eq!(check(head), Ok((modifier, name.to_owned())), "{head}");
        }
    }

    #[test]
    fn other_heads_are_errors() {
        assert_eq!(check("~~ /x"), Err("invalid location modifier \"~~\"".into()));
        assert_eq!(check("a b c"), Err("invalid number of arguments in \"location\" directive".into()));
    }
}
