//! What modules remember about an exchange between their phases.

use std::any::{Any, TypeId};
use std::rc::Rc;

/// Fields of an upstream's answer that belong into the final one, though another place makes it (X-Accel-Redirect).
pub struct KeptFields(pub foregate_wire::Fields);

/// The charset that an upstream names for its answer (X-Accel-Charset).
pub struct CharsetOverride(pub Vec<u8>);

/// A small map by type. Empty, it costs nothing. A copy shares the notes, and what is put into one is not in the other.
#[derive(Clone, Default)]
pub struct Notes(Vec<(TypeId, Rc<dyn Any>)>);

impl Notes {
    /// Keeps a note, in the place of an older one of its type.
    pub fn put<T: Any>(&mut self, note: T) {
        match self.0.iter_mut().find(|(id, _)| *id == TypeId::of::<T>()) {
            Some((_, old)) => match Rc::get_mut(old).and_then(|it| it.downcast_mut()) {
                Some(old) => *old = note,
                None => *old = Rc::new(note),
            },
            None => self.0.push((TypeId::of::<T>(), Rc::new(note))),
        }
    }

    pub fn get<T: Any>(&self) -> Option<&T> {
        let (_, note) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        note.downcast_ref()
    }

    /// The note of this type, a copy of its own where others share it.
    pub fn get_or_default<T: Any + Clone + Default>(&mut self) -> &mut T {
        let note = Rc::get_mut(self.own::<T>()).and_then(|it| it.downcast_mut());
        note.expect("because nobody shares it, and it was found by its type")
    }

    /// As `get_or_default`, for one who comes back to it often and keeps hold of it meanwhile.
    pub fn hold<T: Any + Clone + Default>(&mut self) -> Rc<T> {
        let note = self.own::<T>().clone().downcast();
        note.unwrap_or_else(|_| unreachable!("it was found by its type"))
    }

    /// The note of this type, shared with nobody.
    fn own<T: Any + Clone + Default>(&mut self) -> &mut Rc<dyn Any> {
        let at = self.0.iter().position(|(id, _)| *id == TypeId::of::<T>());
        let at = at.unwrap_or_else(|| {
            self.0.push((TypeId::of::<T>(), Rc::new(T::default())));
            self.0.len() - 1
        });
        let note = &mut self.0[at].1;
        if Rc::get_mut(note).is_none() {
            let copy = note.downcast_ref::<T>().cloned().unwrap_or_default();
            *note = Rc::new(copy);
        }
        note
    }

    /// Takes a note that is not shared.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        let at = self.0.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        let (_, note) = self.0.swap_remove(at);
        Rc::try_unwrap(note.downcast().ok()?).ok()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
