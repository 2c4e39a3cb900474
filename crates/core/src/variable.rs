//! `$name`: how a name becomes a value of one exchange.

use std::collections::HashMap;
use std::sync::Arc;

use foregate_conf::{Error, Span, Word};

use crate::exchange::Exchange;

/// A variable that a module provides.
pub struct Variable {
    pub name: &'static str,
    /// Appends the value; `false`: there is none ("-" in logs, empty elsewhere).
    pub get: Get,
    /// `set $name` writes through this; a variable without it refuses `set`.
    pub set: Option<fn(&mut Exchange, &[u8])>,
    /// The value holds nothing that a log would escape: letters, digits, simple signs.
    pub plain: bool,
}

pub type Get = fn(&mut Exchange, &mut Vec<u8>) -> bool;
pub type GetNamed = fn(&mut Exchange, &str, &mut Vec<u8>) -> bool;

impl Variable {
    pub const fn new(name: &'static str, get: Get) -> Self {
        Self { name, get, set: None, plain: false }
    }

    /// A variable such as a number or a time: see [`Variable::plain`].
    pub const fn plain(name: &'static str, get: Get) -> Self {
        Self { name, get, set: None, plain: true }
    }
}

/// A family of variables, such as `$arg_…`; the function gets the rest of the name, lower case.
pub struct Prefix {
    pub name: &'static str,
    pub get: GetNamed,
}

/// A variable that a configuration makes: the value is computed when it is first asked for.
pub trait Evaluate: Send + Sync {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool;
}

/// A variable that a configuration writes and that belongs to a family: until it is written it is the family's.
struct Member {
    get: GetNamed,
    rest: Box<str>,
}

impl Evaluate for Member {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        (self.get)(ex, &self.rest, out)
    }
}

/// How one made variable gets its value.
#[derive(Clone)]
pub struct Evaluator {
    pub how: Arc<dyn Evaluate>,
    /// Computed anew each time (`volatile`).
    pub volatile: bool,
}

/// What a name stands for.
#[derive(Clone, Copy)]
pub enum Found {
    Provided(&'static Variable),
    Family(&'static Prefix),
    /// The position of a variable that the configuration makes.
    Slot(u32),
}

/// Every variable of one configuration: those of the modules and those that the configuration makes.
pub struct Variables {
    provided: fn(&str) -> Option<&'static Variable>,
    family: fn(&str) -> Option<&'static Prefix>,
    /// Of those that the modules provide, for suggestions.
    names: fn() -> Vec<&'static str>,
    slots: HashMap<String, u32>,
    evaluators: Vec<Option<Evaluator>>,
}

impl Variables {
    pub fn new(
        provided: fn(&str) -> Option<&'static Variable>,
        family: fn(&str) -> Option<&'static Prefix>,
    ) -> Self {
        Self { provided, family, names: Vec::new, slots: HashMap::new(), evaluators: Vec::new() }
    }

    /// With the names of what the modules provide, so that one that is misspelt can be told.
    #[must_use]
    pub fn suggesting(self, names: fn() -> Vec<&'static str>) -> Self {
        Self { names, ..self }
    }

    /// Names are case-insensitive, as in nginx.
    pub fn find(&self, name: &str) -> Option<Found> {
        let name = name.to_ascii_lowercase();
        if let Some(slot) = self.slots.get(&name) {
            return Some(Found::Slot(*slot));
        }
        if let Some(variable) = (self.provided)(&name) {
            return Some(Found::Provided(variable));
        }
        (self.family)(&name).map(Found::Family)
    }

    /// The slot of a variable that the configuration makes; the same name gets the same slot.
    ///
    /// # Errors
    /// A name that a module provides cannot be made: `the duplicate "host" variable`.
    pub fn declare(&mut self, name: &str, span: Span) -> Result<u32, Error> {
        let name = name.to_ascii_lowercase();
        if (self.provided)(&name).is_some() {
            return Err(Error::at(span, format!("the duplicate \"{name}\" variable"))
                .advise("the server itself provides this variable; choose another name"));
        }
        let next = self.evaluators.len() as u32;
        let slot = *self.slots.entry(name.clone()).or_insert(next);
        if slot == next {
            let inherited = (self.family)(&name)
                .map(|family| Member { get: family.get, rest: name[family.name.len()..].into() });
            self.evaluators.push(inherited.map(|it| Evaluator { how: Arc::new(it), volatile: true }));
        }
        Ok(slot)
    }

    /// Says how a declared variable is computed. A later one takes the place of an earlier one.
    pub fn define(&mut self, slot: u32, evaluator: Evaluator) {
        self.evaluators[slot as usize] = Some(evaluator);
    }

    pub fn evaluator(&self, slot: u32) -> Option<&Evaluator> {
        self.evaluators.get(slot as usize)?.as_ref()
    }

    /// The name that was meant by one that is not known, as far as that can be told.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        // In order, so that it is the same one each time.
        let mut made: Vec<&str> = self.slots.keys().map(String::as_str).collect();
        made.sort_unstable();
        foregate_conf::suggest(name, made.into_iter().chain((self.names)()))
    }
}

/// A variable that a directive writes: `set $name …`, `auth_request_set $name …`.
#[derive(Clone, Copy)]
pub enum Target {
    Slot(u32),
    /// A variable of the server's own that may be written, such as `$args`.
    Provided(fn(&mut Exchange, &[u8])),
}

impl Target {
    /// The variable of this name (written with its `$`), made if there is none.
    ///
    /// # Errors
    /// No `$`, or a variable that the server provides and nobody may write.
    pub fn of(name: &Word, variables: &mut Variables) -> Result<Self, Error> {
        let bare = name.text.strip_prefix('$').filter(|it| !it.is_empty()).ok_or_else(|| {
            Error::at(name.span, format!("invalid variable name \"{name}\""))
                .advise(format!("a variable begins with a dollar sign: ${}", name.text))
        })?;
        if let Some(Found::Provided(variable)) = variables.find(bare)
            && let Some(set) = variable.set
        {
            return Ok(Self::Provided(set));
        }
        variables.declare(bare, name.span).map(Self::Slot)
    }

