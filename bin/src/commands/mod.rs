//! The commands for people without an nginx.conf: each writes a configuration and runs it in this process.

mod backend;
mod check;
mod demo;
mod explain;
mod fmt;
mod generated;
mod hash_password;
mod proxy;
mod serve;
mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that the first argument names; `None` when it names none and nginx's options apply.
pub(crate) fn run(args: &[OsString]) -> Option<ExitCode> {
    let (first, rest) = args.split_first()?;
    let done = match first.to_str()? {
        "demo" => demo::run(rest),
        "proxy" => proxy::run(rest),
        "serve" => serve::run(rest),
        "check" => check::run(rest),
        "explain" => explain::run(rest),
        "fmt" => fmt::run(rest),
        "hash-password" => hash_password::run(rest),
        "trust" => trust::run(rest),
        "help" | "--help" => {
            print!("{}", help_text());
            Ok(ExitCode::SUCCESS)
        }
        "--version" => {
            println!("foregate {}", crate::built::VERSION);
            Ok(ExitCode::SUCCESS)
        }
        _ => return None,
    };
    Some(done.unwrap_or_else(|mistake| {
        eprintln!("foregate: {mistake}\nTry \"foregate help\".");
        ExitCode::FAILURE
    }))
}

fn help_text() -> &'static str {
    "Foregate is a reverse proxy. It runs an nginx.conf unchanged, and these commands without one:

  foregate demo                            two toy backends and a proxy in front of them, to look around
  foregate proxy --from :8080 --to :3000   send what arrives on port 8080 to the program on port 3000
  foregate serve ./public                  show a folder as a website on http://127.0.0.1:8080
  foregate check [nginx.conf]              say whether a configuration is right, and where it is not;
                                           --lint looks for traps, --compat lists what is not supported
  foregate explain URL [-c nginx.conf]     say which server and location would answer, what happens there, and why
  foregate fmt [--check] [nginx.conf ...]  indent configuration files the usual way
  foregate hash-password [USER]            make a line for auth_basic_user_file of a password that is asked for
  foregate trust [--install]               show the root of the internal authority, or let this machine believe it
  foregate help                            this text
  foregate --version                       the version

More of proxy:
  --from ADDRESS     where to listen: 8080, 127.0.0.1:8080, [::]:8080, unix:/run/x.sock (default 8080)
  --to ADDRESS       where to send: 3000, app.internal:3000, https://app.internal; repeat it to balance
  --tls CERT KEY     speak HTTPS to visitors, with these two PEM files

More of serve:
  --listen ADDRESS   where to listen (default 127.0.0.1:8080)

More of hash-password (a password comes from the terminal, or as a line from a pipe):
  --algorithm NAME   bcrypt (the default), argon2id, yescrypt, sha512
  --cost N           of bcrypt: each step doubles the time (default 12)

demo, proxy and serve take --print: they then only write the configuration they would run, ready to be
saved as nginx.conf and grown from there. Stop them with Ctrl-C.

As a drop-in for nginx it takes nginx's options (foregate -h lists them):
  foregate -t                              test /etc/nginx/nginx.conf
  foregate -c FILE                         run FILE
  foregate -s reload                       let the running one read its configuration again
"
}

/// The arguments of one command: `--name value` or `--name=value` in any order, the rest by position.
struct Args<'a> {
    rest: std::slice::Iter<'a, OsString>,
    /// The value of a `--name=value` that has not been asked for yet.
    glued: Option<String>,
}

enum Arg {
    Flag(String),
    Plain(String),
}

impl<'a> Args<'a> {
    fn new(args: &'a [OsString]) -> Self {
        Self { rest: args.iter(), glued: None }
    }

    fn next(&mut self) -> Result<Option<Arg>, String> {
        if self.glued.is_some() {
            return Err("an option without a value was given one".into());
        }
        let Some(arg) = self.rest.next() else { return Ok(None) };
        let Some(arg) = arg.to_str() else {
            return Err(format!("\"{}\" is not valid UTF-8", arg.display()));
        };
        let Some(flag) = arg.strip_prefix("--") else {
            let letter = arg.strip_prefix('-').filter(|it| it.len() == 1);
            return Ok(Some(
                letter.map_or_else(|| Arg::Plain(arg.to_owned()), |letter| Arg::Flag(letter.to_owned())),
            ));
        };
        match flag.split_once('=') {
            Some((name, value)) => {
                self.glued = Some(value.to_owned());
                Ok(Some(Arg::Flag(name.to_owned())))
            }
            None => Ok(Some(Arg::Flag(flag.to_owned()))),
        }
    }

    fn value(&mut self, of: &str) -> Result<String, String> {
        let value =
            self.glued.take().or_else(|| self.rest.next().and_then(|v| v.to_str().map(str::to_owned)));
        value.ok_or_else(|| format!("{} needs a value", dashed(of)))
    }
}

/// An option as it is typed.
fn dashed(name: &str) -> String {
    format!("{}{name}", if name.len() == 1 { "-" } else { "--" })
}

/// What to write for an argument no command knows.
fn unknown(arg: &Arg) -> String {
    match arg {
        Arg::Flag(name) => format!("unknown option {}", dashed(name)),
        Arg::Plain(value) => format!("do not know what to do with \"{value}\""),
    }
}

/// An address as people type it, as `listen` wants it: `:8080` means port 8080 everywhere.
///
/// Anything that would end the directive early is refused, for the text goes into a configuration.
fn listen_address(typed: &str) -> Result<String, String> {
    let address = typed.strip_prefix(':').unwrap_or(typed);
    plain_word(address)?;
    Ok(address.to_owned())
}

/// What to type into a browser for what `listen` was given.
fn visit(scheme: &str, listen: &str) -> String {
    if listen.starts_with("unix:") {
        listen.to_owned()
    } else if listen.bytes().all(|b| b.is_ascii_digit()) {
        format!("{scheme}://127.0.0.1:{listen}/")
    } else {
        format!("{scheme}://{listen}/")
    }
}

fn plain_word(word: &str) -> Result<(), String> {
    let harmless = |c: char| !c.is_whitespace() && !c.is_control() && !";{}'\"\\$#".contains(c);
    if word.is_empty() || !word.chars().all(harmless) {
        return Err(format!("\"{word}\" is not an address"));
    }
    Ok(())
}

/// A path as one quoted parameter of a directive.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}
