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
        let nothing = O::default();
        let from = outer.get().unwrap_or(&nothing);
        if part.0.is_some() {
            return M::inherit(part.get_mut(), from);
        }
        // The outer part is kept with its heir: its address means it as long as it lives.
        let (_, heir) = self.0.entry(outer.key()).or_insert_with(|| {
            let mut heir = O::default();
            M::inherit(&mut heir, from);
            (outer.clone(), Written(Some(Rc::new(heir))))
        });
        part.clone_from(heir);
    }
}

type Settings<M> = Option<Arc<<M as Module>::Settings>>;

/// A part, kept so that its address goes on meaning it, and what was made of it.
type Kept<M> = (Written<<M as Module>::Options>, Settings<M>);

/// The settings made of parts that several blocks share.
pub struct Made<M: Module>(HashMap<*const <M as Module>::Options, Kept<M>>);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::Directive;
    use crate::scope::Scope;
    use std::cell::Cell;

    thread_local! {
        static RESOLVED: Cell<u32> = const { Cell::new(0) };
    }

    #[derive(Clone, Default)]
    struct Options {
        size: Option<u64>,
        depth: u32,
    }

    struct Test;

    impl Module for Test {
        type Options = Options;
        type Settings = (u64, u32);

        const DIRECTIVES: &'static [Directive<Options>] =
            &[Directive::size("size", Scope::HTTP, |o| &mut o.size)];

        fn inherit(options: &mut Options, outer: &Options) {
            options.size = options.size.or(outer.size);
            options.depth = outer.depth + 1;
        }

        fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<(u64, u32)>, Error> {
            RESOLVED.set(RESOLVED.get() + 1);
            Ok(Some((options.size.unwrap_or(7), options.depth)))
        }
    }

    #[test]
    fn blocks_that_wrote_nothing_share_what_they_inherit_and_what_is_made_of_it() {
        let mut known = Heirs::default();
        let mut http = Written::<Options>::default();
        known.inherit::<Test>(&mut http, &Written::default());
        let mut servers = [const { Written::<Options>(None) }; 4];
        servers[3].get_mut().size = Some(9);
        servers.iter_mut().for_each(|it| known.inherit::<Test>(it, &http));
        let mut locations = servers.clone().map(|_| Written::<Options>::default());
        for (location, server) in locations.iter_mut().zip(&servers) {
            known.inherit::<Test>(location, server);
        }
        drop(known);
        let mut cx = Compile {
            variables: &mut crate::Variables::new(|_| None, |_| None),
            files: &foregate_conf::OsFiles,
            prefix: "/".as_ref(),
            conf_prefix: "/".as_ref(),
            shared: &mut crate::Shared::default(),
            previous: None,
            warnings: Vec::new(),
            log_files: Vec::new(),
            temp_dirs: Vec::new(),
            server_names: Vec::new(),
            location: None,
        };
        let mut known = Made::<Test>::default();
        let parts = servers.into_iter().chain(locations);
        let made: Vec<_> = parts.map(|it| known.resolve(it, &mut cx).ok().flatten().unwrap()).collect();
        let values: Vec<_> = made.iter().map(|it| **it).collect();
        assert_eq!(values, [(7, 2), (7, 2), (7, 2), (9, 2), (7, 3), (7, 3), (7, 3), (9, 3)]);
        assert!(Arc::ptr_eq(&made[0], &made[2]) && Arc::ptr_eq(&made[4], &made[6]));
        assert_eq!(RESOLVED.get(), 4);
    }
}
