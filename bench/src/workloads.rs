//! What is measured: the list of workloads, in the order of the report.

use std::time::Duration;

use crate::Result;

/// The configuration a workload needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Plain,
    Tls,
    /// TLS with HTTP/2.
    Http2,
    /// With an access log.
    Logged,
    Files,
    /// Answers are kept.
    Cache,
    Gzip,
    /// Bodies go on as they come.
    Upload,
    WebSocket,
    Names,
    Prefixes,
    Regexes,
    Check(Check),
}

/// What may refuse a request and lets all of these pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    LimitReq,
    LimitConn,
    Basic,
    Jwt,
    /// A thousand networks that nobody asks from.
    Networks,
    RealIp,
    Shield,
    SecurityHeaders,
}

/// Which of a thousand things each request names, at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    Names,
    Prefixes,
    Regexes,
}

/// How many names or locations there are where there are many.
pub(crate) const SPREAD: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    /// `Connection: close`.
    Close,
    /// The header fields of a browser.
    Browser,
    /// `Accept-Encoding: gzip`.
    Gzip,
    /// A POST of so many bytes.
    Post(usize),
    Spread(Spread),
    /// A name and a password that are let in.
    Basic,
    /// A token that is let in.
    Bearer,
    /// `X-Forwarded-For`.
    Forwarded,
}

/// Made with the key of [`crate::confs::JWKS`]; it holds until 2100.
pub(crate) const BEARER: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ2aXNpdG9yIiwiZXhwIjo0MTAyNDQ0ODAwfQ.0r9xkSgxVKCp-j0pe-NgU6gBAVftFHbBd7Rr61i48yI";
/// `visitor:secret`
pub(crate) const BASIC: &str = "Basic dmlzaXRvcjpzZWNyZXQ=";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// wrk asks for this path.
    Wrk {
        conns: usize,
        path: &'static str,
        extra: Extra,
    },
    /// h2load asks for this path, on so many streams of each connection at once.
    H2 {
        conns: usize,
        streams: usize,
        path: &'static str,
    },
    Handshakes {
        conns: usize,
        resume: bool,
    },
    /// WebSocket messages, each sent back.
    Echo {
        conns: usize,
        bytes: usize,
    },
    /// At the rate of the options, or a part of it.
    Rate {
        conns: usize,
        path: &'static str,
        divisor: u64,
    },
    /// As many as the options say.
    Idle,
}

/// How often and how long a load is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dose {
    /// Short bursts, many of them.
    Bursts,
    /// Three times as many, for differences of a few hundredths.
    Often,
    /// Fewer and longer ones, because much time goes by before the figure is itself: TLS connections open with
    /// handshakes, large bodies are cut off at the end, tail latencies need requests.
    Long,
    /// Once, in two rounds at most: connections stay open, and their memory is the same each time.
    Once,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU microseconds per request.
    Cpu,
    /// 99th percentile of latency, milliseconds.
    P99,
    /// KiB per connection.
    Memory,
}

pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) door: Door,
    pub(crate) load: Load,
    pub(crate) figure: Figure,
    /// Does HAProxy take part?
    pub(crate) haproxy: bool,
    /// The ratio to the best peer that is aimed at.
    pub(crate) goal: f64,
    pub(crate) dose: Dose,
}

/// Two workloads whose difference says something: the second is the first and one thing more.
pub(crate) struct Pair {
    pub(crate) title: &'static str,
    pub(crate) without: &'static str,
    pub(crate) with: &'static str,
    /// What is aimed at.
    pub(crate) goal: Option<More>,
}

/// At most so much more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum More {
    Microseconds(f64),
    Percent(f64),
}

const fn pair(title: &'static str, without: &'static str, with: &'static str, goal: Option<More>) -> Pair {
    Pair { title, without, with, goal }
}

