//! How a module declares a directive: one line for the common shapes, a function for the rest.

use std::time::Duration;

use foregate_conf::{Error, Node, Word, value as values};

use crate::scope::Scope;

/// A directive of a module whose settings, as written, are an `O`.
pub struct Directive<O: 'static> {
    pub name: &'static str,
    pub scope: Scope,
    set: Set<O>,
}

/// Where the value goes. Every slot is unset until a directive sets it, may be set once in a block, and is
/// inherited from the block around it; only `Own` says for itself what it reads and what it inherits.
enum Set<O: 'static> {
    Flag(Slot<O, bool>),
    Number(Slot<O, u64>),
    Size(Slot<O, u64>),
    Offset(Slot<O, u64>),
    Time(Slot<O, Duration>),
    Seconds(Slot<O, Duration>),
    Text(Slot<O, Word>),
    Words(Slot<O, Vec<Word>>),
    Choice(&'static [&'static str], Slot<O, usize>),
    Own { args: Args, block: Block, read: Read<O>, inherit: fn(&mut O, &O) },
}

type Slot<O, T> = fn(&mut O) -> &mut Option<T>;

/// Reads a directive of its own shape. Place and number of arguments have been checked.
pub type Read<O> = fn(&mut O, &Node, Scope) -> Result<(), Error>;

/// How many arguments a directive takes.
#[derive(Clone, Copy, Debug)]
pub enum Args {
    Exactly(usize),
    AtLeast(usize),
    Between(usize, usize),
}

impl Args {
    pub const NONE: Self = Self::Exactly(0);

    fn fit(self, n: usize) -> bool {
        match self {
            Self::Exactly(want) => n == want,
            Self::AtLeast(least) => least <= n,
            Self::Between(least, most) => (least..=most).contains(&n),
        }
    }
}

/// Whether `{ … }` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    No,
    Yes,
    /// As its author likes.
    Maybe,
}

impl<O> Directive<O> {
    /// `name on|off;`
    pub const fn flag(name: &'static str, scope: Scope, slot: Slot<O, bool>) -> Self {
        Self { name, scope, set: Set::Flag(slot) }
    }

    /// `name 3;`
    pub const fn number(name: &'static str, scope: Scope, slot: Slot<O, u64>) -> Self {
        Self { name, scope, set: Set::Number(slot) }
    }

    /// `name 8k;` in bytes, units k and m.
    pub const fn size(name: &'static str, scope: Scope, slot: Slot<O, u64>) -> Self {
        Self { name, scope, set: Set::Size(slot) }
    }

    /// `name 2g;` in bytes, units k, m and g.
    pub const fn offset(name: &'static str, scope: Scope, slot: Slot<O, u64>) -> Self {
        Self { name, scope, set: Set::Offset(slot) }
    }

    /// `name 500ms;` to the millisecond, seconds where no unit is given.
    pub const fn time(name: &'static str, scope: Scope, slot: Slot<O, Duration>) -> Self {
        Self { name, scope, set: Set::Time(slot) }
    }

    /// `name 10s;` to the second.
    pub const fn seconds(name: &'static str, scope: Scope, slot: Slot<O, Duration>) -> Self {
        Self { name, scope, set: Set::Seconds(slot) }
    }

    /// `name anything;`
    pub const fn text(name: &'static str, scope: Scope, slot: Slot<O, Word>) -> Self {
        Self { name, scope, set: Set::Text(slot) }
    }

    /// `name one or more words;`
    pub const fn words(name: &'static str, scope: Scope, slot: Slot<O, Vec<Word>>) -> Self {
        Self { name, scope, set: Set::Words(slot) }
    }

