//! What providers are asked for, as servers see it that stand for theirs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Record, Words, read};

/// A server that answers each request by the first line that fits: `METHOD PATH-PART => STATUS BODY`.
fn standing_in(script: &'static [(&'static str, u16, &'static str)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writes = seen.clone();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let (mut text, mut bytes) = (String::new(), [0; 4096]);
            while !is_whole(&text) {
                let n = socket.read(&mut bytes).unwrap();
                text += &String::from_utf8_lossy(&bytes[..n]);
            }
            let line = text.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            let body = text.split_once("\r\n\r\n").unwrap().1;
            let known = script.iter().find(|(start, _, _)| line.starts_with(start));
            let (_, status, answer) = known.unwrap_or(&("", 404, "{}"));
            writes.lock().unwrap().push(format!("{line} {body}").trim_end().to_owned());
            let length = answer.len();
            write!(socket, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{answer}").unwrap();
        }
    });
    (url, seen)
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|it| it.strip_prefix("Content-Length: "));
    body.len() >= length.map_or(0, |it| it.parse().unwrap())
}

/// A record made and removed; the requests that it took, without the lookups of zones that are not there.
fn asked(
    provider: &str,
    words: &[(&str, &str)],
    script: &'static [(&'static str, u16, &'static str)],
) -> Vec<String> {
    let (url, seen) = standing_in(script);
    let mut words: BTreeMap<String, String> =
        words.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    words.insert("url".into(), url);
    let zone = read(provider, Words(words), Some(Duration::ZERO)).unwrap();
    let record = Record { name: "_acme-challenge.a.example.test".into(), value: "VALUE".into() };
    zone.provider.present(&record).unwrap();
    zone.provider.remove(&record).unwrap();
    let seen = seen.lock().unwrap();
    seen.iter()
        .filter(|it| !it.contains("a.example.test ") && !it.ends_with("a.example.test"))
        .cloned()
        .collect()
}

/// Whether this machine has authorities: the client asks for them first.
fn has_authorities() -> bool {
    crate::http::Http::new(&crate::http::Trust::System).is_ok()
}

#[test]
fn acme_dns_is_told_the_value() {
    if !has_authorities() {
        return;
    }
    let words = [("user", "u"), ("password", "p"), ("subdomain", "s")];
    let seen = asked("acme-dns", &words, &[("POST /update", 200, "{}")]);
    assert_eq!(seen, ["POST /update {\"subdomain\":\"s\",\"txt\":\"VALUE\"}"]);
}

#[test]
fn cloudflare_s_zone_is_found_and_its_record_made_and_removed() {
    if !has_authorities() {
        return;
    }
    let seen = asked(
        "cloudflare",
        &[("token", "t")],
        &[
            ("GET /zones?name=example.test", 200, "{\"result\":[{\"id\":\"z1\"}]}"),
            ("GET /zones?", 200, "{\"result\":[]}"),
            ("POST /zones/z1/dns_records", 200, "{}"),
            (
                "GET /zones/z1/dns_records",
                200,
                "{\"result\":[{\"id\":\"r1\",\"content\":\"\\\"VALUE\\\"\"},{\"id\":\"r2\",\"content\":\"x\"}]}",
            ),
            ("DELETE /zones/z1/dns_records/r1", 200, "{}"),
        ],
    );
    assert_eq!(
        seen[1],
        "POST /zones/z1/dns_records {\"content\":\"VALUE\",\"name\":\"_acme-challenge.a.example.test\",\"ttl\":60,\"type\":\"TXT\"}"
    );
    assert_eq!(seen.last().unwrap(), "DELETE /zones/z1/dns_records/r1");
}

#[test]
fn digitalocean_and_hetzner_name_records_within_their_zone() {
    if !has_authorities() {
        return;
    }
    let seen = asked(
        "digitalocean",
        &[("token", "t")],
        &[
            (
                "GET /domains/example.test/records",
                200,
                "{\"domain_records\":[{\"id\":7,\"data\":\"VALUE\"}]}",
            ),
            ("GET /domains/example.test", 200, "{}"),
            ("POST /domains/example.test/records", 201, "{}"),
            ("DELETE /domains/example.test/records/7", 204, ""),
        ],
    );
    assert!(seen[1].contains("\"name\":\"_acme-challenge.a\""), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "DELETE /domains/example.test/records/7");
    let seen = asked(
        "hetzner",
        &[("token", "t")],
        &[
            ("GET /zones?name=example.test", 200, "{\"zones\":[{\"id\":\"z\"}]}"),
            ("POST /records", 200, "{}"),
            ("GET /records?zone_id=z", 200, "{\"records\":[{\"id\":\"r\",\"value\":\"VALUE\"}]}"),
            ("DELETE /records/r", 200, ""),
        ],
    );
    assert!(
        seen[1].contains("\"name\":\"_acme-challenge.a\"") && seen[1].contains("\"zone_id\":\"z\""),
        "{seen:?}"
    );
    assert_eq!(seen.last().unwrap(), "DELETE /records/r");
}

#[test]
fn route_53_gets_whole_sets() {
    if !has_authorities() {
        return;
    }
    let seen = asked(
        "route53",
        &[("key", "k"), ("secret", "s")],
        &[
            (
                "GET /2013-04-01/hostedzonesbyname?dnsname=example.test",
                200,
                "<HostedZone><Id>/hostedzone/Z1</Id><Name>example.test.</Name></HostedZone>",
            ),
            (
                "GET /2013-04-01/hostedzonesbyname",
                200,
                "<HostedZone><Id>/hostedzone/Z2</Id><Name>zzz.test.</Name></HostedZone>",
            ),
            ("POST /2013-04-01/hostedzone/Z1/rrset/", 200, "<x/>"),
        ],
    );
    let changes: Vec<_> = seen.iter().filter(|it| it.starts_with("POST")).collect();
    assert!(
        changes[0].contains("<Action>UPSERT</Action>") && changes[0].contains("<Value>\"VALUE\"</Value>")
    );
    assert!(changes[1].contains("<Action>DELETE</Action>") && changes.len() == 2, "{seen:?}");
}

#[test]
fn a_program_is_called_with_what_to_do() {
    let record = Record { name: "_acme-challenge.a.test".into(), value: "v".into() };
    let hook = |program: &str| {
        let words = BTreeMap::from([("program".to_owned(), program.to_owned())]);
        read("exec", Words(words), None).unwrap().provider
    };
    assert_eq!(hook("/bin/true").present(&record), Ok(()));
    assert!(hook("/bin/false").remove(&record).unwrap_err().contains("ended with exit status: 1"));
    assert!(hook("/none/such").present(&record).is_err());
}