    pub fn put(self, ex: &mut Exchange, value: Vec<u8>) {
        match self {
            Self::Slot(slot) => ex.set_slot(slot, Slot::Value(value.into())),
            Self::Provided(set) => set(ex, &value),
        }
    }
}

/// Variables may be made of variables; deeper than this is a circle.
const DEPTH_MAX: u32 = 100;

impl Found {
    /// Appends the value of the variable of this name, lower case; `false`: there is none.
    pub fn fill(self, name: &str, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Provided(variable) => (variable.get)(ex, out),
            Self::Family(family) => (family.get)(ex, &name[family.name.len()..], out),
            Self::Slot(number) => slot(ex, number, out),
        }
    }
}

/// Appends the value of a made variable: as set, as computed before, or computed now.
pub fn slot(ex: &mut Exchange, slot: u32, out: &mut Vec<u8>) -> bool {
    let known = match &ex.kin {
        Some(kin) => tell(&kin.slots.borrow(), slot, out),
        None => tell(&ex.slots, slot, out),
    };
    if let Some(found) = known {
        return found;
    }
    let cycle = ex.cycle.clone();
    let Some(evaluator) = cycle.evaluator(slot) else { return false };
    if ex.variable_depth >= DEPTH_MAX {
        return false;
    }
    ex.variable_depth += 1;
    let start = out.len();
    let found = evaluator.how.evaluate(ex, out);
    ex.variable_depth -= 1;
    if !evaluator.volatile {
        let value = if found { Slot::Value(out[start..].into()) } else { Slot::Missing };
        ex.set_slot(slot, value);
    }
    found
}

/// Appends what is known of a made variable; `None`: nothing yet.
fn tell(slots: &[Slot], slot: u32, out: &mut Vec<u8>) -> Option<bool> {
    match slots.get(slot as usize)? {
        Slot::Value(value) => {
            out.extend_from_slice(value);
            Some(true)
        }
        Slot::Missing => Some(false),
        Slot::Unset => None,
    }
}

/// What is known of a made variable in one exchange.
#[derive(Clone, Default)]
pub enum Slot {
    #[default]
    Unset,
    Value(Box<[u8]>),
    Missing,
}
