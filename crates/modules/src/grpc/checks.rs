//! `health_check type=grpc`: a server is asked by gRPC's own health checking protocol (`grpc.health.v1.Health/Check`).

use std::sync::Arc;

use foregate_conf::Error;
use foregate_core::{BodyError, BoxFuture, Compile, Exchange, Flow, Method, Reply, next};
use foregate_upstream::draft::checks::{checklist, take};
use foregate_upstream::{
    AttemptsNote, CHECKS_AGENT, Checked, Checklist, Group, GrpcCheck, Probe, Route, Rules, Secure,
};
use foregate_wire::{Buf, Fields, h1::Version};

use super::pass::{Pass, Url};
use super::request::Call;
use super::{Options, Settings, rules};

const METHOD: &[u8] = b"/grpc.health.v1.Health/Check";
/// `HealthCheckRequest.service` and `HealthCheckResponse.status`: field 1, of text and of a number.
const SERVICE_TAG: u8 = 0x0a;
const STATUS_TAG: u8 = 0x08;
/// `ServingStatus.SERVING`.
const SERVING: u8 = 1;
/// What stands before each message: a flag for compression, and four bytes of length.
const PREFIX_BYTES: usize = 5;
/// An answer has two bytes and its prefix; longer ones are not read.
const ANSWER_BYTES_MAX: usize = 4096;

/// A compiled check.
pub(super) struct Check {
    list: Checklist,
    grpc: GrpcCheck,
    group: Arc<Group>,
    url: Url,
    rules: Rules,
}

pub(super) fn compile(o: &Options, pass: &Pass, cx: &mut Compile<'_>) -> Result<Option<Box<Check>>, Error> {
    let Some(node) = &o.check else { return Ok(None) };
    let Pass::To(group, url) = pass else {
        let what = "\"health_check\" needs a \"grpc_pass\" without variables in its location";
        return Err(Error::at(node.span, what));
    };
    take(node, cx);
    let list = checklist(node, cx)?;
    let Some(grpc) = list.grpc.clone() else {
        let what = "\"health_check\" beside \"grpc_pass\" needs \"type=grpc\"";
        return Err(Error::at(node.span, what));
    };
    let rules = rules(o, &o.upstream.for_checks(), cx)?;
    Ok(Some(Box::new(Check { list, grpc, group: group.clone(), url: url.clone(), rules })))
}

impl Checked for Settings {
    fn checklist(&self) -> Option<(&Arc<Group>, &Checklist)> {
        self.check.as_ref().map(|it| (&it.group, &it.list))
    }

    fn ask<'a>(&'a self, probe: &'a Probe, ex: &'a mut Exchange) -> BoxFuture<'a, Option<&'static str>> {
        Box::pin(ask(self, probe, ex))
    }
}

async fn ask(on: &Settings, probe: &Probe, ex: &mut Exchange) -> Option<&'static str> {
    let check = on.check.as_ref()?;
    fill(ex, check);
    let tls = on.tls.as_ref().filter(|_| check.url.secure);
    let Ok(handshake) = tls.map(|tls| tls.prepare(&check.url.host, ex)).transpose() else {
        return Some("SSL handshaking to upstream");
    };
    let secure = handshake.as_ref().map(|it| it as &dyn Secure);
    let mut call = Call { on, url: &check.url, head: false };
    let route = Route { view: probe.view.clone(), secure };
    match foregate_upstream::run(&check.rules, route, &mut call, ex, None).await {
        Flow::Continue(reply) => match fault(&check.grpc, ex, reply).await {
            Ok(fault) => fault,
            Err(_) => Some("reading response body from upstream"),
        },
        Flow::Break(_) => Some("connecting to upstream"),
    }
}

fn fill(ex: &mut Exchange, check: &Check) {
    let message = message(&check.grpc.service);
    (ex.method, ex.method_name, ex.version) = (Method::Post, b"POST".to_vec(), Version::H2);
    (ex.target, ex.uri) = (METHOD.to_vec(), METHOD.to_vec());
    ex.line = [b"POST ", METHOD, b" HTTP/2.0"].concat();
    ex.host = check.url.host.as_bytes().to_vec();
    for (name, value) in
        [(&b"content-type"[..], &b"application/grpc"[..]), (b"te", b"trailers"), (b"user-agent", CHECKS_AGENT)]
    {
        ex.fields.push(name, value);
    }
    ex.body.length = Some(message.len() as u64);
    ex.body.memory = Some(Buf::from_vec(message));
}

/// A `HealthCheckRequest` behind its prefix.
fn message(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE_TAG);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = (message.len() as u32).to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// What is wrong with an answer. Its status stands behind its body, or in its head where there is no body.
async fn fault(
    check: &GrpcCheck,
    ex: &Exchange,
    reply: Reply,
) -> Result<Option<&'static str>, BodyError> {
    if reply.status != 200 {
        return Ok(Some("checking status code"));
    }
    let mut source = reply.body.into_source();
    let mut body = Vec::new();
    while let Some(piece) = next(&mut *source).await? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_BYTES_MAX {
            return Ok(Some("checking response body"));
        }
    }
    let trailers = source.trailers().unwrap_or_default();
    if status(&trailers, ex) != Some(check.status) {
        return Ok(Some("checking grpc status"));
    }
    let message = body.get(PREFIX_BYTES..).unwrap_or_default();
    let serves = check.status != 0 || message == [STATUS_TAG, SERVING];
    Ok((!serves).then_some("checking response body"))
}

fn status(trailers: &Fields, ex: &Exchange) -> Option<u32> {
    const NAME: &[u8] = b"grpc-status";
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    if let Some(text) = trailers.get(NAME) {
        return number(text);
    }
    let attempts = ex.notes.get::<AttemptsNote>()?.borrow();
    let mut fields = attempts.fields();
    let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(NAME));
    found.and_then(|(_, value)| number(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_protocol_buffers_have_them() {
        assert_eq!(message(""), [0; 5]);
        assert_eq!(message("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(message(&"s".repeat(200))[..8], [0, 0, 0, 0, 203, 0x0a, 200, 1]);
    }
}
