//! The commands of a page, and which of its parts are shown.

use foregate_core::{Exchange, Level, log};
use foregate_wire::uri::{Escape, escape, split_foreign};

use super::TimeFormat;
use super::family::Family;
use super::parser::{PARAMS_MAX, Tag};
use super::value::{self, Failed};
use super::condition;

/// What a page shows where a command failed.
const ERROR_MESSAGE: &[u8] = b"[an error occurred while processing the directive]";

/// What commands have set in one page.
pub(super) struct State {
    pub(super) family: Family,
    /// Text and commands count; else they are passed over, or kept for a block.
    pub(super) output: bool,
    pub(super) block: bool,
    branch: Branch,
    /// One branch of this `if` has been shown.
    chosen: bool,
    encoding: Encoding,
    pub(super) error_message: Vec<u8>,
}

/// Where in an `if` the page is; the order tells what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Branch {
    Outside,
    If,
    Else,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    None,
    Url,
    Entity,
}

/// What a command wants of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Show(Vec<u8>),
    Include(Include),
}

/// An `include`, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Include {
    pub(super) uri: Vec<u8>,
    pub(super) args: Vec<u8>,
    /// What stands there if the request fails: a block's text.
    pub(super) stub: Option<Vec<u8>>,
    /// The answer goes into this variable.
    pub(super) set: Option<Vec<u8>>,
    /// The page goes on when the answer is complete.
    pub(super) wait: bool,
}

/// A command's parameters: name, and whether it must be there.
struct Shape {
    name: &'static str,
    params: &'static [(&'static str, bool)],
    /// It needs an `if` around it that is not beyond this branch.
    within: Branch,
}

const INCLUDE: &[(&str, bool)] =
    &[("virtual", false), ("file", false), ("wait", false), ("set", false), ("stub", false)];
const ECHO: &[(&str, bool)] = &[("var", true), ("default", false), ("encoding", false)];
const CONFIG: &[(&str, bool)] = &[("errmsg", false), ("timefmt", false)];
const SET: &[(&str, bool)] = &[("var", true), ("value", true)];
const IF: &[(&str, bool)] = &[("expr", true)];
const BLOCK: &[(&str, bool)] = &[("name", true)];

const SHAPES: [Shape; 10] = [
    Shape { name: "include", params: INCLUDE, within: Branch::Outside },
    Shape { name: "echo", params: ECHO, within: Branch::Outside },
    Shape { name: "config", params: CONFIG, within: Branch::Outside },
    Shape { name: "set", params: SET, within: Branch::Outside },
    Shape { name: "if", params: IF, within: Branch::Outside },
    Shape { name: "elif", params: IF, within: Branch::If },
    Shape { name: "else", params: &[], within: Branch::If },
    Shape { name: "endif", params: &[], within: Branch::Else },
    Shape { name: "block", params: BLOCK, within: Branch::Outside },
    Shape { name: "endblock", params: &[], within: Branch::Outside },
];

/// A command's values by the position of their names in its shape.
type Values<'a> = [Option<&'a [u8]>; 5];

impl State {
    pub(super) fn new(family: Family) -> Self {
        Self {
            family,
            output: true,
            block: false,
            branch: Branch::Outside,
            chosen: false,
            encoding: Encoding::Entity,
            error_message: ERROR_MESSAGE.to_vec(),
        }
    }

