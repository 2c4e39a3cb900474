//! `rewrite`, `if`, `set`, `return`, `break`: the straight-line program of a server or a location.

mod condition;
mod program;

use foregate_conf::{Condition, Error, Node, Word};
use foregate_core::{Args, Compile, Directive, Regex, Scope, Variables, variable::Target};

pub use program::{Taken, Unhandled, Watch, run, run_watched};
use program::Op;

pub struct Module;

/// The program as written. It holds in its own block only.
#[derive(Clone, Default)]
pub struct Options {
    lines: Vec<Line>,
    log: Option<bool>,
    warn: Option<bool>,
}

/// One directive of the program, as written.
#[derive(Clone)]
pub enum Line {
    Set { name: Word, value: Word },
    Rewrite { pattern: Word, replacement: Word, flag: Option<Word> },
    Return { code: Word, text: Option<Word> },
    Break,
    If { condition: Condition, lines: Vec<Line>, place: Option<u32> },
}

pub struct Settings {
    ops: Box<[Op]>,
    /// `rewrite_log`: every step is logged at notice.
    log: bool,
    /// `uninitialized_variable_warn`.
    pub warn: bool,
}

impl Options {
    /// Adds an `if`: its own program, and the location that holds from then on where it is true.
    pub fn push_if(&mut self, condition: Condition, inside: &Options, place: Option<u32>) {
        self.lines.push(Line::If { condition, lines: inside.lines.clone(), place });
    }
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("set", Scope::REWRITE, Args::Exactly(2), set, own_block_only),
        Directive::own("rewrite", Scope::REWRITE, Args::Between(2, 3), rewrite, own_block_only),
        Directive::own("return", Scope::REWRITE, Args::Between(1, 2), return_, own_block_only),
        Directive::own("break", Scope::REWRITE, Args::NONE, break_, own_block_only),
        Directive::flag("rewrite_log", Scope::ANY_HTTP.or(Scope::REWRITE), |o| &mut o.log),
        Directive::flag("uninitialized_variable_warn", Scope::ANY_HTTP.or(Scope::REWRITE), |o| &mut o.warn),
    ];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        match (node.name.text.as_str(), &*node.args) {
            ("set", [name, _]) => Target::of(name, variables).map(drop),
            ("rewrite", [pattern, ..]) => Regex::declare(&pattern.text, pattern, variables),
            _ => Ok(()),
        }
    }

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let warn = options.warn.unwrap_or(true);
        Ok(Some(Settings { ops: compile(&options.lines, cx)?, log: options.log.unwrap_or(false), warn }))
    }
}

fn own_block_only(_: &mut Options, _: &Options) {}

fn set(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.lines.push(Line::Set { name: node.args[0].clone(), value: node.args[1].clone() });
    Ok(())
}

fn rewrite(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let replacement = node.args[1].clone();
    if replacement.text.is_empty() {
        return Err(Error::at(replacement.span, "empty replacement"));
    }
    let flag = node.args.get(2).cloned();
    if let Some(flag) = &flag
        && !["last", "break", "redirect", "permanent"].contains(&flag.text.as_str())
    {
        return Err(Error::at(flag.span, format!("invalid parameter \"{flag}\""))
            .advise("one of: last, break, redirect, permanent"));
    }
    o.lines.push(Line::Rewrite { pattern: node.args[0].clone(), replacement, flag });
    Ok(())
}

fn return_(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let code = &node.args[0];
    let status = code.text.parse::<u16>().ok().filter(|it| *it <= 999);
    if status.is_none() && !(node.args.len() == 1 && is_url(code)) {
        return Err(Error::at(code.span, format!("invalid return code \"{code}\"")));
    }
    o.lines.push(Line::Return { code: code.clone(), text: node.args.get(1).cloned() });
    Ok(())
}

fn break_(o: &mut Options, _: &Node, _: Scope) -> Result<(), Error> {
    o.lines.push(Line::Break);
    Ok(())
}

/// A replacement that leads away from this server answers with a redirect at once.
fn is_url(word: &Word) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|it| word.text.starts_with(it))
}

fn compile(lines: &[Line], cx: &mut Compile<'_>) -> Result<Box<[Op]>, Error> {
    lines.iter().map(|line| Op::compile(line, cx)).collect()
}
