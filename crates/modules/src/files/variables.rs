//! `$document_root`, `$realpath_root`, `$request_filename`.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use foregate_core::{Exchange, Level, Variable, log};
use foregate_net::sys::errno_text;

use super::Settings;
use super::serve::text;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::new("document_root", |ex, out| {
        with(ex, |on, ex| {
            out.extend_from_slice(&on.root.folder(ex));
            true
        })
    }),
    Variable::new("realpath_root", |ex, out| with(ex, |on, ex| real_path(&on.root.folder(ex), ex, out))),
    Variable::new("request_filename", |ex, out| {
        with(ex, |on, ex| match on.root.map(ex) {
            Some(mapped) => {
                out.extend_from_slice(&mapped.path);
                true
            }
            None => false,
        })
    }),
];

/// Calls with the settings of the place that the exchange is in.
fn with(ex: &mut Exchange, ask: impl FnOnce(&Settings, &mut Exchange) -> bool) -> bool {
    let cycle = ex.cycle.clone();
    match &crate::settings(&*cycle, ex.location).files {
        Some(on) => ask(on, ex),
        None => false,
    }
}

fn real_path(folder: &[u8], ex: &Exchange, out: &mut Vec<u8>) -> bool {
    match Path::new(OsStr::from_bytes(folder)).canonicalize() {
        Ok(real) => {
            out.extend_from_slice(&real.into_os_string().into_vec());
            true
        }
        Err(why) => {
            log!(ex, Level::Crit, "realpath() \"{}\" failed ({})", text(folder), errno_text(&why));
            false
        }
    }
}
