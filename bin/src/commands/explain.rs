//! `foregate explain`: what would happen to a request, and which line of which file says so.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;

use foregate_conf::{OsFiles, render};
use foregate_net::names;
use foregate_server::diagnose::explain::{Question, explain};
use foregate_server::diagnose::{self, Finding};

use super::check::{help, setup};
use super::{Arg, Args, unknown};

const HELP: &str = "Usage: foregate explain URL [-c FILE] [-p PREFIX] [-X METHOD] [-H 'Name: value'] [--from IP]
                        [--upstream-status N] [--offline] [--json]

Says, without sending anything, which listener, server and location answer and why the others do not, which rewrites
run and what they make of the path, what an upstream would get, and which directives hold, each with the file and the
line where it was written and the block it was inherited from.

  -c FILE               the configuration file (default: /etc/nginx/nginx.conf)
  -p PREFIX             the prefix that relative paths start from
  -X METHOD             the request's method (default: GET)
  -H 'Name: value'      a header field; may be repeated, and Host may be another one than the URL's
  --from IP             the client's address (default: 127.0.0.1)
  --upstream-status N   what upstreams are taken to answer (default: 200)
  --offline             ask no name server and read no certificate
  --json                one JSON object on stdout

The request goes through the phases that serve, with the files of this machine; upstreams and subrequests to them are
taken to answer with that status. Exit status: 0, or 1 where the configuration or the URL cannot be used.
";

/// What the command line asked for.
struct Wish {
    file: Option<String>,
    prefix: Option<String>,
    question: Question,
    json: bool,
    offline: bool,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let Some(wish) = Wish::parse(args)? else { return Ok(help(HELP)) };
    let setup = setup(wish.file.as_deref(), wish.prefix.as_deref())?;
    if wish.offline {
        names::go_offline();
    }
    let examined = diagnose::examine(&setup, &OsFiles, wish.offline);
    let cycle = match examined.outcome {
        Ok(cycle) => Arc::new(cycle),
        Err(error) => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            eprint!("error: {}", render(&error, &examined.sources, colour));
            if wish.json {
                println!("{{\"error\":{}}}", Finding::of_load(error).to_json(&examined.sources));
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let told = explain(cycle, &examined.nodes, &examined.sources, wish.question)?;
    match wish.json {
        true => println!("{}", told.to_json()),
        false => print!("{told}"),
    }
    Ok(ExitCode::SUCCESS)
}

impl Wish {
    /// `None`: help was asked for.
    fn parse(args: &[OsString]) -> Result<Option<Self>, String> {
        let (mut url, mut file, mut prefix, mut method) = (None, None, None, "GET".to_owned());
        let (mut fields, mut from, mut upstream_status) = (Vec::new(), IpAddr::V4(Ipv4Addr::LOCALHOST), 200);
        let (mut json, mut offline) = (false, false);
        let mut args = Args::new(args);
        while let Some(arg) = args.next()? {
            let name = match arg {
                Arg::Plain(text) if url.is_none() => {
                    url = Some(text);
                    continue;
                }
                Arg::Plain(_) => return Err(unknown(&arg)),
                Arg::Flag(name) => name,
            };
            match name.as_str() {
                "c" => file = Some(args.value("c")?),
                "p" => prefix = Some(args.value("p")?),
                "X" => method = one_word(args.value("X")?)?,
                "H" => fields.push(field(&args.value("H")?)?),
                "from" => from = address(&args.value("from")?)?,
                "upstream-status" => upstream_status = status(&args.value("upstream-status")?)?,
                "offline" => offline = true,
                "json" => json = true,
                "help" | "h" => return Ok(None),
                _ => return Err(unknown(&Arg::Flag(name))),
            }
        }
        let url = url.ok_or("which URL? For example: foregate explain http://example.com/path")?;
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        let question = Question { url: plain(url)?, method, fields, from, upstream_status };
        Ok(Some(Self { file, prefix, question, json, offline }))
    }
}

fn one_word(text: String) -> Result<String, String> {
    match !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(format!("\"{text}\" is no method")),
    }
}

/// A URL goes into a request line.
fn plain(url: String) -> Result<String, String> {
    match url.bytes().any(|it| it.is_ascii_control() || it == b' ') {
        true => Err("the URL holds a space or a control character; write %20 and its like".into()),
        false => Ok(url),
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("\"{text}\" is no header field; for example: -H 'Accept-Encoding: gzip'"))?;
    if name.is_empty() || text.contains(['\r', '\n']) {
        return Err(format!("\"{}\" is no header field", text.escape_debug()));
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no IP address"))
}

fn status(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|it| (200..=599).contains(it))
        .ok_or_else(|| format!("\"{text}\" is no final status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &[&str]) -> Result<Option<Wish>, String> {
        Wish::parse(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_question_is_read() {
        let line = ["site.test/a", "-X", "POST", "-H", "Host: b", "--from=192.0.2.7", "--json"];
        let wish = wish(&line).expect("because all of it is known").expect("because no help is asked for");
        assert_eq!((&*wish.question.url, &*wish.question.method), ("http://site.test/a", "POST"));
        assert_eq!(wish.question.fields, [("Host".to_owned(), "b".to_owned())]);
        assert!(wish.json && !wish.offline && wish.question.from.to_string() == "192.0.2.7");
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            (&["-c", "x"][..], "which URL"),
            (&["/a b"], "%20"),
            (&["a", "b"], "do not know"),
            (&["a", "-H", "x"], "no header field"),
            (&["a", "--from", "x"], "no IP address"),
            (&["a", "--upstream-status", "99"], "no final status"),
            (&["a", "-X"], "-X needs a value"),
        ] {
            assert!(wish(line).is_err_and(|it| it.contains(part)), "{line:?}");
        }
    }
}
