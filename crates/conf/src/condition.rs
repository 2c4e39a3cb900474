//! The condition of `if`: parentheses off, its shape checked in nginx's order and words.

use crate::error::Error;
use crate::tree::{Node, Word};

/// A condition of nginx's rewrite module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `$x`: neither empty nor `0`. The word keeps its `$`, here and below.
    Variable(Word),
    /// `$x = y`, or `!=` when `negated`.
    Equals { variable: Word, value: Word, negated: bool },
    /// `$x ~ y`; `*` ignores case, `!` negates.
    Matches { variable: Word, pattern: Word, nocase: bool, negated: bool },
    /// `-f path`, `-d`, `-e`, `-x`; the test is the letter.
    File { test: u8, path: Word, negated: bool },
}

/// Reads the head of an `if`.
///
/// # Errors
/// `invalid condition "X"`, `unexpected "X" in condition`, or the number of arguments, as in nginx.
pub fn parse_condition(node: &Node) -> Result<Condition, Error> {
    let words = condition_words(node)?;
    let Some((first, rest)) = words.split_first() else {
        // Nothing stands between the parentheses; nginx names the second.
        let last = node.args.last().unwrap_or(&node.name);
        return Err(invalid(&last.trimmed(last.bytes().len() - 1, 0)));
    };
    if first.starts_with('$') && first.len() > 1 {
        return on_variable(first, rest);
    }
    if let Some((test, negated)) = file_test(first)
        && let [path] = rest
    {
        let path = path.clone();
        return Ok(Condition::File { test, path, negated });
    }
    Err(invalid(first))
}

/// The words between the parentheses, wherever those are glued to.
///
/// # Errors
/// `invalid condition "X"` where a parenthesis is missing.
pub fn condition_words(node: &Node) -> Result<Vec<Word>, Error> {
    let mut words = node.args.clone();
    let Some(first) = words.first_mut() else {
        return Err(Error::arity(node));
    };
    if !first.bytes().starts_with(b"(") {
        return Err(invalid(first).advise("a condition stands in parentheses: if ($variable)"));
    }
    *first = first.trimmed(1, 0);
    let only = node.args.len() == 1;
    let last = words.last_mut().expect("because there is a first word");
    if !last.bytes().ends_with(b")") {
        // A lone `(` is reported as written, not as the nothing that is left of it.
        let shown = if last.is_empty() && only { &node.args[0] } else { last };
        return Err(invalid(shown).advise("a condition ends with \")\""));
    }
    *last = last.trimmed(0, 1);
    if words.last().is_some_and(|word| word.is_empty()) {
        words.pop();
    }
    if words.first().is_some_and(|word| word.is_empty()) {
        words.remove(0);
    }
    Ok(words)
}

fn on_variable(variable: &Word, rest: &[Word]) -> Result<Condition, Error> {
    let (operator, value) = match rest {
        [] => return Ok(Condition::Variable(variable.clone())),
        [operator, value] => (operator, value.clone()),
        _ => return Err(invalid(variable).advise("put a value with spaces in quotes")),
    };
    let variable = variable.clone();
    let negated = operator.starts_with('!');
    match operator.strip_prefix('!').unwrap_or(operator) {
        "=" => Ok(Condition::Equals { variable, value, negated }),
        "~" => Ok(Condition::Matches { variable, pattern: value, nocase: false, negated }),
        "~*" => Ok(Condition::Matches { variable, pattern: value, nocase: true, negated }),
        _ => {
            let error = Error::at(operator.span, format!("unexpected \"{operator}\" in condition"));
            Err(error.advise("the operators are =, !=, ~, ~*, !~ and !~*"))
        }
    }
}

fn file_test(word: &Word) -> Option<(u8, bool)> {
    match word.bytes() {
        [b'-', test @ (b'f' | b'd' | b'e' | b'x')] => Some((*test, false)),
        [b'!', b'-', test @ (b'f' | b'd' | b'e' | b'x')] => Some((*test, true)),
        _ => None,
    }
}

fn invalid(word: &Word) -> Error {
    Error::at(word.span, format!("invalid condition \"{word}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn check(head: &str) -> Result<String, String> {
        let tree = parse(&format!("if {head} {{}}")).unwrap();
        match parse_condition(&tree.nodes[0]) {
            Ok(Condition::Variable(variable)) => Ok(format!("{variable}")),
            Ok(Condition::Equals { variable, value, negated }) => {
                Ok(format!("{variable} {negated} [{value}]"))
            }
            Ok(Condition::Matches { variable, pattern, nocase, negated }) => {
                Ok(format!("{variable} {negated} {nocase} /{pattern}/"))
            }
            Ok(Condition::File { test, path, negated }) => Ok(format!("{} {negated} {path}", test as char)),
            Err(error) => Err(error.what),
        }
    }

    #[test]
    fn conditions_are_read_with_parentheses_anywhere() {
        let cases = [
            ("($x)", "$x"),
            ("( $x )", "$x"),
            ("($x = y)", "$x false [y]"),
            ("( $x != y )", "$x true [y]"),
            ("($x = \"\")", "$x false []"),
            ("($x = ')')", "$x false [)]"),
            ("($x ~ \"a b\")", "$x false false /a b/"),
            ("($x ~* (a|b))", "$x false true /(a|b)/"),
            ("($x !~ ^a )", "$x true false /^a/"),
            ("($x !~* ^a)", "$x true true /^a/"),
            ("(-f $f)", "f false $f"),
            ("( !-e $f )", "e true $f"),
        ];
        for (head, expected) in cases {
            assert_eq!(check(head), Ok(expected.to_owned()), "{head}");
        }
    }

    #[test]
    fn mistakes_are_named_as_in_nginx() {
        let cases = [
            ("$x", "invalid condition \"$x\""),
            ("($x", "invalid condition \"$x\""),
            ("(", "invalid condition \"(\""),
            ("($x = a b)", "invalid condition \"$x\""),
            ("($x = )", "invalid condition \"$x\""),
            ("($x == a)", "unexpected \"==\" in condition"),
            ("($)", "invalid condition \"$\""),
            ("()", "invalid condition \")\""),
            ("( )", "invalid condition \")\""),
            ("(a = b)", "invalid condition \"a\""),
            ("(-f a b)", "invalid condition \"-f\""),
            ("(-z a)", "invalid condition \"-z\""),
            ("(!-z a)", "invalid condition \"!-z\""),
            ("(-f)", "invalid condition \"-f\""),
            ("", "invalid number of arguments in \"if\" directive"),
        ];
        for (head, expected) in cases {
            assert_eq!(check(head), Err(expected.to_owned()), "{head}");
        }
    }
}