#[rustfmt::skip]
pub(crate) const PAIRS: &[Pair] = &[
    pair("an access log", "keepalive", "access-log", Some(More::Microseconds(0.4))),
    pair("twelve header fields", "keepalive", "browser", None),
    pair("1,000 server names instead of 1", "names-1", "names-1000", Some(More::Percent(3.0))),
    pair("1,000 prefix locations instead of 1", "prefixes-1", "prefixes-1000", Some(More::Percent(3.0))),
    pair("1,000 regex locations instead of 1", "regexes-1", "regexes-1000", None),
    pair("limit_req", "checks-none", "check-limit-req", None),
    pair("limit_conn", "checks-none", "check-limit-conn", None),
    pair("auth_basic", "checks-none", "check-basic", None),
    pair("auth_jwt (HS256)", "checks-none", "check-jwt", None),
    pair("deny of 1,000 networks", "checks-none", "check-networks", None),
    pair("set_real_ip_from", "checks-none", "check-realip", None),
    pair("the shield: methods, paths, agents, 1,000 networks, bans", "checks-none", "check-shield", None),
    pair("security_headers", "checks-none", "check-security-headers", None),
];

pub(crate) const BROWSER: &[(&str, &str)] = &[
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.8,de-DE;q=0.5,de;q=0.3"),
    ("Accept-Encoding", "br, zstd"),
    ("Referer", "https://www.example.org/catalogue/shoes?page=3&sort=price"),
    (
        "Cookie",
        "session=5f2c9d0b7a1e4c83a6d4f1e09b7c2a55; theme=dark; consent=a1b2c3d4e5f60718293a4b5c6d7e8f90",
    ),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Priority", "u=0, i"),
    ("Cache-Control", "max-age=0"),
];

