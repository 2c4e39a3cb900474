//! Extensions and their types, looked up once per file that is served.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock};

/// Longer extensions than this are not looked up: none is listed anywhere.
const EXTENSION_BYTES_MAX: usize = 64;

/// What nginx knows without a `types` block.
const BUILT_IN: [(&str, &str); 3] = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];

/// Lower-case extension to type.
#[derive(Clone, Default)]
pub(super) struct Table(HashMap<Box<[u8]>, Arc<[u8]>, BuildHasherDefault<Fnv>>);

impl Table {
    /// The one table of all configurations that list no types.
    pub(super) fn built_in() -> Arc<Self> {
        static TABLE: OnceLock<Arc<Table>> = OnceLock::new();
        let build = || {
            let mut table = Table::default();
            for (extension, content_type) in BUILT_IN {
                table.insert(extension.into(), content_type.as_bytes());
            }
            Arc::new(table)
        };
        TABLE.get_or_init(build).clone()
    }

    /// Returns the type that the extension had before.
    pub(super) fn insert(&mut self, extension: Vec<u8>, content_type: &[u8]) -> Option<Arc<[u8]>> {
        self.0.insert(extension.into(), content_type.into())
    }

    pub(super) fn find(&self, extension: &[u8]) -> Option<&[u8]> {
        let mut lower = [0; EXTENSION_BYTES_MAX];
        let lower = lower.get_mut(..extension.len())?;
        if extension.is_empty() {
            return None;
        }
        lower.copy_from_slice(extension);
        lower.make_ascii_lowercase();
        self.0.get(&*lower).map(|it| &**it)
    }
}

/// FNV-1a: the keys are a few letters from the configuration, so nothing better is needed.
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
