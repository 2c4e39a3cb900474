//! Instructions and allocations as valgrind's callgrind counts them: the same in every run.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a run cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    /// Calls of the allocator for new or larger memory.
    pub(crate) allocations: f64,
}

impl Cost {
    /// Per time, when `self` did something `times` oftener than `base`.
    pub(crate) fn above(self, base: Cost, times: usize) -> Cost {
        let each = |more: f64, less: f64| (more - less) / times as f64;
        Cost {
            instructions: each(self.instructions, base.instructions),
            allocations: each(self.allocations, base.allocations),
        }
    }
}

/// Whether valgrind is here.
pub(crate) fn is_here() -> bool {
    let mut command = Command::new("valgrind");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The words before a program's own that make callgrind write to this file.
pub(crate) fn words(out: &Path) -> Vec<String> {
    let file = format!("--callgrind-out-file={}", out.display());
    ["valgrind", "--tool=callgrind", &file].map(str::to_owned).into()
}

/// Reads what callgrind wrote ("Callgrind Format Specification" in valgrind's manual).
pub(crate) fn read(out: &Path) -> Cost {
    let text = std::fs::read(out).unwrap_or_else(|why| panic!("{}: {why}", out.display()));
    let text = String::from_utf8_lossy(&text);
    let mut cost = Cost::default();
    // Names are written once, as `fn=(7) name`, and from then on as `fn=(7)`.
    let mut allocators: HashMap<&str, bool> = HashMap::new();
    let mut called_is_allocator = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (id, name) = name.split_once(' ').unwrap_or((name, ""));
            if !name.is_empty() {
                allocators.insert(id, is_allocator(name));
            }
            called_is_allocator = allocators.get(id).copied().unwrap_or(false);
        } else if let (true, Some(calls)) = (called_is_allocator, line.strip_prefix("calls=")) {
            cost.allocations += first_number(calls);
        } else if let Some(total) = line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")) {
            cost.instructions = first_number(total);
        }
    }
    assert!(cost.instructions > 0.0, "{} holds no total", out.display());
    cost
}

/// Rust's doors to its allocator, in whichever way their names are mangled.
fn is_allocator(name: &str) -> bool {
    let name = name.split('\'').next().unwrap_or(name);
    ["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc"].iter().any(|door| name.ends_with(door))
}

fn first_number(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}
