//! `set_real_ip_from`: behind trusted proxies the client's address is what they say it is.

use foregate_conf::{Error, Node, Word};
use foregate_core::network::{Network, Networks, forwarded, forwarded_elements, low_bits, read_list};
use foregate_core::{Args, Compile, Directive, Exchange, Scope, Variable, push_number};
use foregate_net::{Addr, names};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    from: Option<Vec<Word>>,
    header: Option<Word>,
    recursive: Option<bool>,
}

pub struct Settings {
    trusted: Networks,
    source: Source,
    recursive: bool,
}

/// Who is asked for the address.
enum Source {
    /// Every field of this name; proxies append to it.
    ForwardedFor,
    /// Every `Forwarded` field (RFC 7239).
    Forwarded,
    /// The first field of this name.
    Field(String),
    ProxyProtocol,
}

/// Networks that one file may list.
const LISTED_MAX: usize = 100_000;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::own("set_real_ip_from", Scope::ANY_HTTP, Args::Exactly(1), from, inherit_from),
        Directive::text("real_ip_header", Scope::ANY_HTTP, |o| &mut o.header),
        Directive::flag("real_ip_recursive", Scope::ANY_HTTP, |o| &mut o.recursive),
    ];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("realip_remote_addr", |ex, out| {
            out.extend_from_slice(foregate_core::addr_text(original(ex)).as_bytes());
            true
        }),
        Variable::new("realip_remote_port", |ex, out| {
            match original(ex).port() {
                0 => (),
                port => push_number(port.into(), out),
            }
            true
        }),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let Some(words) = options.from else { return Ok(None) };
        let mut trusted = Networks::default();
        for word in &words {
            trust(word, &mut trusted, cx)?;
        }
        let source = match options.header.as_ref().map_or("X-Real-IP", |it| &it.text) {
            "X-Forwarded-For" => Source::ForwardedFor,
            "proxy_protocol" => Source::ProxyProtocol,
            name if name.eq_ignore_ascii_case("Forwarded") => Source::Forwarded,
            name => Source::Field(name.to_owned()),
        };
        Ok(Some(Settings { trusted, source, recursive: options.recursive.unwrap_or(false) }))
    }
}

/// The address of the connection's other end, kept while another one stands in its place.
struct Original(Addr);

fn original(ex: &Exchange) -> &Addr {
    ex.notes.get::<Original>().map_or(&ex.remote, |it| &it.0)
}

/// Post-read and preaccess phases: gives the exchange the address that trusted proxies tell, once.
pub fn apply(on: &Settings, ex: &mut Exchange) {
    if ex.notes.get::<Original>().is_some() {
        return;
    }
    let found = match &on.source {
        Source::ForwardedFor => {
            let fields: Vec<&[u8]> = ex.fields.get_all(b"x-forwarded-for").collect();
            forwarded(&ex.remote, fields.into_iter(), &on.trusted, on.recursive)
        }
        Source::Forwarded => {
            let fields: Vec<&[u8]> = ex.fields.get_all(b"forwarded").collect();
            forwarded_elements(&ex.remote, fields.into_iter(), &on.trusted, on.recursive)
        }
        Source::Field(name) => {
            let field = ex.field(name.as_bytes()).into_iter();
            forwarded(&ex.remote, field, &on.trusted, on.recursive)
        }
        Source::ProxyProtocol => {
            let proxied = ex.conn.proxied.as_ref().filter(|_| on.trusted.contains(&ex.remote));
            proxied.map(|it| it.source.clone())
        }
    };
    if let Some(addr) = found {
        let original = std::mem::replace(&mut ex.remote, addr);
        ex.notes.put(Original(original));
    }
}

/// Whether what a peer says by the PROXY protocol is believed, ahead of any request.
pub fn believes_proxy(on: Option<&Settings>, peer: &Addr) -> bool {
    on.is_some_and(|on| matches!(on.source, Source::ProxyProtocol) && on.trusted.contains(peer))
}

fn from(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    o.from.get_or_insert_default().push(node.args[0].clone());
    Ok(())
}

fn inherit_from(o: &mut Options, outer: &Options) {
    if o.from.is_none() {
        o.from.clone_from(&outer.from);
    }
}

/// An address, a network, `unix:`, `file:` and the name of a list, or a name that is looked up while the configuration is read.
fn trust(word: &Word, trusted: &mut Networks, cx: &mut Compile<'_>) -> Result<(), Error> {
    if *word == "unix:" {
        trusted.push_unix();
        return Ok(());
    }
    if let Some((network, low)) = Network::parse(word) {
        if low {
            cx.warn(low_bits(word));
        }
        trusted.push(network);
        return Ok(());
    }
    if let Some(name) = word.strip_prefix("file:") {
        return trust_listed(word, name, trusted, cx);
    }
    let fail = |why: &str| Error::at(word.span, format!("{why} in set_real_ip_from \"{word}\""));
    if word.is_empty() || word.contains('/') {
        return Err(fail("host not found"));
    }
    let found = names::look_up(&word.text, 0).map_err(|_| fail("host not found"))?;
    found.iter().for_each(|it| trusted.push(Network::host(it.ip())));
    Ok(())
}