const fn wrk(
    name: &'static str,
    title: &'static str,
    door: Door,
    (conns, path, extra): (usize, &'static str, Extra),
    goal: f64,
) -> Workload {
    let haproxy = !matches!(door, Door::Files | Door::Cache | Door::Gzip | Door::Check(_));
    let load = Load::Wrk { conns, path, extra };
    Workload { haproxy, ..own(name, title, door, load, Figure::Cpu, goal) }
}

const fn own(
    name: &'static str,
    title: &'static str,
    door: Door,
    load: Load,
    figure: Figure,
    goal: f64,
) -> Workload {
    let dose = if matches!(load, Load::Idle) { Dose::Once } else { Dose::Bursts };
    Workload { name, title, door, load, figure, haproxy: true, goal, dose }
}

const fn often(workload: Workload) -> Workload {
    Workload { dose: Dose::Often, ..workload }
}

const fn long(workload: Workload) -> Workload {
    Workload { dose: Dose::Long, ..workload }
}

#[rustfmt::skip]
pub(crate) const ALL: &[Workload] = &[
    often(wrk("keepalive", "1 KiB, keep-alive", Door::Plain, (64, "/1k", Extra::None), 0.90)),
    often(wrk("access-log", "1 KiB, keep-alive, access log on", Door::Logged, (64, "/1k", Extra::None), 1.0)),
    wrk("browser", "1 KiB, keep-alive, a browser's header fields", Door::Plain, (64, "/1k", Extra::Browser), 0.90),
    wrk("close", "1 KiB, a connection per request", Door::Plain, (64, "/1k", Extra::Close), 0.97),
    wrk("100k", "100 KiB, keep-alive", Door::Plain, (64, "/100k", Extra::None), 0.80),
    long(wrk("10m", "10 MiB, keep-alive", Door::Plain, (8, "/10m", Extra::None), 1.0)),
    long(wrk("post", "POST of 1 MiB", Door::Upload, (16, "/upload", Extra::Post(1 << 20)), 0.60)),
    long(wrk("tls", "TLS 1.3, 1 KiB, keep-alive", Door::Tls, (64, "/1k", Extra::None), 0.85)),
    long(wrk("tls-100k", "TLS 1.3, 100 KiB, keep-alive", Door::Tls, (64, "/100k", Extra::None), 0.65)),
    long(own("h2", "HTTP/2 over TLS, 1 KiB, 16 connections of 32 streams", Door::Http2,
        Load::H2 { conns: 16, streams: 32, path: "/1k" }, Figure::Cpu, 1.0)),
    long(own("h2-100k", "HTTP/2 over TLS, 100 KiB, 16 connections of 4 streams", Door::Http2,
        Load::H2 { conns: 16, streams: 4, path: "/100k" }, Figure::Cpu, 1.0)),
    own("handshake", "TLS 1.3, full handshake per request, P-256", Door::Tls,
        Load::Handshakes { conns: 16, resume: false }, Figure::Cpu, 0.65),
    own("resumed", "TLS 1.3, resumed handshake per request", Door::Tls,
        Load::Handshakes { conns: 16, resume: true }, Figure::Cpu, 1.0),
    wrk("static-1k", "static file, 1 KiB", Door::Files, (64, "/files/1k", Extra::None), 0.80),
    wrk("static-1m", "static file, 1 MiB", Door::Files, (16, "/files/1m", Extra::None), 1.0),
    wrk("cache-1k", "answer out of the cache, 1 KiB", Door::Cache, (64, "/1k", Extra::None), 1.0),
    wrk("cache-100k", "answer out of the cache, 100 KiB", Door::Cache, (64, "/100k", Extra::None), 1.0),
    wrk("cache-1m", "answer out of the cache's disk, 1 MiB", Door::Cache, (16, "/1m", Extra::None), 1.0),
    wrk("gzip", "gzip of 64 KiB of JSON", Door::Gzip, (32, "/json", Extra::Gzip), 0.40),
    own("websocket-128", "WebSocket, 128 B sent back", Door::WebSocket,
        Load::Echo { conns: 32, bytes: 128 }, Figure::Cpu, 1.0),
    own("websocket-64k", "WebSocket, 64 KiB sent back", Door::WebSocket,
        Load::Echo { conns: 8, bytes: 64 << 10 }, Figure::Cpu, 0.70),
    often(wrk("names-1", "1 server name, 1,000 asked for", Door::Plain, (64, "/1k", Extra::Spread(Spread::Names)), 1.0)),
    often(wrk("names-1000", "1,000 server names", Door::Names, (64, "/1k", Extra::Spread(Spread::Names)), 1.0)),
    often(wrk("prefixes-1", "1 location, 1,000 asked for", Door::Plain, (64, "/1k", Extra::Spread(Spread::Prefixes)), 1.0)),
    often(wrk("prefixes-1000", "1,000 prefix locations", Door::Prefixes, (64, "/1k", Extra::Spread(Spread::Prefixes)), 1.0)),
    wrk("regexes-1", "1 location, 1,000 patterns asked for", Door::Plain, (64, "/1k", Extra::Spread(Spread::Regexes)), 1.0),
    wrk("regexes-1000", "1,000 regex locations", Door::Regexes, (64, "/1k", Extra::Spread(Spread::Regexes)), 0.50),
    wrk("checks-none", "1 KiB, keep-alive, nothing checked", Door::Plain, (64, "/1k", Extra::None), 1.0),
    wrk("check-limit-req", "limit_req", Door::Check(Check::LimitReq), (64, "/1k", Extra::None), 1.0),
    wrk("check-limit-conn", "limit_conn", Door::Check(Check::LimitConn), (64, "/1k", Extra::None), 1.0),
    wrk("check-basic", "auth_basic", Door::Check(Check::Basic), (64, "/1k", Extra::Basic), 1.0),
    wrk("check-jwt", "auth_jwt", Door::Check(Check::Jwt), (64, "/1k", Extra::Bearer), 1.0),
    wrk("check-networks", "deny of 1,000 networks", Door::Check(Check::Networks), (64, "/1k", Extra::None), 1.0),
    wrk("check-realip", "set_real_ip_from", Door::Check(Check::RealIp), (64, "/1k", Extra::Forwarded), 1.0),
    wrk("check-shield", "shield", Door::Check(Check::Shield), (64, "/1k", Extra::None), 1.0),
    wrk("check-security-headers", "security_headers", Door::Check(Check::SecurityHeaders), (64, "/1k", Extra::None), 1.0),
    long(own("rate", "latency at a fixed rate, 1 KiB", Door::Plain,
        Load::Rate { conns: 64, path: "/1k", divisor: 1 }, Figure::P99, 1.0)),
    long(own("rate-100k", "latency at a fifth of that rate, 100 KiB", Door::Plain,
        Load::Rate { conns: 64, path: "/100k", divisor: 5 }, Figure::P99, 1.0)),
    long(own("rate-tls", "latency at a fixed rate, TLS, 1 KiB", Door::Tls,
        Load::Rate { conns: 64, path: "/1k", divisor: 1 }, Figure::P99, 1.0)),
    own("idle", "memory of an idle connection", Door::Plain, Load::Idle, Figure::Memory, 1.0),
    own("idle-tls", "memory of an idle TLS connection", Door::Tls, Load::Idle, Figure::Memory, 1.0),
];

/// Those whose names begin with one of these; all of nothing.
pub(crate) fn chosen(only: &[String]) -> Result<Vec<&'static Workload>> {
    if let Some(unknown) = only.iter().find(|o| !ALL.iter().any(|w| w.name.starts_with(o.as_str()))) {
        let names: Vec<&str> = ALL.iter().map(|w| w.name).collect();
        return Err(format!("no workload begins with {unknown:?}: {}", names.join(", ")));
    }
    let wanted = |w: &&Workload| {
        let named = |o: &String| w.name == o || (w.name.starts_with(o.as_str()) && !is_name(o));
        only.is_empty() || only.iter().any(named)
    };
    Ok(ALL.iter().filter(wanted).collect())
}

