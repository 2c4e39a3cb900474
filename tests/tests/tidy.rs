//! The rules of the house that no compiler keeps: imports, sizes, first lines, `unsafe`, names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// The floors of the house, lowest first: a crate imports only from floors below its own.
const FLOORS: &[&[&str]] = &[
    &["foregate-conf", "foregate-jose", "foregate-wire"],
    &["foregate-net"],
    &["foregate-core"],
    &["foregate-cache"],
    &["foregate-upstream", "foregate-acme", "foregate-admin"],
    &["foregate-modules"],
    &["foregate-server"],
    &["foregate"],
];

/// Where `unsafe` may stand: system calls without a safe wrapper, and the queues and memory shared with io_uring.
const UNSAFE_FILES: [&str; 2] = ["crates/net/src/sys.rs", "crates/net/src/sys/uring.rs"];

/// A tracked text file.
struct File {
    /// Its path from the workspace's folder, with `/`.
    path: String,
    text: String,
}

fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("because this package is a folder of the workspace").to_path_buf()
}

/// Every text file of the project; what builds and tools write is left out.
fn files() -> Vec<File> {
    let (root, mut files) = (workspace(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("because the folder was listed").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().expect("because the entry was listed");
            if ["target", ".git", "corpus", "artifacts", "node_modules"].contains(&name.as_str()) {
                continue;
            } else if kind.is_dir() {
                folders.push(path);
            } else if let (true, Ok(text)) = (kind.is_file(), fs::read_to_string(&path)) {
                let path =
                    path.strip_prefix(&root).expect("because it lies below").to_string_lossy().into_owned();
                files.push(File { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn rust_files() -> Vec<File> {
    files().into_iter().filter(|f| f.path.ends_with(".rs")).collect()
}

/// Lines of code, numbered from 1: without comment lines.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether the word stands in the line by itself.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

#[track_caller]
fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_says_on_its_first_line_what_it_is_for() {
    let silent = rust_files().into_iter().filter(|f| !f.text.starts_with("//! ")).map(|f| f.path);
    none("line 1 must be a `//!` sentence", silent.collect());
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most: two rooms in one", file.path));
        }
        if !is_test(&file.path) {
            long.extend(long_functions(&file));
        }
    }
    none("too long", long);
}

fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// Functions above the limit, tests aside: from the line with `fn` to the brace at the same depth.
fn long_functions(file: &File) -> Vec<String> {
    let own = file.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or("");
    let lines: Vec<&str> = own.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let inner = line.trim_start();
        let is_fn = [
            "fn ",
            "pub fn ",
            "pub(crate) fn ",
            "pub(super) fn ",
            "async fn ",
            "pub async fn ",
            "unsafe fn ",
        ]
        .iter()
        .any(|word| inner.starts_with(word));
        let close = format!("{}}}", &line[..line.len() - inner.len()]);
        let end = lines[start..].iter().position(|l| *l == close);
        if let (true, Some(end)) = (is_fn && !line.trim_end().ends_with(['}', ';']), end)
            && end + 1 > FUNCTION_LINES_MAX
        {
            long.push(format!("{}:{}: a function of {} lines", file.path, start + 1, end + 1));
        }
    }
    long
}

#[test]
fn unsafe_stands_where_it_may_and_says_why_it_is_sound() {
    let mut broken = Vec::new();
    for file in rust_files() {
        let lines: Vec<&str> = file.text.lines().collect();
        for (n, line) in code(&file.text) {
            let line = line.split('"').next().unwrap_or("");
            if !has_word(line, "unsafe") {
                continue;
            }
            let above = lines[n.saturating_sub(8)..n].join("\n");
            if !UNSAFE_FILES.contains(&file.path.as_str()) {
                broken.push(format!("{}:{n}: only {} may", file.path, UNSAFE_FILES.join(" and ")));
            } else if !above.contains("SAFETY:") && !above.contains("# Safety") {
                broken.push(format!("{}:{n}: no SAFETY sentence above", file.path));
            }
        }
    }
    none("unsafe", broken);
}

/// The names in `registry::modules! { ... }`.
fn modules() -> BTreeSet<String> {
    let path = workspace().join("crates/modules/src/lib.rs");
    let text = fs::read_to_string(path).expect("because crates/modules has a lib.rs");
    let list = text.split_once("registry::modules! {").and_then(|(_, rest)| rest.split_once('}'));
    let (list, _) = list.expect("because lib.rs lists the modules");
    list.split([',', '\n'])
        .map(str::trim)
        .filter(|n| !n.is_empty() && !n.starts_with("//"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn modules_do_not_import_each_other() {
    let (modules, mut broken) = (modules(), Vec::new());
    for file in rust_files() {
        let Some(inside) = file.path.strip_prefix("crates/modules/src/") else { continue };
        let own = inside.split(['/', '.']).next().unwrap_or("");
        if !modules.contains(own) || is_test(&file.path) {
            continue;
        }
        for (n, line) in code(&file.text) {
            for other in modules.iter().filter(|other| *other != own) {
                if line.contains(&format!("crate::{other}::")) || line.contains(&format!("crate::{other};")) {
                    broken.push(format!("{}:{n}: {own} imports its neighbour {other}", file.path));
                }
            }
        }
    }
    none("a module knows neither its neighbours nor the server", broken);
}

#[test]
fn the_server_calls_every_module_that_can_be_called() {
    let files = rust_files();
    let above = |f: &&File| f.path.starts_with("crates/server/src/") || f.path.starts_with("bin/src/");
    let above: String = files.iter().filter(above).map(|f| f.text.as_str()).collect();
    let mut forgotten = Vec::new();
    for name in modules() {
        let room = |f: &&File| {
            [format!("crates/modules/src/{name}/mod.rs"), format!("crates/modules/src/{name}.rs")]
                .contains(&f.path)
        };
        let text = files.iter().find(room).map_or("", |f| f.text.as_str());
        let offers =
            text.lines().any(|l| ["pub fn ", "pub async fn ", "pub use "].iter().any(|w| l.starts_with(w)));
        if offers && !has_word(&above, &name) {
            forgotten.push(format!("{name} offers functions that nothing above it mentions"));
        }
    }
    none("a call in phases.rs or filters.rs is missing", forgotten);
}

/// The crates of ours that a manifest names, with the package's own name first.
fn imports(manifest: &str) -> Vec<String> {
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or("").to_owned();
    let own = manifest.lines().find_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"')).unwrap_or("");
    let ours = manifest.lines().filter(|l| l.starts_with("foregate-")).map(name);
    std::iter::once(own.to_owned()).chain(ours).collect()
}

#[test]
fn imports_run_down() {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let mut broken = Vec::new();
    for file in files().iter().filter(|f| f.path.ends_with("/Cargo.toml") && !f.path.starts_with("fuzz/")) {
        let names = imports(&file.text);
        let (own, others) = names.split_first().expect("because the own name is always there");
        const BESIDE: [&str; 5] =
            ["foregate-tests", "foregate-grpc-tests", "foregate-testkit", "foregate-bench", "xtask"];
        if BESIDE.contains(&own.as_str()) {
            continue;
        }
        let Some(own_floor) = floor(own) else {
            broken.push(format!("{own} has no floor: give it one in tests/tests/tidy.rs"));
            continue;
        };
        for other in others.iter().filter(|other| *other != "foregate-testkit") {
            if floor(other).is_none_or(|other| other >= own_floor) {
                broken.push(format!("{own} imports {other}, which is not below it"));
            }
        }
    }
    none("imports between crates run down", broken);
}

#[test]
fn the_testkit_shares_nothing_with_the_server() {
    let manifest = fs::read_to_string(workspace().join("crates/testkit/Cargo.toml"));
    let names = imports(&manifest.expect("because the testkit has a manifest"));
    none("the testkit must not share the server's mistakes", names[1..].to_vec());
}

#[test]
fn texts_speak_of_the_project_alone() {
    // Put together here, so that this file does not hold what it forbids.
    let places = ["work", "root", "tmp/w", "tmp/ref", "tmp/brief"].map(|place| format!("/{place}/"));
    let mut broken = Vec::new();
    for file in files() {
        for (n, line) in file.text.lines().enumerate() {
            let found = places
                .iter()
                .find(|place| line.match_indices(place.as_str()).any(|(at, _)| begins_path(line, at)));
            if let Some(place) = found {
                broken.push(format!("{}:{}: {place}", file.path, n + 1));
            }
        }
    }
    none("no paths of the machines we work on", broken);
}

/// Whether an absolute path begins here: behind a placeholder, a name or a dot it is a part of a longer path.
fn begins_path(line: &str, at: usize) -> bool {
    !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "_-./}$*\\".contains(c))
}

#[test]
fn files_are_named_for_what_they_are() {
    let empty = ["manager", "helper", "helpers", "util", "utils", "common", "misc"];
    let named = |f: &File| f.path.split(['/', '.', '_', '-']).any(|part| empty.contains(&part));
    none("these names say nothing", rust_files().into_iter().filter(named).map(|f| f.path).collect());
}

#[test]
fn conformance_is_listed_once_and_in_order() {
    let text = fs::read_to_string(workspace().join("xtask/conformance.txt"))
        .expect("because the list is checked in");
    let names: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let sorted: BTreeSet<&str> = names.iter().copied().collect();
    assert!(names.iter().copied().eq(sorted), "xtask/conformance.txt is not sorted, or names a file twice");
}

#[test]
fn the_table_of_rfc_9111_names_tests_that_exist() {
    let table =
        fs::read_to_string(workspace().join("docs/rfc9111.md")).expect("because the table is checked in");
    let sources: String = rust_files().into_iter().map(|f| f.text).collect();
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    let names: BTreeSet<&str> = rows.clone().filter_map(|row| row.rsplit('`').nth(1)).collect();
    assert!(rows.count() > 60 && names.len() > 30, "the table has lost rows");
    let missing = names.into_iter().filter(|name| !sources.contains(&format!("#[test]\nfn {name}()")));
    let missing = missing.filter(|name| !sources.contains(&format!("#[test]\n    fn {name}()")));
    none("docs/rfc9111.md names tests that do not exist", missing.map(str::to_owned).collect());
}
