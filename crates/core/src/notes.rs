//! What modules remember about an exchange between their phases.

use std::any::{Any, TypeId};

/// Fields of an upstream's answer that belong into the final one, though another place makes it (X-Accel-Redirect).
pub struct KeptFields(pub foregate_wire::Fields);

/// The charset that an upstream names for its answer (X-Accel-Charset).
pub struct CharsetOverride(pub Vec<u8>);

/// A small map by type. Empty, it costs nothing.
#[derive(Default)]
pub struct Notes(Vec<(TypeId, Box<dyn Any>)>);

impl Notes {
    /// Keeps a note, in the place of an older one of its type.
    pub fn put<T: Any>(&mut self, note: T) {
        match self.get_mut::<T>() {
            Some(old) => *old = note,
            None => self.0.push((TypeId::of::<T>(), Box::new(note))),
        }
    }

    pub fn get<T: Any>(&self) -> Option<&T> {
        let (_, note) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        note.downcast_ref()
    }

    pub fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        let (_, note) = self.0.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        note.downcast_mut()
    }

    pub fn get_or_default<T: Any + Default>(&mut self) -> &mut T {
        if self.get::<T>().is_none() {
            self.put(T::default());
        }
        self.get_mut().expect("because it was put in above")
    }

    pub fn take<T: Any>(&mut self) -> Option<T> {
        let at = self.0.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        let (_, note) = self.0.swap_remove(at);
        note.downcast().ok().map(|note| *note)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