/// Places in the list that are measured together: what a pair compares follows at once on each proxy, so that the
/// machine is the same for both.
pub(crate) fn groups(workloads: &[&Workload]) -> Vec<std::ops::Range<usize>> {
    let paired = |before: &[&Workload], b: &Workload| {
        PAIRS.iter().any(|p| p.with == b.name && before.iter().any(|a| a.name == p.without))
    };
    let mut groups: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, workload) in workloads.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if paired(&workloads[group.clone()], workload) => group.end = at + 1,
            _ => groups.push(at..at + 1),
        }
    }
    groups
}

fn is_name(text: &str) -> bool {
    ALL.iter().any(|w| w.name == text)
}

impl Dose {
    const ONCE_ROUNDS_MAX: usize = 2;

    /// Bursts that count in this round, of so many asked for.
    pub(crate) fn turns(self, round: usize, asked: usize) -> usize {
        match self {
            Dose::Bursts => asked,
            Dose::Often => asked * 3,
            Dose::Long => asked.div_ceil(2),
            Dose::Once => usize::from(round < Dose::ONCE_ROUNDS_MAX),
        }
    }

    /// How long a burst lasts, of the time asked for.
    pub(crate) fn lasting(self, asked: Duration) -> Duration {
        if self == Dose::Long { asked * 4 } else { asked }
    }
}

impl Door {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Door::Tls | Door::Http2)
    }

    /// nginx has nothing of the kind.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Door::Check(Check::Jwt | Check::Shield | Check::SecurityHeaders))
    }
}

impl Spread {
    /// Host and path of the `n`th target; `path` comes last.
    pub(crate) fn target(self, n: usize, path: &str) -> (String, String) {
        match self {
            Spread::Names => (format!("n{n}.example.com"), path.to_owned()),
            Spread::Prefixes => ("localhost".to_owned(), format!("/p{n}{path}")),
            Spread::Regexes => ("localhost".to_owned(), format!("/r{n}{path}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_themselves_and_beginnings_choose_all_that_begin_so() {
        let names = |only: &str| -> Vec<&str> {
            chosen(&[only.to_owned()]).map(|c| c.iter().map(|w| w.name).collect()).unwrap_or_default()
        };
        assert_eq!(names("tls"), ["tls"]);
        assert_eq!(names("regexes"), ["regexes-1", "regexes-1000"]);
        assert_eq!(names("nothing"), [""; 0]);
        let all: Vec<&Workload> = ALL.iter().collect();
        assert_eq!(groups(&all)[0], 0..3);
        assert_eq!(groups(&all).iter().map(ExactSizeIterator::len).sum::<usize>(), all.len());
        let missing = PAIRS.iter().find(|p| !is_name(p.with) || !is_name(p.without));
        assert!(missing.is_none());
    }
}
