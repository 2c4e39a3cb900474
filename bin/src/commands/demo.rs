//! `foregate demo`: two toy backends and a proxy in front of them, all in this process.

use std::ffi::OsString;
use std::process::ExitCode;

use super::{Arg, Args, backend, generated, listen_address, proxy, unknown, visit};

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let (mut listen, mut print) = ("127.0.0.1:8080".to_owned(), false);
    let mut args = Args::new(args);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Flag(name) if name == "listen" => listen = listen_address(&args.value("listen")?)?,
            Arg::Flag(name) if name == "print" => print = true,
            other => return Err(unknown(&other)),
        }
    }
    let backends = ["one", "two"].map(backend::start);
    let mut to = Vec::with_capacity(backends.len());
    for address in backends {
        to.push(address.map_err(|e| format!("cannot start a backend: {e}"))?.to_string());
    }
    let text = proxy::between(&listen, to);
    if !print {
        eprintln!("# This is the whole configuration, an ordinary nginx.conf:\n\n{text}");
        eprintln!(
            "# Try it, more than once: the two backends take turns.\n#   curl {}\n",
            visit("http", &listen)
        );
    }
    generated::run("demo", text, print)
}
