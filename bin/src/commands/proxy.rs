//! `foregate proxy`: a reverse proxy from two addresses.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use super::{Arg, Args, generated, listen_address, plain_word, quoted, unknown, visit};

/// What the command line asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    from: String,
    scheme: &'static str,
    to: Vec<String>,
    tls: Option<(String, String)>,
    print: bool,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let wish = Wish::parse(args)?;
    if !wish.print {
        let scheme = if wish.tls.is_some() { "https" } else { "http" };
        eprintln!("{} goes to {}; Ctrl-C ends it.", visit(scheme, &wish.from), wish.to.join(", "));
    }
    generated::run("proxy", configuration(&wish), wish.print)
}

impl Wish {
    fn parse(args: &[OsString]) -> Result<Self, String> {
        let mut wish = Self { from: "8080".into(), scheme: "http", to: vec![], tls: None, print: false };
        let mut args = Args::new(args);
        while let Some(arg) = args.next()? {
            match &arg {
                Arg::Flag(name) if name == "from" => wish.from = listen_address(&args.value("from")?)?,
                Arg::Flag(name) if name == "to" => wish.backend(&args.value("to")?)?,
                Arg::Flag(name) if name == "tls" => {
                    wish.tls = Some((absolute(&args.value("tls")?)?, absolute(&args.value("tls")?)?));
                }
                Arg::Flag(name) if name == "print" => wish.print = true,
                other => return Err(unknown(other)),
            }
        }
        if wish.to.is_empty() {
            return Err("where should the requests go? Say it with --to, for example --to :3000".into());
        }
        Ok(wish)
    }

    fn backend(&mut self, typed: &str) -> Result<(), String> {
        let (scheme, address) = match typed.split_once("://") {
            Some(("http", address)) => ("http", address),
            Some(("https", address)) => ("https", address),
            Some((other, _)) => {
                return Err(format!("cannot speak \"{other}\" to a backend, only http and https"));
            }
            None => ("http", typed),
        };
        if !self.to.is_empty() && scheme != self.scheme {
            return Err("either all backends speak https or none".into());
        }
        self.scheme = scheme;
        let address = address.trim_end_matches('/');
        plain_word(address)?;
        let unix = address.starts_with("unix:");
        if !unix && address.contains('/') {
            return Err(format!("\"{typed}\": a path is not possible here"));
        }
        let port = address.strip_prefix(':').unwrap_or(address);
        if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
            self.to.push(format!("127.0.0.1:{port}"));
        } else if !unix && scheme == "https" && !has_port(address) {
            self.to.push(format!("{address}:443"));
        } else {
            self.to.push(address.to_owned());
        }
        Ok(())
    }
}

fn has_port(address: &str) -> bool {
    let after_bracket = address.rsplit(']').next().unwrap_or(address);
    after_bracket.contains(':')
}

fn absolute(path: &str) -> Result<String, String> {
    let path = std::path::absolute(Path::new(path)).map_err(|e| format!("{path}: {e}"))?;
    path.into_os_string().into_string().map_err(|p| format!("\"{}\" is not valid UTF-8", p.display()))
}

/// The nginx.conf of a wish.
fn configuration(wish: &Wish) -> String {
    let servers: String = wish.to.iter().map(|to| format!("        server {to};\n")).collect();
    let (listen, certificate) = match &wish.tls {
        Some((cert, key)) => (
            format!("{} ssl", wish.from),
            format!(
                "        ssl_certificate {};\n        ssl_certificate_key {};\n",
                quoted(cert),
                quoted(key)
            ),
        ),
        None => (wish.from.clone(), String::new()),
    };
    let name = match wish.scheme {
        "https" => "            proxy_ssl_server_name on;\n            proxy_ssl_name $host;\n",
        _ => "",
    };
    let scheme = wish.scheme;
    format!(
        "worker_processes auto;
error_log stderr notice;

events {{
    worker_connections 4096;
}}

http {{
    access_log /dev/stdout;

    upstream backend {{
{servers}        keepalive 32;
    }}

    # A WebSocket asks for an upgrade; everything else keeps its connection.
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' '';
    }}

    server {{
        listen {listen};
{certificate}        client_max_body_size 0;

        location / {{
            proxy_pass {scheme}://backend;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
{name}        }}
    }}
}}
"
    )
}

/// The text that `demo` runs: two backends behind one address.
pub(super) fn between(from: &str, to: Vec<String>) -> String {
    configuration(&Wish { from: from.to_owned(), scheme: "http", to, tls: None, print: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish, String> {
        Wish::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_may_be_short() {
        let wish = wish("--from=:80 --to 3000 --to :3001 --to app:80").expect("because all of it is known");
        assert_eq!(wish.from, "80");
        assert_eq!(wish.to, ["127.0.0.1:3000", "127.0.0.1:3001", "app:80"]);
    }

    #[test]
    fn https_backends_have_their_port() {
        let wish = wish("--to https://app/").expect("because all of it is known");
        assert_eq!((wish.scheme, &*wish.to), ("https", &["app:443".to_owned()][..]));
        assert!(configuration(&wish).contains("proxy_pass https://backend;"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(wish("--from 80").is_err_and(|m| m.contains("--to")));
        assert!(wish("--to ftp://x").is_err_and(|m| m.contains("ftp")));
        assert!(wish("--to x;y").is_err());
        assert!(wish("--to 1 --speed").is_err_and(|m| m.contains("--speed")));
    }
}
