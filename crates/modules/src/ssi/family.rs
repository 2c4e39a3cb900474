//! What the pages of one client's request share: variables, blocks, and what the last pattern captured.

use std::cell::RefCell;
use std::rc::Rc;

use foregate_core::Exchange;

/// Bytes that blocks and variables of one request may take together.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// A note of the whole family.
#[derive(Clone, Default)]
pub(super) struct Family(Rc<RefCell<Shared>>);

#[derive(Default)]
struct Shared {
    /// In the order set; names in lower case.
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    blocks: Vec<(Vec<u8>, Vec<u8>)>,
    captures: Vec<Vec<u8>>,
    kept_bytes: usize,
}

impl Family {
    pub(super) fn of(ex: &mut Exchange) -> Self {
        let kin = ex.kin();
        let mut notes = kin.notes.borrow_mut();
        if let Some(family) = notes.get::<Self>() {
            return family.clone();
        }
        let family = Self::default();
        notes.put(family.clone());
        family
    }

    /// A digit is what the last pattern captured, if it did; any other name is a variable. Lower case.
    pub(super) fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let shared = self.0.borrow();
        if let [digit @ b'0'..=b'9'] = name
            && let Some(capture) = shared.captures.get(usize::from(digit - b'0'))
        {
            return Some(capture.clone());
        }
        shared.variables.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone())
    }

    /// `false`: there is no room for it.
    pub(super) fn set(&self, name: &[u8], value: Vec<u8>) -> bool {
        let shared = &mut *self.0.borrow_mut();
        let known = shared.variables.iter_mut().find(|(it, _)| it == name);
        let before = known.as_ref().map_or(0, |(_, old)| old.len());
        let kept = shared.kept_bytes - before + value.len();
        if kept + name.len() > KEPT_BYTES_MAX {
            return false;
        }
        shared.kept_bytes = kept;
        match known {
            Some((_, old)) => *old = value,
            None => {
                shared.kept_bytes += name.len();
                shared.variables.push((name.to_vec(), value));
            }
        }
        true
    }

    /// Makes a variable known that will get its value later.
    pub(super) fn declare(&self, name: &[u8]) {
        let is_known = self.0.borrow().variables.iter().any(|(it, _)| it == name);
        if !is_known {
            self.set(name, Vec::new());
        }
    }

    pub(super) fn capture(&self, groups: Vec<Vec<u8>>) {
        self.0.borrow_mut().captures = groups;
    }

    pub(super) fn begin_block(&self, name: &[u8]) {
        self.0.borrow_mut().blocks.push((name.to_vec(), Vec::new()));
    }

    /// Adds to the block that was begun last. `false`: there is no room for it.
    pub(super) fn add_to_block(&self, text: &[u8]) -> bool {
        let shared = &mut *self.0.borrow_mut();
        shared.kept_bytes += text.len();
        match shared.blocks.last_mut() {
            Some((_, block)) if shared.kept_bytes <= KEPT_BYTES_MAX => block.extend_from_slice(text),
            _ => {
                shared.kept_bytes -= text.len();
                return false;
            }
        }
        true
    }

    /// The first block of this name.
    pub(super) fn block(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.borrow().blocks.iter().find(|(it, _)| it == name).map(|(_, block)| block.clone())
    }
}
