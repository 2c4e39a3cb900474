//! Runs a test on the driver that `FOREGATE_TEST_EVENTS` names: `epoll` (the default), or `io_uring` where the
//! kernel lets us.

use std::io;

use foregate_net::events::{self, Events};
use foregate_net::runtime;

pub(crate) fn run<T>(main: impl Future<Output = T>) -> io::Result<T> {
    if std::env::var("FOREGATE_TEST_EVENTS").is_ok_and(|name| name == Events::IoUring.name()) {
        events::choose(Some(Events::IoUring));
    }
    runtime::run(main)
}
