//! `xtask docs`: will write docs/directives.md from the modules' tables; today it says that it cannot.

/// Refuses: no module declares a directive that could be written down yet.
pub(crate) fn run(_args: Vec<String>) -> Result<(), String> {
    Err("docs/directives.md cannot be generated yet".to_owned())
}
