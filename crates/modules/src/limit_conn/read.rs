//! The directives of `limit_conn` as written.

use foregate_conf::{Error, Node, Span, Word, value as values};
use foregate_core::{Scope, ZoneSpec, duplicate, error_status};

use super::Options;

/// Who declares these zones.
pub(super) const ZONE: &str = "limit_conn_zone";

/// `limit_conn_zone KEY zone=NAME:SIZE`
#[derive(Clone)]
pub(super) struct ZoneLine {
    pub(super) key: Word,
    pub(super) spec: ZoneSpec,
    pub(super) span: Span,
}

/// `limit_conn ZONE NUMBER`
#[derive(Clone)]
pub(super) struct LimitLine {
    pub(super) zone: String,
    pub(super) max: u32,
    pub(super) span: Span,
}

pub(super) fn zone(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let word = &node.args[1];
    if !word.starts_with("zone=") {
        return Err(Error::at(word.span, format!("invalid parameter \"{word}\"")));
    }
    let spec = ZoneSpec::parse(word)?;
    if spec.name.is_empty() {
        return Err(Error::at(node.span, format!("\"{}\" must have \"zone\" parameter", node.name)));
    }
    o.zones.push(ZoneLine { key: node.args[0].clone(), spec, span: node.span });
    Ok(())
}

pub(super) fn limit(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let (zone, number) = (node.args[0].text.clone(), &node.args[1]);
    let limits = o.limits.get_or_insert_default();
    if limits.iter().any(|it| it.zone == zone) {
        return Err(duplicate(node));
    }
    let max = values::number(number).filter(|it| *it > 0).ok_or_else(|| {
        Error::at(number.span, format!("invalid number of connections \"{number}\""))
    })?;
    if max > u64::from(u16::MAX) {
        return Err(Error::at(number.span, "connection limit must be less 65536"));
    }
    limits.push(LimitLine { zone, max: max as u32, span: node.span });
    Ok(())
}

pub(super) fn status(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    error_status(&mut o.status, node)
}
