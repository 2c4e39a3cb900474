//! `foregate serve`: a folder as a website.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use super::{Arg, Args, generated, listen_address, quoted, unknown, visit};

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let (mut folder, mut listen, mut print) = (None, "127.0.0.1:8080".to_owned(), false);
    let mut args = Args::new(args);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Flag(name) if name == "listen" => listen = listen_address(&args.value("listen")?)?,
            Arg::Flag(name) if name == "print" => print = true,
            Arg::Plain(path) if folder.is_none() => folder = Some(path),
            other => return Err(unknown(&other)),
        }
    }
    let folder = folder.unwrap_or_else(|| ".".into());
    let folder = Path::new(&folder).canonicalize().map_err(|e| format!("{folder}: {e}"))?;
    if !folder.is_dir() {
        return Err(format!("{} is not a folder", folder.display()));
    }
    let Some(folder) = folder.to_str() else {
        return Err(format!("\"{}\" is not valid UTF-8", folder.display()));
    };
    if folder.contains('$') {
        return Err(format!("{folder}: a path with a \"$\" cannot be written into a configuration"));
    }
    if !print {
        eprintln!("Serving {folder} on {}; Ctrl-C ends it.", visit("http", &listen));
    }
    generated::run("serve", configuration(folder, &listen), print)
}

fn configuration(folder: &str, listen: &str) -> String {
    format!(
        "worker_processes auto;
error_log stderr notice;

events {{
    worker_connections 4096;
}}

http {{
    include mime.types;
    default_type application/octet-stream;
    access_log /dev/stdout;
    sendfile on;

    server {{
        listen {listen};
        root {};
        index index.html index.htm;
        autoindex on;
    }}
}}
",
        quoted(folder)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_one_parameter() {
        assert!(configuration("/a b", "80").contains("root \"/a b\";"));
    }
}
