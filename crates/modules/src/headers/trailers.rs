//! Trailer fields behind a body: only where the protocol has a place for them.

use std::task::{Context, Poll};

use foregate_core::{Body, BodyError, Exchange, Reply, Source, Version};
use foregate_wire::{Buf, Fields};

use super::Added;

/// Puts the fields behind the body. Their values are those known when the answer begins.
pub(super) fn attach<'a>(added: impl Iterator<Item = &'a Added>, ex: &mut Exchange, reply: &mut Reply) {
    let no_body = ex.header_only || reply.status < 200 || matches!(reply.status, 204 | 304);
    if no_body || ex.version < Version::H11 || matches!(reply.body, Body::Tunnel(_)) {
        return;
    }
    let mut fields = Fields::new();
    let mut value = Vec::new();
    for added in added {
        value.clear();
        ex.seeing(reply, |ex| added.value.fill(ex, &mut value));
        if !value.is_empty() {
            fields.push(&added.name, &value);
        }
    }
    // HTTP/1.1 has trailers only behind chunks, so the length must go.
    let framed = ex.version > Version::H11;
    if !framed {
        reply.length = None;
    }
    let source = std::mem::take(&mut reply.body).into_source();
    reply.body = Body::Source(Box::new(Trailing { source, fields: Some(fields), framed }));
}

struct Trailing {
    source: Box<dyn Source>,
    fields: Option<Fields>,
    /// The protocol marks ends by itself, so that the length may be told.
    framed: bool,
}

impl Source for Trailing {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        self.source.poll_next(cx)
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.source.poll_ahead(cx);
    }

    fn len(&self) -> Option<u64> {
        if self.framed { self.source.len() } else { None }
    }

    fn trailers(&mut self) -> Option<Fields> {
        let own = self.fields.take();
        match (self.source.trailers(), own) {
            (Some(mut fields), Some(own)) => {
                fields.extend(own.iter());
                Some(fields)
            }
            (inner, own) => inner.or(own),
        }
    }
}