/// The networks of a file, which is read again when it changes.
fn trust_listed(word: &Word, name: &str, trusted: &mut Networks, cx: &mut Compile<'_>) -> Result<(), Error> {
    let path = cx.conf_path(name);
    let shown = path.display();
    let fail = |why: String| Error::at(word.span, why);
    let bytes = cx.files.read(&path).map_err(|why| fail(format!("cannot read \"{shown}\" ({why})")))?;
    cx.watch(name);
    let networks = read_list(&bytes, LISTED_MAX).map_err(|why| match why {
        Some((line, text)) => fail(format!("\"{text}\" in {shown}:{line} is no address or network")),
        None => fail(format!("\"{shown}\" lists more than {LISTED_MAX} networks")),
    })?;
    networks.into_iter().for_each(|it| trusted.push(it));
    Ok(())
}

#[cfg(test)]
mod tests {
    use foregate_core::{Proxied, addr_text};
    use foregate_net::Addr;

    use super::apply;
    use crate::testing::{Site, error};

    /// The client's address after the phase, and what the connection's was.
    fn check(conf: &str, fields: &str) -> (String, String) {
        let site = Site::with(conf, &["$realip_remote_addr:$realip_remote_port"], foregate_conf::Strings::default());
        let mut ex = site.exchange(&format!("GET / HTTP/1.1\n{fields}"));
        let on = site.settings().realip.as_ref().unwrap();
        apply(on, &mut ex);
        apply(on, &mut ex);
        (format!("{}:{}", addr_text(&ex.remote), ex.remote.port()), site.value(&mut ex, 0))
    }

    #[test]
    fn trusted_proxies_are_believed() {
        for (conf, fields, expected) in [
            ("", "X-Real-IP: 192.0.2.1", "192.0.2.1:0"),
            ("", "X-Real-IP: 192.0.2.1:99", "192.0.2.1:99"),
            ("", "X-Real-IP: nonsense", "127.0.0.1:40000"),
            ("", "X-Forwarded-For: 192.0.2.1", "127.0.0.1:40000"),
            ("real_ip_header X-Forwarded-For;", "X-Forwarded-For: 192.0.2.1, 192.0.2.2", "192.0.2.2:0"),
            (
                "real_ip_header X-Forwarded-For; real_ip_recursive on; set_real_ip_from 192.0.2.2;",
                "X-Forwarded-For: 192.0.2.1\nX-Forwarded-For: 192.0.2.2",
                "192.0.2.1:0",
            ),
            ("real_ip_header X-Client;", "x-client: 2001:db8::1", "2001:db8::1:0"),
            ("real_ip_header Forwarded;", "Forwarded: for=\"[2001:db8::1]:9\";proto=https", "2001:db8::1:9"),
            ("real_ip_header forwarded; real_ip_recursive on;", "Forwarded: for=192.0.2.1", "192.0.2.1:0"),
        ] {
            let (remote, before) = check(&format!("set_real_ip_from 127.0.0.0/8; {conf}"), fields);
            assert_eq!((remote.as_str(), before.as_str()), (expected, "127.0.0.1:40000"), "{conf} {fields}");
        }
    }

    #[test]
    fn others_are_not() {
        let (remote, _) = check("set_real_ip_from 10.0.0.0/8;", "X-Real-IP: 192.0.2.1");
        assert_eq!(remote, "127.0.0.1:40000");
        assert!(Site::new("").settings().realip.is_none());
        let (remote, _) = check(
            "set_real_ip_from 127.0.0.1; server { set_real_ip_from 10.0.0.0/8; }",
            "X-Real-IP: 192.0.2.1",
        );
        assert_eq!(remote, "127.0.0.1:40000");
    }

    #[test]
    fn a_file_lists_who_is_trusted() {
        let site = |list: &str| {
            let mut files = foregate_conf::Strings::default();
            files.insert("/etc/nginx/proxies.txt", list);
            crate::testing::try_with("set_real_ip_from file:proxies.txt;", files)
        };
        let trusting = site("# ours\n10.0.0.0/8\n127.0.0.1\n").unwrap_or_else(|_| panic!("it is a list"));
        let mut ex = trusting.exchange("GET / HTTP/1.1\nX-Real-IP: 192.0.2.1");
        apply(trusting.settings().realip.as_ref().unwrap(), &mut ex);
        assert_eq!(addr_text(&ex.remote), "192.0.2.1");
        let why = site("10.0.0.0/8\nproxy").err().expect("because a name is no network");
        assert_eq!(why.what, "\"proxy\" in /etc/nginx/proxies.txt:2 is no address or network");
        assert!(error("set_real_ip_from file:none;").starts_with("cannot read \"/etc/nginx/none\""));
    }

    #[test]
    fn a_proxy_protocol_header_has_a_port() {
        let site = Site::new("set_real_ip_from localhost; set_real_ip_from unix:; real_ip_header proxy_protocol;");
        let mut ex = site.exchange("GET /");
        let mut conn = foregate_core::testing::connection();
        let addr = |text: &str| Addr::Ip(text.parse().unwrap());
        conn.proxied = Some(Box::new(Proxied {
            source: addr("192.0.2.1:1234"),
            destination: addr("192.0.2.2:80"),
            tlvs: Vec::new(),
        }));
        ex.conn = conn.into();
        apply(site.settings().realip.as_ref().unwrap(), &mut ex);
        assert_eq!(ex.remote, addr("192.0.2.1:1234"));
    }

    #[test]
    fn mistakes() {
        let what = "host not found in set_real_ip_from \"10.0.0.0/99\"";
        assert_eq!(error("set_real_ip_from 10.0.0.0/99;"), what);
        let site = Site::new("set_real_ip_from 10.0.0.1/8;");
        assert_eq!(site.warnings, ["low address bits of 10.0.0.1/8 are meaningless"]);
    }
}
