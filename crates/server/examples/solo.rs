//! One thread, no master: serves a configuration until it is killed. For measuring and trying out.

use std::sync::Arc;

use foregate_conf::{OsFiles, render};
use foregate_net::{events, runtime};
use foregate_server::{Setup, Thread, load};

fn main() {
    let conf = std::env::args().nth(1).expect("because a configuration is named");
    let conf = std::fs::canonicalize(conf).expect("because it exists");
    let prefix = conf.parent().expect("because a file has a folder").to_owned();
    let setup = Setup {
        conf,
        prefix,
        error_log: "stderr".into(),
        globals: Vec::new(),
        pid: "/dev/null".into(),
        privileged: true,
    };
    let loaded = match load(&setup, &OsFiles, None) {
        Ok(loaded) => loaded,
        Err(failed) => {
            eprint!("{}", render(&failed.error, &failed.sources, true));
            std::process::exit(1);
        }
    };
    for path in loaded.cycle.log_files() {
        foregate_core::LogFile::of(path).open().expect("because logs can be opened");
    }
    let cycle = Arc::new(loaded.cycle);
    events::choose(cycle.main.process.events);
    let run = async {
        let thread = Thread::new(cycle.clone(), true);
        for endpoint in &cycle.endpoints {
            let spec = endpoint.spec();
            let fd = spec.open().unwrap_or_else(|error| panic!("{error}"));
            thread.listen(spec.addr, fd).expect("because it was opened");
        }
        std::future::pending::<()>().await;
    };
    runtime::run(run).expect("because epoll is there");
}
