//! Turns the list of modules into the things that need all of them at once.

macro_rules! modules {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// What one block wrote, module by module. Blocks that are alike in a module share that part.
        #[derive(Clone, Default)]
        pub struct Options {
            $(pub $name: foregate_core::Written<<$name::Module as foregate_core::Module>::Options>,)*
        }

        /// What requests read, module by module. `None`: the module has nothing to do here.
        pub struct Settings {
            $(pub $name: Option<std::sync::Arc<<$name::Module as foregate_core::Module>::Settings>>,)*
        }

        /// What blocks that wrote nothing have inherited already, by what stands around them.
        #[derive(Default)]
        pub struct Inherited {
            $($name: foregate_core::Heirs<<$name::Module as foregate_core::Module>::Options>,)*
        }

        /// The settings that have been made already, by the options they were made of.
        #[derive(Default)]
        pub struct Resolved {
            $($name: foregate_core::Made<$name::Module>,)*
        }

        impl Options {
            /// Hands a directive to the module that declares it for this place; `false`: none does.
            ///
            /// Two modules may declare one name for different places (`server` in http and in upstream). Of one place
            /// all get it that declare it (`health_check`).
            pub fn set(
                &mut self,
                node: &foregate_conf::Node,
                scope: foregate_core::Scope,
            ) -> Result<bool, foregate_conf::Error> {
                let name = node.name.text.as_str();
                let (mut elsewhere, mut taken) = (None, false);
                $(
                    for directive in <$name::Module as foregate_core::Module>::DIRECTIVES {
                        if directive.name == name {
                            let done = directive.apply(self.$name.get_mut(), node, scope);
                            match directive.scope.contains(scope) {
                                true => done.map(|()| taken = true)?,
                                false => elsewhere = elsewhere.or(done.err()),
                            }
                        }
                    }
                )*
                match elsewhere.filter(|_| !taken) {
                    Some(why) => Err(why),
                    None => Ok(taken),
                }
            }

            /// Takes from the block around it what this block did not set.
            pub fn inherit(&mut self, outer: &Self, known: &mut Inherited) {
                $(known.$name.inherit::<$name::Module>(&mut self.$name, &outer.$name);)*
            }

            /// What an `if` or `limit_except` takes besides: the content handler of its location.
            pub fn inherit_handler(&mut self, outer: &Self) {
                let has = false
                    $(|| self.$name.get().is_some_and(<$name::Module as foregate_core::Module>::has_handler))*;
                if has {
                    return;
                }
                $(if let Some(outer) = outer.$name.get() {
                    <$name::Module as foregate_core::Module>::inherit_handler(self.$name.get_mut(), outer);
                })*
            }

            pub fn prepare(&self, cx: &mut foregate_core::Compile<'_>) -> Result<(), foregate_conf::Error> {
                $(match self.$name.get() {
                    Some(options) => <$name::Module as foregate_core::Module>::prepare(options, cx)?,
                    None => <$name::Module as foregate_core::Module>::prepare(&Default::default(), cx)?,
                })*
                Ok(())
            }

            pub fn resolve(
                self,
                cx: &mut foregate_core::Compile<'_>,
                known: &mut Resolved,
            ) -> Result<Settings, foregate_conf::Error> {
                Ok(Settings {
                    $($name: known.$name.resolve(self.$name, cx)?,)*
                })
            }
        }

        /// Lets every module declare the variables that a directive makes.
        pub fn declare(
            node: &foregate_conf::Node,
            variables: &mut foregate_core::Variables,
        ) -> Result<(), foregate_conf::Error> {
            let name = node.name.text.as_str();
            $(
                if <$name::Module as foregate_core::Module>::DIRECTIVES.iter().any(|it| it.name == name) {
                    <$name::Module as foregate_core::Module>::declare(node, variables)?;
                }
            )*
            Ok(())
        }

        /// Finds `$name` among every module's variables.
        pub fn variable(name: &str) -> Option<&'static foregate_core::Variable> {
            let modules: &[&'static [foregate_core::Variable]] =
                &[$(<$name::Module as foregate_core::Module>::VARIABLES,)*];
            modules.iter().copied().flatten().find(|it| it.name == name)
        }

        /// The name of every module's variables.
        pub fn variable_names() -> Vec<&'static str> {
            let modules: &[&'static [foregate_core::Variable]] =
                &[$(<$name::Module as foregate_core::Module>::VARIABLES,)*];
            modules.iter().copied().flatten().map(|it| it.name).collect()
        }

        /// Finds the family that `$name` belongs to, such as `$arg_…`; the longest prefix wins.
        pub fn family(name: &str) -> Option<&'static foregate_core::Prefix> {
            let modules: &[&'static [foregate_core::Prefix]] =
                &[$(<$name::Module as foregate_core::Module>::PREFIXES,)*];
            let all = modules.iter().copied().flatten();
            all.filter(|it| name.starts_with(it.name)).max_by_key(|it| it.name.len())
        }

        /// `(module, directive, scope)` of every directive: what the reference page is written from.
        pub fn directives() -> Vec<(&'static str, &'static str, foregate_core::Scope)> {
            let mut all = Vec::new();
            $(
                for it in <$name::Module as foregate_core::Module>::DIRECTIVES {
                    all.push((stringify!($name), it.name, it.scope));
                }
            )*
            all
        }
    };
}

pub(crate) use modules;
