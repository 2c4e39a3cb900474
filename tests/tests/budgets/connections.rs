//! What an idle connection holds, and how large the things are that every connection or request has.

use std::time::Duration;

use foregate_testkit::Client;
use foregate_testkit::process::{raise_descriptor_limit, resident_kib};

use crate::server::{Running, Traffic};
use crate::table::{Counted, judge, not_counted};

/// Idle ones that are there before counting starts: they fill what is made once.
const FIRST: usize = 500;
const IDLE: usize = 2_000;
/// Longer than it takes until an idle connection is parked and its task's memory given back.
const REST: Duration = Duration::from_millis(2500);
/// So often is looked at what they hold.
const RESTS: usize = 4;

#[test]
fn memory_of_an_idle_connection() {
    if raise_descriptor_limit() < 2 * (FIRST + IDLE) as u64 {
        return not_counted("idle connections", "too few descriptors are allowed (ulimit -n)");
    }
    let mut server = Running::start(&[]);
    server.wait_until_up().unwrap_or_else(|said| panic!("it does not start: {said}"));
    let pid = server.server_pid().expect("because it is up");
    let open = |n: usize| -> Vec<Client> { (0..n).map(|_| server.used_connection()).collect() };
    let first = open(FIRST);
    std::thread::sleep(REST);
    let before = resident_kib(pid);
    let idle = open(IDLE);
    let each = || (resident_kib(pid).saturating_sub(before) * 1024) as f64 / IDLE as f64;
    // A busy machine is late with giving memory back: what counts is what stays.
    let bytes = (0..RESTS).fold(f64::INFINITY, |least, _| {
        std::thread::sleep(REST);
        least.min(each())
    });
    drop((first, idle));
    let look = "what lives in a connection between two requests, such as a buffer or its future".to_owned();
    judge(&[Counted { name: "idle.bytes".to_owned(), value: bytes, look }]);
    server.drive(Traffic::default());
}

#[test]
fn sizes() {
    let look = "a field, or a value that lives across an .await (-Zprint-type-sizes lists them)";
    let counted = |(name, bytes)| Counted {
        name: format!("{name}.bytes"),
        value: f64::from(u32::try_from(bytes).expect("because nothing here is that large")),
        look: look.to_owned(),
    };
    judge(&foregate_server::sizes().map(counted));
}