    /// Does a command, or keeps it for a block, or passes it over.
    pub(super) fn run(&mut self, tag: &Tag, ex: &mut Exchange) -> Result<Wish, Failed> {
        let Some(shape) = SHAPES.iter().find(|it| it.name.as_bytes() == tag.command) else {
            if self.output {
                log!(ex, Level::Error, "invalid SSI command: \"{}\"", text(&tag.command));
                return Err(Failed);
            }
            return Ok(Wish::Nothing);
        };
        if !self.output && shape.name != "endblock" {
            if self.block {
                self.keep(&written(tag), ex);
                return Ok(Wish::Nothing);
            }
            if shape.within == Branch::Outside {
                return Ok(Wish::Nothing);
            }
        }
        if shape.within != Branch::Outside && (self.branch == Branch::Outside || self.branch > shape.within) {
            log!(ex, Level::Error, "invalid context of SSI command: \"{}\"", shape.name);
            return Err(Failed);
        }
        let values = values(shape, tag, ex)?;
        match shape.name {
            "include" => include(&values, ex, &self.family).map(Wish::Include),
            "echo" => self.echo(&values, ex),
            "config" => Ok(self.config(&values, ex)),
            "set" => self.set(&values, ex),
            "if" if self.branch != Branch::Outside => {
                log!(ex, Level::Error, "the \"if\" command inside the \"if\" command");
                Err(Failed)
            }
            "if" | "elif" => self.decide(values[0].unwrap_or_default(), ex),
            "else" => Ok(self.otherwise()),
            "endif" => {
                (self.output, self.chosen, self.branch) = (true, false, Branch::Outside);
                Ok(Wish::Nothing)
            }
            "block" => {
                self.family.begin_block(values[0].unwrap_or_default());
                (self.output, self.block) = (false, true);
                Ok(Wish::Nothing)
            }
            _ => {
                (self.output, self.block) = (true, false);
                Ok(Wish::Nothing)
            }
        }
    }

    /// Adds text to the block that is being read.
    pub(super) fn keep(&self, text: &[u8], ex: &Exchange) {
        if !self.family.add_to_block(text) {
            log!(ex, Level::Error, "too large SSI blocks and variables");
        }
    }

    fn decide(&mut self, expr: &[u8], ex: &mut Exchange) -> Result<Wish, Failed> {
        if self.chosen {
            self.output = false;
            return Ok(Wish::Nothing);
        }
        let holds = condition::holds(expr, ex, &self.family)?;
        (self.output, self.chosen, self.branch) = (holds, holds, Branch::If);
        Ok(Wish::Nothing)
    }

    fn otherwise(&mut self) -> Wish {
        self.output = !self.chosen;
        self.branch = Branch::Else;
        Wish::Nothing
    }

    fn echo(&mut self, values: &Values<'_>, ex: &mut Exchange) -> Result<Wish, Failed> {
        let [var, default, encoding, ..] = *values;
        let mut value = Vec::new();
        if !value::variable(var.unwrap_or_default(), ex, &self.family, &mut value) {
            value = default.unwrap_or(b"(none)").to_vec();
        }
        if value.is_empty() {
            return Ok(Wish::Nothing);
        }
        match encoding {
            None => (),
            Some(b"none") => self.encoding = Encoding::None,
            Some(b"url") => self.encoding = Encoding::Url,
            Some(b"entity") => self.encoding = Encoding::Entity,
            Some(other) => {
                log!(ex, Level::Error, "unknown encoding \"{}\" in the \"echo\" command", text(other));
            }
        }
        let mut shown = Vec::with_capacity(value.len());
        match self.encoding {
            Encoding::None => shown = value,
            Encoding::Url => escape(&value, Escape::Html, &mut shown),
            Encoding::Entity => entities(&value, &mut shown),
        }
        Ok(Wish::Show(shown))
    }

    fn config(&mut self, values: &Values<'_>, ex: &mut Exchange) -> Wish {
        if let Some(message) = values[0] {
            self.error_message = message.to_vec();
        }
        if let Some(format) = values[1] {
            ex.notes.put(TimeFormat(text(format)));
        }
        Wish::Nothing
    }

    fn set(&mut self, values: &Values<'_>, ex: &mut Exchange) -> Result<Wish, Failed> {
        let name = values[0].unwrap_or_default().to_ascii_lowercase();
        let value = value::fill(values[1].unwrap_or_default(), ex, &self.family)?;
        if !self.family.set(&name, value) {
            log!(ex, Level::Error, "too large SSI blocks and variables");
            return Err(Failed);
        }
        Ok(Wish::Nothing)
    }
}

