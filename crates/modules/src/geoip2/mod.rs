//! `geoip2`: variables made of what a MaxMind database knows of an address (the directives of ngx_http_geoip2_module).

mod database;
mod live;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foregate_conf::{Error, Node, Word, value as values};
use foregate_core::network::{Network, Networks, forwarded, low_bits};
use foregate_core::{Args, Compile, Directive, Evaluate, Evaluator, Exchange, Scope, Template, Variables};
use foregate_net::{Addr, sys::errno_text};

use database::{Database, Value};
use live::{Fact, Live};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    databases: Vec<Node>,
    proxies: Vec<Word>,
    recursive: Option<bool>,
}

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = ();

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::block("geoip2", Scope::HTTP, Args::Exactly(1), read, |_, _| ()),
        Directive::own("geoip2_proxy", Scope::HTTP, Args::Exactly(1), proxy, |_, _| ()),
        Directive::flag("geoip2_proxy_recursive", Scope::HTTP, |o| &mut o.recursive),
    ];

    fn declare(node: &Node, variables: &mut Variables) -> Result<(), Error> {
        for line in node.body() {
            if let Some(name) = line.name.strip_prefix('$') {
                variables.declare(name, line.name.span)?;
            }
        }
        Ok(())
    }

    fn prepare(options: &Options, cx: &mut Compile<'_>) -> Result<(), Error> {
        let mut proxies = Networks::default();
        for word in &options.proxies {
            let (network, low) = network(word)?;
            if low {
                cx.warn(low_bits(word));
            }
            proxies.push(network);
        }
        let trusted = Arc::new(Trusted { proxies, recursive: options.recursive.unwrap_or(false) });
        options.databases.iter().try_for_each(|node| compile(node, &trusted, cx))
    }

    fn resolve(_: Options, _: &mut Compile<'_>) -> Result<Option<()>, Error> {
        Ok(None)
    }
}

fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let path = &node.args[0];
    if o.databases.iter().any(|it| it.args[0].text == path.text) {
        return Err(Error::at(path.span, format!("Duplicate GeoIP2 mmdb - {path}"))
            .advise("write the variables of one database into one block"));
    }
    o.databases.push(node.clone());
    Ok(())
}

fn proxy(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    network(&node.args[0])?;
    o.proxies.push(node.args[0].clone());
    Ok(())
}

/// And whether bits behind those that count were set.
fn network(word: &Word) -> Result<(Network, bool), Error> {
    Network::parse(word).ok_or_else(|| Error::at(word.span, format!("invalid network \"{word}\"")))
}

/// Whose `X-Forwarded-For` is believed.
struct Trusted {
    proxies: Networks,
    recursive: bool,
}

/// Opens the database of a block and defines its variables.
fn compile(node: &Node, trusted: &Arc<Trusted>, cx: &mut Compile<'_>) -> Result<(), Error> {
    let path = cx.full_path(&node.args[0]);
    let refuse = |why: &str| {
        let what = format!("MMDB_open(\"{}\") failed - {why}", path.display());
        Err(Error::at(node.args[0].span, what))
    };
    let bytes = match cx.files.read(&path) {
        Ok(bytes) => bytes,
        Err(why) => return refuse(&errno_text(&why)),
    };
    let database = match Database::open(bytes) {
        Ok(database) => database,
        Err(why) => return refuse(why),
    };
    let live = Arc::new(Live::new(path, database, auto_reload(node.body())?));
    for line in node.body().iter().filter(|it| it.name != "auto_reload") {
        let Some(name) = line.name.strip_prefix('$').filter(|it| !it.is_empty()) else {
            let what = format!("invalid variable name \"{}\"", line.name);
            return Err(Error::at(line.name.span, what)
                .advise("a line here is: $name [default=value] [source=$address] names of the way to the value"));
        };
        let slot = cx.variables.declare(name, line.name.span)?;
        let how: Arc<dyn Evaluate> = match &*line.args {
            [word, rest @ ..] if *word == "metadata" => Arc::new(fact(line, rest, &live)?),
            _ => Arc::new(lookup(line, &live, trusted, cx)?),
        };
        cx.variables.define(slot, Evaluator { how, volatile: false });
    }
    Ok(())
}

/// `auto_reload 5m;`
fn auto_reload(lines: &[Node]) -> Result<Option<std::time::Duration>, Error> {
    let mut found = None;
    for line in lines.iter().filter(|it| it.name == "auto_reload") {
        let [time] = &*line.args else {
            return Err(Error::at(line.span, "invalid number of arguments for auto_reload"));
        };
        let seconds = values::time_s(time).filter(|it| *it > 0);
        let seconds = seconds.ok_or_else(|| {
            Error::at(time.span, format!("invalid value for auto_reload \"{time}\""))
        })?;
        found = Some(std::time::Duration::from_secs(seconds));
    }
    Ok(found)
}

