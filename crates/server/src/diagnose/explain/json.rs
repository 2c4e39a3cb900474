//! The account for machines.

use foregate_conf::Span;
use foregate_core::Json;

use super::atlas::title;
use super::effective::Setting;
use super::why::Reason;
use super::{Told, balance};
use crate::diagnose::place;

impl Told<'_> {
    /// Everything as one object. What is null does not apply.
    pub fn to_json(&self) -> Json {
        let question = &self.question;
        let answer = self.answer.as_ref();
        Json::Object(vec![
            (
                "request",
                Json::Object(vec![
                    ("method", question.method.as_str().into()),
                    ("url", question.url.as_str().into()),
                    ("from", question.from.to_string().into()),
                ]),
            ),
            ("listener", self.listener_json()),
            ("server", self.choice(&self.servers, true)),
            ("location", self.location_json()),
            ("uri", Json::bytes(&self.uri)),
            ("args", Json::bytes(&self.args)),
            ("status", answer.map(|it| u64::from(it.status)).into()),
            ("assumed", answer.map(|it| it.assumed).into()),
            ("cache", self.cache_json()),
            ("upstream", self.upstream_json()),
            ("headers", answer.map_or(Json::Null, |it| fields(&it.fields))),
            ("steps", self.steps_json()),
            ("settings", self.settings_json()),
        ])
    }

    fn listener_json(&self) -> Json {
        let mut members =
            vec![("address", self.listener.address.as_str().into()), ("tls", self.listener.secure.into())];
        members.extend(self.placed(self.listener.span));
        Json::Object(members)
    }

    fn location_json(&self) -> Json {
        let Some(location) = self.location() else { return Json::Null };
        let reasons = self.locations();
        let node = self.atlas.node(location);
        let mut members = vec![("written", title(node).into())];
        members.extend(self.placed(Some(node.span)));
        let own = reasons.first().filter(|it| it.number == location);
        members.push(("why", own.map(|it| it.why.as_str()).into()));
        let others = reasons.iter().filter(|it| it.number != location);
        members.push(("others", Json::List(others.map(|it| self.reason(it, false)).collect())));
        let inner = (self.place != location).then(|| self.atlas.node(self.place));
        members.push(("inside", inner.map(title).into()));
        Json::Object(members)
    }

    /// The one that was chosen, with the others.
    fn choice(&self, reasons: &[Reason], servers: bool) -> Json {
        let Some((chosen, others)) = reasons.split_first() else { return Json::Null };
        let Json::Object(mut members) = self.reason(chosen, servers) else { return Json::Null };
        members.push(("others", Json::List(others.iter().map(|it| self.reason(it, servers)).collect())));
        Json::Object(members)
    }

    fn reason(&self, reason: &Reason, server: bool) -> Json {
        let (node, written) = match server {
            true => {
                let names = self.atlas.names(reason.number);
                let names: Vec<_> = names.iter().map(|it| it.text.as_str()).collect();
                (self.atlas.server(reason.number), names.join(" "))
            }
            false => (self.atlas.node(reason.number), title(self.atlas.node(reason.number))),
        };
        let mut members = vec![(if server { "names" } else { "written" }, written.into())];
        members.extend(self.placed(Some(node.span)));
        members.push(("why", reason.why.as_str().into()));
        Json::Object(members)
    }

    fn upstream_json(&self) -> Json {
        let Some((at, preview)) = self.passed() else { return Json::Null };
        let head = String::from_utf8_lossy(&preview.head).into_owned();
        let mut lines = head.lines().take_while(|it| !it.is_empty());
        // Where the protocol has no request line, there is no target either.
        let request = if preview.uri.is_empty() { "" } else { lines.next().unwrap_or_default() };
        let mut members = vec![
            ("scheme", preview.scheme.trim_end_matches("://").into()),
            ("host", preview.host.as_str().into()),
            ("uri", Json::bytes(&preview.uri)),
            ("request", request.into()),
            ("headers", Json::list(lines)),
        ];
        members.extend(self.placed(self.pass_span(at)));
        members.push(("group", self.group_json(preview.group.as_deref())));
        Json::Object(members)
    }

    fn group_json(&self, group: Option<&foregate_upstream::Group>) -> Json {
        let Some(group) = group else { return Json::Null };
        let mut members = vec![("name", group.name.as_str().into()), ("balance", balance(group).into())];
        members.extend(self.placed(self.atlas.upstream(&group.name).map(|it| it.span)));
        let servers = group.servers();
        let peers = servers.iter().map(|it| {
            let parameters = it.parameters();
            Json::Object(vec![("address", it.written.to_string().into()), ("parameters", parameters.into())])
        });
        members.push(("peers", Json::List(peers.collect())));
        Json::Object(members)
    }

    fn steps_json(&self) -> Json {
        let lines = self.lines().into_iter().map(|it| {
            let mut members = vec![("kind", it.kind.into()), ("text", it.text.into())];
            members.extend(self.placed(it.span));
            members.push(("depth", (it.depth as u64).into()));
            Json::Object(members)
        });
        Json::List(lines.collect())
    }

    fn settings_json(&self) -> Json {
        let places = self.settings.iter().map(|(place, settings)| {
            let node = self.atlas.node(*place);
            let mut members = vec![("place", title(node).into())];
            members.extend(self.placed(Some(node.span)));
            members.push(("directives", Json::List(settings.iter().map(|it| self.setting(it)).collect())));
            Json::Object(members)
        });
        Json::List(places.collect())
    }

    fn setting(&self, setting: &Setting<'_>) -> Json {
        let values = setting.values.iter().map(|(written, value)| {
            Json::Object(vec![("written", written.as_str().into()), ("value", value.as_str().into())])
        });
        let mut members = vec![
            ("about", setting.about.into()),
            ("directive", setting.node.name.text.as_str().into()),
            ("written", setting.text().into()),
            ("values", Json::List(values.collect())),
            ("block", setting.block.as_str().into()),
            ("inherited", setting.inherited.into()),
        ];
        members.extend(self.placed(Some(setting.node.span)));
        members.push(("defined", setting.defined.map(title).into()));
        Json::Object(members)
    }

    pub(super) fn placed(&self, span: Option<Span>) -> [(&'static str, Json); 3] {
        let [file, line, column] = place(span, self.sources);
        [("file", file), ("line", line), ("column", column)]
    }
}

fn fields(fields: &foregate_wire::Fields) -> Json {
    let one = |(name, value): (&[u8], &[u8])| {
        Json::Object(vec![("name", Json::bytes(name)), ("value", Json::bytes(value))])
    };
    Json::List(fields.iter().map(one).collect())
}
