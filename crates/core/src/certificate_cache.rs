//! `ssl_certificate_cache` and `proxy_ssl_certificate_cache`, as they are written.

use std::time::Duration;

use foregate_conf::{Error, Node, value as values};
use foregate_net::tls::store::Limits;

/// As nginx.
const INACTIVE: Duration = Duration::from_secs(10);
const VALID: Duration = Duration::from_secs(60);

/// Reads `max=N [inactive=TIME] [valid=TIME]`, or `off`, which is `None`.
///
/// # Errors
/// As nginx words them: a parameter it does not know, `max` missing.
pub fn certificate_cache(node: &Node) -> Result<Option<Limits>, Error> {
    let mut limits = Limits { max: 0, inactive: INACTIVE, valid: VALID };
    let mut off = false;
    for word in &node.args {
        let (name, given) = word.split_once('=').unwrap_or((word, ""));
        let time = || values::time_s(given).map(Duration::from_secs);
        let read = match name {
            "off" if *word == "off" => {
                off = true;
                Some(())
            }
            "max" => values::number(given).filter(|it| *it > 0).map(|it| limits.max = it as usize),
            "inactive" => time().map(|it| limits.inactive = it),
            "valid" => time().map(|it| limits.valid = it),
            _ => None,
        };
        read.ok_or_else(|| Error::at(word.span, format!("invalid parameter \"{word}\"")))?;
    }
    if limits.max == 0 && !off {
        let what = format!("\"{}\" must have the \"max\" parameter", node.name);
        return Err(Error::at(node.name.span, what));
    }
    Ok((!off).then_some(limits))
}
