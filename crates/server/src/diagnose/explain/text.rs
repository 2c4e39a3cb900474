//! The account for people.

use std::fmt::{self, Write as _};

use super::effective::Setting;
use super::steps::text;
use super::why::Reason;
use super::{Told, balance};

/// Other candidates shown; a server with a thousand locations has as many.
const OTHERS_SHOWN: usize = 20;

impl fmt::Display for Told<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let question = &self.question;
        writeln!(out, "{} {} from {}\n", question.method, text(question.url.as_bytes()), question.from)?;
        let listen = self.listener.span.map_or_else(|| "no listen: the default".to_owned(), |it| self.at(it));
        let tls = if self.listener.secure { " (TLS)" } else { "" };
        row(out, "listener", &format!("{}{tls}", self.listener.address), &listen)?;
        self.show_servers(out)?;
        self.show_locations(out)?;
        self.show_steps(out)?;
        self.show_upstream(out)?;
        self.show_answer(out)?;
        self.show_settings(out)
    }
}

/// Stands before what has lost.
const NOT: &str = "  not";

/// One line: what it is, what it says, where it is written.
fn row(out: &mut fmt::Formatter<'_>, title: &str, what: &str, at: &str) -> fmt::Result {
    match at {
        "" => writeln!(out, "{title:<10} {what}"),
        _ => writeln!(out, "{title:<10} {what}  [{at}]"),
    }
}

impl Told<'_> {
    fn show_servers(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |it: &Reason| {
            let names = self.atlas.names(it.number);
            let names: Vec<_> = names.iter().map(|it| it.text.as_str()).collect();
            let names = if names.is_empty() { "(no name)".to_owned() } else { names.join(" ") };
            (format!("{names}: {}", it.why), self.at(self.atlas.server(it.number).span))
        };
        self.show_reasons(out, "server", &self.servers, show)
    }

    fn show_locations(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = self.locations();
        let mut title = "location";
        if self.location().is_none() {
            row(out, title, "none: the server itself", "")?;
            title = NOT;
        }
        let show = |it: &Reason| {
            let node = self.atlas.node(it.number);
            (format!("{}: {}", super::atlas::title(node), it.why), self.at(node.span))
        };
        self.show_reasons(out, title, &reasons, show)
    }

    fn show_reasons(
        &self,
        out: &mut fmt::Formatter<'_>,
        title: &str,
        reasons: &[Reason],
        show: impl Fn(&Reason) -> (String, String),
    ) -> fmt::Result {
        for (at, reason) in reasons.iter().take(OTHERS_SHOWN + 1).enumerate() {
            let (what, place) = show(reason);
            row(out, if at == 0 { title } else { NOT }, &what, &place)?;
        }
        match reasons.len().saturating_sub(OTHERS_SHOWN + 1) {
            0 => Ok(()),
            more => row(out, NOT, &format!("... and {more} more (--json shows all)"), ""),
        }
    }

    fn show_steps(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nwhat happens")?;
        for line in self.lines() {
            let indent = "  ".repeat(line.depth);
            let at = line.span.map_or_else(String::new, |it| format!("  [{}]", self.at(it)));
            writeln!(out, "  {indent}{:<10} {}{at}", line.kind, line.text)?;
        }
        Ok(())
    }

    fn show_upstream(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, preview)) = self.passed() else { return Ok(()) };
        writeln!(out, "\nto the upstream")?;
        let head = String::from_utf8_lossy(&preview.head).into_owned();
        for line in head.lines().take_while(|it| !it.is_empty()) {
            writeln!(out, "  {}", text(line.as_bytes()))?;
        }
        let Some(group) = preview.group.as_deref() else {
            return writeln!(out, "  asked: {}, looked up for this request", preview.host);
        };
        let block = self.atlas.upstream(&group.name);
        let at = block.map_or_else(String::new, |it| format!("  [{}]", self.at(it.span)));
        if !group.explicit {
            return writeln!(out, "  asked: {}", preview.host);
        }
        writeln!(out, "  asked: {} by {}{at}", group.name, balance(group))?;
        for server in &group.servers() {
            let mut line = format!("    {}", server.written);
            _ = write!(line, " {}", server.parameters());
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn show_answer(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(answer) = &self.answer else {
            return writeln!(out, "\nanswer: none, the connection is closed");
        };
        let note = if answer.assumed { " (taken to be what the upstream says)" } else { "" };
        writeln!(out, "\nanswer: {}{note}", answer.status)?;
        for (name, value) in answer.fields.iter() {
            writeln!(out, "  {}: {}", text(name), text(value))?;
        }
        Ok(())
    }

    fn show_settings(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, settings) in &self.settings {
            let node = self.atlas.node(*place);
            writeln!(out, "\nwhat holds in {}", super::atlas::title(node))?;
            self.show_place(out, settings)?;
        }
        Ok(())
    }

    fn show_place(&self, out: &mut fmt::Formatter<'_>, settings: &[Setting<'_>]) -> fmt::Result {
        let mut about = "";
        for setting in settings {
            if setting.about != about {
                about = setting.about;
                writeln!(out, "  {about}")?;
            }
            let from = if setting.inherited { format!(", from {}", setting.block) } else { String::new() };
            writeln!(out, "    {}  [{}{from}]", text(setting.text().as_bytes()), self.at(setting.node.span))?;
            for (written, value) in &setting.values {
                writeln!(out, "      {} = \"{}\"", text(written.as_bytes()), text(value.as_bytes()))?;
            }
            if let Some(line) = setting.defined {
                writeln!(out, "      {}  [{}]", super::atlas::title(line), self.at(line.span))?;
            }
        }
        Ok(())
    }
}