/// Sorts a command's parameters by their names.
fn values<'a>(shape: &Shape, tag: &'a Tag, ex: &Exchange) -> Result<Values<'a>, Failed> {
    let mut values = Values::default();
    let command = shape.name;
    if tag.params.len() > PARAMS_MAX {
        log!(ex, Level::Error, "too many SSI command parameters: \"{command}\"");
        return Err(Failed);
    }
    for (name, value) in &tag.params {
        let Some(at) = shape.params.iter().position(|(it, _)| it.as_bytes() == name) else {
            let name = text(name);
            log!(ex, Level::Error, "invalid parameter name: \"{name}\" in \"{command}\" SSI command");
            return Err(Failed);
        };
        if values[at].replace(value).is_some() {
            let name = text(name);
            log!(ex, Level::Error, "duplicate \"{name}\" parameter in \"{command}\" SSI command");
            return Err(Failed);
        }
    }
    let mut pairs = shape.params.iter().zip(&values);
    if let Some(((name, _), _)) = pairs.find(|((_, must), value)| *must && value.is_none()) {
        log!(ex, Level::Error, "mandatory \"{name}\" parameter is absent in \"{command}\" SSI command");
        return Err(Failed);
    }
    Ok(values)
}

fn include(values: &Values<'_>, ex: &mut Exchange, family: &Family) -> Result<Include, Failed> {
    let [uri, file, wait, set, stub] = *values;
    let wait = check(uri, file, wait, set.is_some() && stub.is_some()).map_err(|what| {
        log!(ex, Level::Error, "{what}");
        Failed
    })?;
    let full = value::uri(uri.or(file).unwrap_or_default(), ex, family)?;
    let Ok((path, args)) = split_foreign(&full) else {
        log!(ex, Level::Error, "unsafe URI \"{}\" was detected", text(&full));
        return Err(Failed);
    };
    let block = stub.map(|name| {
        family.block(name).ok_or_else(|| {
            log!(ex, Level::Error, "\"stub\"=\"{}\" for \"include\" not found", text(name));
            Failed
        })
    });
    Ok(Include {
        uri: path.into_owned(),
        args: args.to_vec(),
        stub: block.transpose()?,
        set: set.map(<[u8]>::to_ascii_lowercase),
        wait,
    })
}

/// Whether the page waits, or why the parameters do not go together.
fn check(uri: Option<&[u8]>, file: Option<&[u8]>, wait: Option<&[u8]>, two: bool) -> Result<bool, String> {
    let file_text = text(file.unwrap_or_default());
    match (uri, file) {
        (Some(uri), Some(_)) => {
            return Err(format!("inclusion may be either virtual=\"{}\" or file=\"{file_text}\"", text(uri)));
        }
        (None, None) => return Err("no parameter in \"include\" SSI command".to_owned()),
        _ if two => {
            return Err("\"set\" and \"stub\" cannot be used together in \"include\" SSI command".to_owned());
        }
        _ => (),
    }
    match wait {
        Some(_) if uri.is_none() => Err(format!("\"wait\" cannot be used with file=\"{file_text}\"")),
        Some(wait) if wait.eq_ignore_ascii_case(b"yes") => Ok(true),
        Some(wait) if !wait.eq_ignore_ascii_case(b"no") => {
            Err(format!("invalid value \"{}\" in the \"wait\" parameter", text(wait)))
        }
        // A file is waited for.
        _ => Ok(uri.is_none()),
    }
}

/// A command as text again.
fn written(tag: &Tag) -> Vec<u8> {
    let mut out = [b"<!--#", &tag.command[..]].concat();
    for (name, value) in &tag.params {
        out.extend_from_slice(&[b" ", &name[..], b"=\"", value, b"\""].concat());
    }
    out.extend_from_slice(b" -->");
    out
}

fn entities(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(*byte),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
