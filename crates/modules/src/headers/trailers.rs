//! Trailer fields behind a body: only where the protocol has a place for them.

use std::task::{Context, Poll};

use foregate_core::{Body, BodyError, Exchange, Reply, Source, Version};
use foregate_wire::{Buf, Fields};

use super::{Settings, is_safe};

/// The last of the filters: HTTP/1.1 has trailers only behind chunks, so the body's length must go.
pub fn make_room(on: &Settings, ex: &Exchange, reply: &mut Reply) {
    let no_body = ex.header_only || reply.status < 200 || matches!(reply.status, 204 | 304);
    let wanted = || on.trailers.iter().any(|it| is_safe(reply.status) || it.always);
    if no_body || ex.version != Version::H11 || matches!(reply.body, Body::Tunnel(_)) || !wanted() {
        return;
    }
    reply.length = None;
    reply.body = Body::Source(Box::new(Unmeasured(std::mem::take(&mut reply.body).into_source())));
}

/// Appends the configured trailers to those of the exchange. Called behind the body, when every value is known.
pub fn trailers(ex: &mut Exchange) {
    let cycle = ex.cycle.clone();
    let Some(on) = &crate::settings(&*cycle, ex.location).headers else { return };
    let safe = is_safe(ex.sent.status);
    let mut value = Vec::new();
    for added in on.trailers.iter().filter(|it| safe || it.always) {
        value.clear();
        added.value.fill(ex, &mut value);
        if !value.is_empty() {
            ex.sent.trailers.push(&*added.name, &value);
        }
    }
}

/// A source that does not tell its length.
struct Unmeasured(Box<dyn Source>);

impl Source for Unmeasured {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Buf>, BodyError>> {
        self.0.poll_next(cx)
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        self.0.poll_ahead(cx);
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.0.trailers()
    }
}
