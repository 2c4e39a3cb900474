//! The table of limits, and what is said when one is passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Writes the limits anew instead of judging by them.
const WRITE_ENV: &str = "FOREGATE_BUDGETS_WRITE";

/// The column of this build's limits: name, debug, quick, room, unit.
const COLUMN: usize = if cfg!(debug_assertions) { 1 } else { 2 };
const ROOM_COLUMN: usize = 3;
const UNIT_COLUMN: usize = 4;

/// What was counted under a name of the table, and how to find out what grew.
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) look: String,
}

/// Judges all, and fails with those that are above their limits.
#[track_caller]
pub(crate) fn judge(all: &[Counted]) {
    let over: Vec<String> = all.iter().filter_map(over).collect();
    assert!(over.is_empty(), "over budget ({}):\n{}", path().display(), over.join("\n"));
}

fn over(counted: &Counted) -> Option<String> {
    let Counted { name, value, look } = counted;
    let text = fs::read_to_string(path()).expect("because the table lies beside this file");
    let mut rows = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let row = rows.find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} has no line in the table"));
    let (limit, unit) = (number(row[COLUMN]), row[UNIT_COLUMN]);
    println!("budget {name}: {value:.2} of {limit} {unit}");
    if std::env::var_os(WRITE_ENV).is_some() {
        write(name, value * (1.0 + number(row[ROOM_COLUMN]) / 100.0));
        return None;
    }
    (*value > limit).then(|| format!("  {name}: {value:.2} {unit}, and may be {limit}; what grew: {look}"))
}

/// Says that something could not be counted here, and why.
pub(crate) fn not_counted(what: &str, why: &str) {
    eprintln!("budgets: {what} not counted: {why}");
}

/// A file that is kept for whoever wants to know what grew.
pub(crate) fn kept(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("budgets");
    fs::create_dir_all(&folder).expect("because cargo made the folder above");
    folder.join(name)
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} in {} is no number", path().display()))
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/budgets/budgets.tsv")
}

/// Tests run side by side: one rewrites the table at a time.
fn write(name: &str, limit: f64) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(path()).expect("because it was read before");
    let written = match limit {
        ..100.0 => format!("{:.1}", (limit * 10.0).ceil() / 10.0),
        _ => format!("{:.0}", limit.ceil()),
    };
    let line = |line: &str| {
        let mut row: Vec<&str> = line.split('\t').collect();
        if row[0] == name {
            row[COLUMN] = &written;
        }
        row.join("\t") + "\n"
    };
    fs::write(path(), text.lines().map(line).collect::<String>()).expect("because the table may be written");
}
