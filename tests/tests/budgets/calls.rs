//! What one call of the parsers and of the template engine costs, in instructions.

use std::process::{Command, Stdio};

use crate::callgrind;
use crate::table::{Counted, judge, kept, not_counted};

const FEW: usize = 1_000;
const MANY: usize = 3_000;

#[test]
fn instructions_per_call() {
    if !callgrind::is_here() {
        return not_counted("parsers and templates", "valgrind is missing (apt-get install valgrind)");
    }
    let mut all = Vec::new();
    for what in ["request", "response", "template"] {
        let count = |times: usize| {
            let out = kept(&format!("{what}.{times}.callgrind"));
            let words = callgrind::words(&out);
            let done = Command::new(&words[0])
                .args(&words[1..])
                .args([env!("CARGO_BIN_EXE_exercise"), what, &times.to_string()])
                .stdin(Stdio::null())
                .output()
                .expect("because valgrind is there");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            callgrind::read(&out)
        };
        let cost = count(MANY).above(count(FEW), MANY - FEW);
        let file = kept(&format!("{what}.{MANY}.callgrind"));
        let look = format!("compare callgrind_annotate {} with that of the commit before", file.display());
        for (unit, value) in [("instructions", cost.instructions), ("allocations", cost.allocations)] {
            all.push(Counted { name: format!("{what}.{unit}"), value, look: look.clone() });
        }
    }
    judge(&all);
}
