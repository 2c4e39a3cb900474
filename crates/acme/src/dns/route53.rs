//! Amazon Route 53: requests signed with an access key (AWS Signature, version 4), answers in XML.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{digest, hmac};
use foregate_core::time;
use foregate_wire::Url;

use super::{Provider, Record, TTL_S, Words};
use crate::http::{Http, Trust};

const BASE: &str = "https://route53.amazonaws.com";
const API: &str = "/2013-04-01";
/// Route 53 is one place, wherever its servers are.
const REGION: &str = "us-east-1";
const SERVICE: &str = "route53";

#[derive(Debug)]
pub(super) struct Route53 {
    base: String,
    key: String,
    secret: String,
    /// A zone's id; `None`: it is looked for.
    zone: Option<String>,
    /// As signatures name it.
    service: &'static str,
    /// What we have put out: all records of a name are one set, which is always written whole.
    present: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Route53 {
    pub(super) fn read(words: &mut Words) -> Result<Route53, String> {
        Ok(Route53 {
            base: words.optional("url").unwrap_or_else(|| BASE.to_owned()),
            key: words.required("key")?,
            secret: words.required("secret")?,
            zone: words.optional("zone_id"),
            service: SERVICE,
            present: Mutex::default(),
        })
    }

    fn call(&self, method: &str, path: &str, query: &str, body: &str) -> Result<String, String> {
        let url = match query {
            "" => format!("{}{path}", self.base),
            _ => format!("{}{path}?{query}", self.base),
        };
        let host = Url::parse(&url).ok_or_else(|| format!("{url} is no address"))?.authority();
        let moment = Moment::now();
        let signature = self.authorization(method, path, query, &host, body, &moment);
        let fields =
            [("X-Amz-Date", &*moment.full), ("Authorization", &signature), ("Content-Type", "text/xml")];
        let http = Http::new(&Trust::System).map_err(|why| why.to_string())?;
        let answer = http.send(method, &url, &fields, body.as_bytes()).map_err(|why| why.to_string())?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        match answer.status {
            200..300 => Ok(text),
            status => {
                Err(format!("{method} {url}: {status} {}", inside(&text, "Message").unwrap_or_default()))
            }
        }
    }

    /// The field that proves who asks.
    fn authorization(
        &self,
        method: &str,
        path: &str,
        query: &str,
        host: &str,
        body: &str,
        moment: &Moment,
    ) -> String {
        let hash = hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref());
        let fields = format!("host:{host}\nx-amz-date:{}\n", moment.full);
        let request = format!("{method}\n{path}\n{query}\n{fields}\nhost;x-amz-date\n{hash}");
        let request = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let scope = format!("{}/{REGION}/{}/aws4_request", moment.day(), self.service);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{request}", moment.full);
        let first = format!("AWS4{}", self.secret).into_bytes();
        let parts = [moment.day(), REGION, self.service, "aws4_request", &text];
        let signature = parts.iter().fold(first, |key, part| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec()
        });
        let (key, signature) = (&self.key, hex(&signature));
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
        )
    }

    fn zone(&self, record: &Record) -> Result<String, String> {
        if let Some(zone) = &self.zone {
            return Ok(zone.clone());
        }
        for name in record.zones() {
            let query = format!("dnsname={name}&maxitems=1");
            let found = self.call("GET", &format!("{API}/hostedzonesbyname"), &query, "")?;
            if inside(&found, "Name").is_some_and(|it| it.trim_end_matches('.') == name)
                && let Some(id) = inside(&found, "Id")
            {
                return Ok(id.trim_start_matches("/hostedzone/").to_owned());
            }
        }
        Err("the account has no zone for it".into())
    }

    /// Writes all records of a name, or takes away the set that had these.
    fn change(&self, record: &Record, action: &str, values: &[String]) -> Result<(), String> {
        let zone = self.zone(record)?;
        let each = |it: &String| format!("<ResourceRecord><Value>\"{it}\"</Value></ResourceRecord>");
        let body = format!(
            "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>\
             <Change><Action>{action}</Action><ResourceRecordSet><Name>{}</Name><Type>TXT</Type><TTL>{TTL_S}</TTL>\
             <ResourceRecords>{}</ResourceRecords></ResourceRecordSet></Change>\
             </Changes></ChangeBatch></ChangeResourceRecordSetsRequest>",
            record.name,
            values.iter().map(each).collect::<String>()
        );
        self.call("POST", &format!("{API}/hostedzone/{zone}/rrset/"), "", &body).map(drop)
    }
}

impl Provider for Route53 {
    fn present(&self, record: &Record) -> Result<(), String> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let values = present.entry(record.name.clone()).or_default();
        if !values.contains(&record.value) {
            values.push(record.value.clone());
        }
        self.change(record, "UPSERT", values)
    }

    fn remove(&self, record: &Record) -> Result<(), String> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(values) = present.get_mut(&record.name) else { return Ok(()) };
        if *values == [record.value.clone()] {
            let values = present.remove(&record.name).unwrap_or_default();
            return self.change(record, "DELETE", &values);
        }
        values.retain(|it| *it != record.value);
        self.change(record, "UPSERT", values)
    }
}

/// A moment as signatures have it.
struct Moment {
    /// `20261121T092148Z`
    full: String,
}

impl Moment {
    fn now() -> Moment {
        Moment { full: time::strftime(time::now_s(), "%Y%m%dT%H%M%SZ", true).unwrap_or_default() }
    }

    fn day(&self) -> &str {
        self.full.split('T').next().unwrap_or_default()
    }
}

/// What stands in the first element of this name.
fn inside<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get-vanilla` of the suite that AWS has published for signatures.
    #[test]
    fn signatures_are_those_of_the_suite() {
        let words = [("key", "AKIDEXAMPLE"), ("secret", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")];
        let words = words.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let mut amazon = Route53::read(&mut Words(words.into())).unwrap();
        amazon.service = "service";
        let moment = Moment { full: "20150830T123600Z".into() };
        let sign = |body: &str| amazon.authorization("GET", "/", "", "example.amazonaws.com", body, &moment);
        assert_eq!(
            sign(""),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        assert_ne!(sign(""), sign("x"));
        assert_eq!(inside("<A><Id>/hostedzone/Z1</Id></A>", "Id"), Some("/hostedzone/Z1"));
    }
}
