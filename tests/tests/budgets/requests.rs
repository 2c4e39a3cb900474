//! What a request costs the whole server: instructions, allocations, system calls.

use std::path::PathBuf;

use crate::callgrind::{self, Cost};
use crate::server::{COUNTED, Running, Traffic, WARM};
use crate::strace::{self, Calls};
use crate::table::{Counted, judge, kept, not_counted};

/// Every kind of traffic by the name of its lines in the table.
const KINDS: [(&str, Traffic); 4] = [
    ("proxied", Traffic { proxied: WARM.proxied + COUNTED, ..WARM }),
    ("logged", Traffic { logged: WARM.logged + COUNTED, ..WARM }),
    ("file", Traffic { files: WARM.files + COUNTED, ..WARM }),
    ("connection", Traffic { fresh: WARM.fresh + COUNTED, ..WARM }),
];

#[test]
fn instructions_and_allocations_per_request() {
    if !callgrind::is_here() {
        return not_counted("instructions and allocations", "valgrind is missing (apt-get install valgrind)");
    }
    let count = |name: &str, traffic: Traffic| -> Cost {
        let out = kept(&format!("{name}.callgrind"));
        run(&callgrind::words(&out), traffic);
        callgrind::read(&out)
    };
    let base = count("base", WARM);
    let mut all = Vec::new();
    for (name, traffic) in KINDS {
        let cost = count(name, traffic).above(base, COUNTED);
        let file = kept(&format!("{name}.callgrind")).display().to_string();
        all.push(Counted {
            name: format!("{name}.instructions"),
            value: cost.instructions,
            look: format!("compare callgrind_annotate {file} with that of the commit before"),
        });
        all.push(Counted {
            name: format!("{name}.allocations"),
            value: cost.allocations,
            look: format!("callgrind_annotate --tree=caller {file} shows who calls __rust_alloc"),
        });
    }
    judge(&all);
}

#[test]
fn system_calls_per_request() {
    if let Some(why) = strace::missing() {
        return not_counted("system calls", &why);
    }
    let count = |name: &str, traffic: Traffic| -> Calls {
        let out: PathBuf = kept(&format!("{name}.strace"));
        run(&strace::words(&out), traffic);
        strace::read(&out)
    };
    let base = count("base", WARM);
    let mut all = Vec::new();
    for (name, traffic) in KINDS {
        let mut calls = strace::above(&count(name, traffic), &base, COUNTED);
        let look = format!("one of {}", strace::show(&calls));
        // One client that waits for each answer: a server with more to do waits less often.
        let waits = ["epoll_wait", "epoll_pwait", "epoll_pwait2"].map(|it| calls.remove(it).unwrap_or(0.0));
        for (what, value) in [("system_calls", calls.values().sum()), ("waits", waits.iter().sum())] {
            all.push(Counted { name: format!("{name}.{what}"), value, look: look.clone() });
        }
    }
    judge(&all);
}

fn run(tool: &[String], traffic: Traffic) {
    let mut server = Running::start(tool);
    server.wait_until_up().unwrap_or_else(|said| panic!("{tool:?}: it does not start: {said}"));
    server.drive(traffic);
    server.stop();
}
