//! Facts about the machine that do not change while a process lives.

use std::sync::OnceLock;

/// The host's name in lower case, as nginx keeps it.
pub fn hostname() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim().to_ascii_lowercase()
    })
}