    /// `name one_of_these;`: the slot gets the position in the list.
    pub const fn choice(
        name: &'static str,
        scope: Scope,
        among: &'static [&'static str],
        slot: Slot<O, usize>,
    ) -> Self {
        Self { name, scope, set: Set::Choice(among, slot) }
    }

    /// A directive with a shape of its own, ended by `;`.
    pub const fn own(
        name: &'static str,
        scope: Scope,
        args: Args,
        read: Read<O>,
        inherit: fn(&mut O, &O),
    ) -> Self {
        Self { name, scope, set: Set::Own { args, block: Block::No, read, inherit } }
    }

    /// A directive with a block that the module reads itself (`types { … }`, `map … { … }`).
    pub const fn block(
        name: &'static str,
        scope: Scope,
        args: Args,
        read: Read<O>,
        inherit: fn(&mut O, &O),
    ) -> Self {
        Self { name, scope, set: Set::Own { args, block: Block::Yes, read, inherit } }
    }

    /// As [`Directive::block`], where `;` may stand in the place of the block.
    pub const fn with_or_without_block(
        name: &'static str,
        scope: Scope,
        args: Args,
        read: Read<O>,
        inherit: fn(&mut O, &O),
    ) -> Self {
        Self { name, scope, set: Set::Own { args, block: Block::Maybe, read, inherit } }
    }

    /// Checks the place, the block and the number of arguments, then reads them.
    pub fn apply(&self, options: &mut O, node: &Node, scope: Scope) -> Result<(), Error> {
        let (args, block) = match self.set {
            Set::Words(_) => (Args::AtLeast(1), Block::No),
            Set::Own { args, block, .. } => (args, block),
            _ => (Args::Exactly(1), Block::No),
        };
        check(self.name, node, self.scope.contains(scope), args, block)?;
        let done = match &self.set {
            Set::Flag(slot) => fill(slot(options), values::flag(&node.args[0])),
            Set::Number(slot) => fill(slot(options), values::number(&node.args[0])),
            Set::Size(slot) => fill(slot(options), values::size(&node.args[0])),
            Set::Offset(slot) => fill(slot(options), values::offset(&node.args[0])),
            Set::Time(slot) => fill(slot(options), values::time_ms(&node.args[0]).map(Duration::from_millis)),
            Set::Seconds(slot) => fill(slot(options), values::time_s(&node.args[0]).map(Duration::from_secs)),
            Set::Text(slot) => fill(slot(options), Some(node.args[0].clone())),
            Set::Words(slot) => fill(slot(options), Some(node.args.clone())),
            Set::Choice(among, slot) => {
                fill(slot(options), among.iter().position(|it| *it == node.args[0].text))
            }
            Set::Own { read, .. } => return read(options, node, scope),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Unfit::Twice) => Err(duplicate(node)),
            Err(Unfit::Value) => Err(self.bad_value(node)),
        }
    }

    fn bad_value(&self, node: &Node) -> Error {
        let word = &node.args[0];
        match &self.set {
            Set::Flag(_) => Error::at(
                word.span,
                format!(
                    "invalid value \"{word}\" in \"{}\" directive, it must be \"on\" or \"off\"",
                    self.name
                ),
            ),
            Set::Choice(among, _) => Error::at(word.span, format!("invalid value \"{word}\""))
                .advise(format!("one of: {}", among.join(", "))),
            Set::Number(_) => Error::at(word.span, "invalid number"),
            _ => Error::at(word.span, format!("\"{}\" directive invalid value", self.name)),
        }
    }

    /// What this block did not set comes from `from`, a copy of the block around it that may be emptied.
    pub fn inherit(&self, options: &mut O, from: &mut O) {
        match &self.set {
            Set::Flag(slot) => take(slot(options), slot(from)),
            Set::Number(slot) | Set::Size(slot) | Set::Offset(slot) => take(slot(options), slot(from)),
            Set::Time(slot) | Set::Seconds(slot) => take(slot(options), slot(from)),
            Set::Text(slot) => take(slot(options), slot(from)),
            Set::Words(slot) => take(slot(options), slot(from)),
            Set::Choice(_, slot) => take(slot(options), slot(from)),
            Set::Own { inherit, .. } => inherit(options, from),
        }
    }
}

/// The checks that come before a directive's own: place, block, number of arguments, in nginx's order.
pub fn check(name: &str, node: &Node, allowed: bool, args: Args, block: Block) -> Result<(), Error> {
    let fail = |what: String| Err(Error::at(node.name.span, what));
    if !allowed {
        return fail(format!("\"{name}\" directive is not allowed here"));
    }
    match (block, &node.children) {
        (Block::No, Some(_)) => return fail(format!("directive \"{name}\" is not terminated by \";\"")),
        (Block::Yes, None) => return fail(format!("directive \"{name}\" has no opening \"{{\"")),
        _ => (),
    }
    if !args.fit(node.args.len()) {
        return fail(format!("invalid number of arguments in \"{name}\" directive"));
    }
    Ok(())
}

/// The error for a directive that stands twice in one block.
pub fn duplicate(node: &Node) -> Error {
    Error::at(node.name.span, format!("\"{}\" directive is duplicate", node.name))
}

/// Reads a status that clients are turned away with (`limit_req_status`), 400 to 599, into a slot that is set once.
///
/// # Errors
/// In nginx's words.
pub fn error_status(slot: &mut Option<u16>, node: &Node) -> Result<(), Error> {
    if slot.is_some() {
        return Err(duplicate(node));
    }
    let word = &node.args[0];
    let status = values::number(word).ok_or_else(|| Error::at(word.span, "invalid number"))?;
    let status = u16::try_from(status).ok().filter(|it| (400..=599).contains(it));
    *slot = Some(status.ok_or_else(|| Error::at(word.span, "value must be between 400 and 599"))?);
    Ok(())
}

enum Unfit {
    Twice,
    Value,
}

fn fill<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), Unfit> {
    if slot.is_some() {
        return Err(Unfit::Twice);
    }
    *slot = Some(value.ok_or(Unfit::Value)?);
    Ok(())
}

fn take<T>(slot: &mut Option<T>, outer: &mut Option<T>) {
    if slot.is_none() {
        *slot = outer.take();
    }
}