/// `$name metadata build_epoch;`
fn fact(line: &Node, rest: &[Word], live: &Arc<Live>) -> Result<AboutDatabase, Error> {
    let [word] = rest else {
        return Err(Error::at(line.span, "invalid number of arguments for metadata"));
    };
    let fact = match word.text.as_str() {
        "build_epoch" => Fact::Built,
        "last_check" => Fact::Checked,
        "last_change" => Fact::Changed,
        _ => {
            let error = Error::at(word.span, format!("invalid metadata field \"{word}\""));
            return Err(error.advise("one of: build_epoch, last_check, last_change"));
        }
    };
    Ok(AboutDatabase { live: live.clone(), fact })
}

/// `$name default=US source=$remote_addr country iso_code;`
fn lookup(
    line: &Node,
    live: &Arc<Live>,
    trusted: &Arc<Trusted>,
    cx: &mut Compile<'_>,
) -> Result<Lookup, Error> {
    let (mut default, mut source) = (None, None);
    let mut names = line.args.iter().peekable();
    while let Some(word) = names.peek() {
        if word.starts_with("default=") {
            default = Some(word.trimmed("default=".len(), 0).bytes().into());
        } else if word.starts_with("source=") {
            let value = word.trimmed("source=".len(), 0);
            if !value.starts_with('$') {
                let error = Error::at(word.span, format!("invalid source variable name \"{value}\""));
                return Err(error.advise("a variable begins with a dollar sign"));
            }
            source = Some(cx.template(&value)?);
        } else {
            break;
        }
        names.next();
    }
    let path: Box<[_]> = names.map(|word| word.bytes().into()).collect();
    if path.is_empty() {
        let error = Error::at(line.span, "invalid number of arguments for geoip2");
        return Err(error.advise("the names of the way to the value are missing: country iso_code"));
    }
    Ok(Lookup { live: live.clone(), trusted: trusted.clone(), default, source, path })
}

/// A variable about the database itself.
struct AboutDatabase {
    live: Arc<Live>,
    fact: Fact,
}

impl Evaluate for AboutDatabase {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        let seconds = self.live.fact(self.fact, ex);
        foregate_core::push_number(seconds, out);
        true
    }
}

/// A variable about an address.
struct Lookup {
    live: Arc<Live>,
    trusted: Arc<Trusted>,
    default: Option<Box<[u8]>>,
    /// The address, where it is not the client's.
    source: Option<Template>,
    path: Box<[Box<[u8]>]>,
}

impl Lookup {
    fn address(&self, ex: &mut Exchange) -> Option<std::net::IpAddr> {
        let addr = match &self.source {
            None => ex.remote.clone(),
            Some(source) => {
                let text = source.fill_new(ex);
                return std::str::from_utf8(&text).ok()?.parse().ok();
            }
        };
        let of = |addr: Addr| addr.ip().map(|it| it.ip());
        if self.trusted.proxies.is_empty() {
            return of(addr);
        }
        let fields: Vec<&[u8]> = ex.fields.get_all(b"x-forwarded-for").collect();
        let found = forwarded(&addr, fields.into_iter(), &self.trusted.proxies, self.trusted.recursive);
        of(found.unwrap_or(addr))
    }

    fn write(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        let Some(ip) = self.address(ex) else { return false };
        self.live.with(ex, |database| {
            // What is damaged has no value.
            let at = database.find(ip).ok().flatten();
            let value = at.and_then(|at| database.get(at, &self.path).ok().flatten());
            value.is_some_and(|it| push(it, out))
        })
    }
}

impl Evaluate for Lookup {
    fn evaluate(&self, ex: &mut Exchange, out: &mut Vec<u8>) -> bool {
        if self.write(ex, out) {
            return true;
        }
        match &self.default {
            Some(default) => out.extend_from_slice(default),
            None => return false,
        }
        true
    }
}

/// Appends a value as text, unless it is made of others.
fn push(value: Value<'_>, out: &mut Vec<u8>) -> bool {
    let text = match value {
        Value::Text(bytes) | Value::Bytes(bytes) => {
            out.extend_from_slice(bytes);
            return true;
        }
        Value::Double(number) => format!("{number:.5}"),
        Value::Float(number) => format!("{number:.5}"),
        Value::Unsigned(number) => number.to_string(),
        Value::Huge(number) => format!("0x{number:032x}"),
        Value::Signed(number) => number.to_string(),
        Value::Flag(flag) => u8::from(flag).to_string(),
        Value::Map { .. } | Value::List { .. } => return false,
    };
    out.extend_from_slice(text.as_bytes());
    true
}
