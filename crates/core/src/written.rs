//! What one block wrote for one module, shared by all blocks that are alike in it: a thousand servers that differ in
//! two directives hold those two a thousand times, and all else once.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use foregate_conf::Error;

use crate::module::{Compile, Module};

/// The options of one module in one block: shared until they are written to. Nothing while nobody has set any.
pub struct Written<O>(Option<Rc<O>>);

impl<O> Default for Written<O> {
    fn default() -> Self {
        Self(None)
    }
}

impl<O> Clone for Written<O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<O> Written<O> {
    pub fn get(&self) -> Option<&O> {
        self.0.as_deref()
    }

    /// What stands at the place of `None` when there is nothing.
    fn key(&self) -> *const O {
        self.0.as_ref().map_or(std::ptr::null(), Rc::as_ptr)
    }
}

impl<O: Clone + Default> Written<O> {
    /// The options as this block's own.
    pub fn get_mut(&mut self) -> &mut O {
        Rc::make_mut(self.0.get_or_insert_default())
    }
}

/// What blocks that wrote nothing have inherited, by the options around them: those inherit alike.
pub struct Heirs<O>(HashMap<*const O, (Written<O>, Written<O>)>);

impl<O> Default for Heirs<O> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<O: Clone + Default> Heirs<O> {
    /// Gives `part` what it did not set of `outer`.
    pub fn inherit<M: Module<Options = O>>(&mut self, part: &mut Written<O>, outer: &Written<O>) {
        match (&part.0, &outer.0) {
            (None, None) => (),
            // The outer part is kept with its heir: its address means it as long as it lives.
            (None, Some(from)) => {
                let (_, heir) = self.0.entry(outer.key()).or_insert_with(|| {
                    let mut heir = O::default();
                    M::inherit(&mut heir, from);
                    (outer.clone(), Written(Some(Rc::new(heir))))
                });
                part.0.clone_from(&heir.0);
            }
            (Some(_), None) => M::inherit(part.get_mut(), &O::default()),
            (Some(_), Some(from)) => M::inherit(part.get_mut(), from),
        }
    }
}

type Settings<M> = Option<Arc<<M as Module>::Settings>>;

/// The settings made of parts that several blocks share.
pub struct Made<M: Module>(HashMap<*const M::Options, (Written<M::Options>, Settings<M>)>);

impl<M: Module> Default for Made<M> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<M: Module> Made<M> {
    /// The settings of this part: those of another block that shares it, if it is not the first.
    ///
    /// # Errors
    /// As [`Module::resolve`].
    pub fn resolve(&mut self, part: Written<M::Options>, cx: &mut Compile<'_>) -> Result<Settings<M>, Error> {
        if let Some((_, made)) = self.0.get(&part.key()) {
            return Ok(made.clone());
        }
        let shared = part.0.as_ref().is_none_or(|it| Rc::strong_count(it) > 1);
        let (kept, key) = (shared.then(|| part.clone()), part.key());
        let options = part.0.map_or_else(M::Options::default, Rc::unwrap_or_clone);
        let made = M::resolve(options, cx)?.map(Arc::new);
        if let Some(kept) = kept {
            self.0.insert(key, (kept, made.clone()));
        }
        Ok(made)
    }
}
