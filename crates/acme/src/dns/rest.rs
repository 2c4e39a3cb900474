//! Providers of zones with an API of JSON over HTTPS.

use serde_json::{Value, json};

use super::{Provider, Record, TTL_S, Words};
use crate::http::{Http, Trust};

/// One provider's API.
#[derive(Debug)]
struct Api {
    base: String,
    /// Who we are: a field's name and value.
    key: (&'static str, String),
}

impl Api {
    fn read(words: &mut Words, base: &str, field: &'static str, scheme: &str) -> Result<Api, String> {
        let token = words.required("token")?;
        let base = words.optional("url").unwrap_or_else(|| base.to_owned());
        Ok(Api { base, key: (field, format!("{scheme}{}", token.trim())) })
    }

    /// `Ok(None)`: there is no such thing.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Option<Value>, String> {
        let text = body.map_or_else(String::new, Value::to_string);
        let fields = [(self.key.0, &*self.key.1), ("Content-Type", "application/json")];
        let http = Http::new(&Trust::System).map_err(|why| why.to_string())?;
        let url = format!("{}{path}", self.base);
        let answer = http.send(method, &url, &fields, text.as_bytes()).map_err(|why| why.to_string())?;
        match answer.status {
            404 => Ok(None),
            200..300 => Ok(Some(serde_json::from_slice(&answer.body).unwrap_or_default())),
            status => {
                let said: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
                Err(format!("{method} {url}: {status} {said}"))
            }
        }
    }
}

/// An id in an answer, whether it is a number or a text.
fn id(found: &Value) -> Option<String> {
    found.as_str().map(str::to_owned).or_else(|| found.as_u64().map(|it| it.to_string()))
}

const NO_ZONE: &str = "the account has no zone for it";

/// Cloudflare: a token with the right to edit the zone's DNS.
#[derive(Debug)]
pub(super) struct Cloudflare(Api);

impl Cloudflare {
    pub(super) fn read(words: &mut Words) -> Result<Self, String> {
        Api::read(words, "https://api.cloudflare.com/client/v4", "Authorization", "Bearer ").map(Self)
    }

    fn zone(&self, record: &Record) -> Result<String, String> {
        for name in record.zones() {
            let found = self.0.call("GET", &format!("/zones?name={name}"), None)?.unwrap_or_default();
            if let Some(id) = id(&found["result"][0]["id"]) {
                return Ok(id);
            }
        }
        Err(NO_ZONE.into())
    }
}

impl Provider for Cloudflare {
    fn present(&self, record: &Record) -> Result<(), String> {
        let zone = self.zone(record)?;
        let body = json!({ "type": "TXT", "name": record.name, "content": record.value, "ttl": TTL_S });
        self.0.call("POST", &format!("/zones/{zone}/dns_records"), Some(&body)).map(drop)
    }

    fn remove(&self, record: &Record) -> Result<(), String> {
        let zone = self.zone(record)?;
        let list = format!("/zones/{zone}/dns_records?type=TXT&name={}", record.name);
        let found = self.0.call("GET", &list, None)?.unwrap_or_default();
        let ours =
            |it: &&Value| it["content"].as_str().is_some_and(|it| it.trim_matches('"') == record.value);
        for it in found["result"].as_array().into_iter().flatten().filter(ours) {
            let id = id(&it["id"]).unwrap_or_default();
            self.0.call("DELETE", &format!("/zones/{zone}/dns_records/{id}"), None)?;
        }
        Ok(())
    }
}

/// DigitalOcean: a token with the right to write domains.
#[derive(Debug)]
pub(super) struct DigitalOcean(Api);

impl DigitalOcean {
    pub(super) fn read(words: &mut Words) -> Result<Self, String> {
        Api::read(words, "https://api.digitalocean.com/v2", "Authorization", "Bearer ").map(Self)
    }

    fn zone<'a>(&self, record: &'a Record) -> Result<&'a str, String> {
        for name in record.zones() {
            if self.0.call("GET", &format!("/domains/{name}"), None)?.is_some() {
                return Ok(name);
            }
        }
        Err(NO_ZONE.into())
    }
}

impl Provider for DigitalOcean {
    fn present(&self, record: &Record) -> Result<(), String> {
        let zone = self.zone(record)?;
        let name = record.within(zone);
        let body = json!({ "type": "TXT", "name": name, "data": record.value, "ttl": TTL_S });
        self.0.call("POST", &format!("/domains/{zone}/records"), Some(&body)).map(drop)
    }

    fn remove(&self, record: &Record) -> Result<(), String> {
        let zone = self.zone(record)?;
        let list = format!("/domains/{zone}/records?type=TXT&name={}", record.name);
        let found = self.0.call("GET", &list, None)?.unwrap_or_default();
        let ours = |it: &&Value| it["data"] == *record.value;
        for it in found["domain_records"].as_array().into_iter().flatten().filter(ours) {
            let id = id(&it["id"]).unwrap_or_default();
            self.0.call("DELETE", &format!("/domains/{zone}/records/{id}"), None)?;
        }
        Ok(())
    }
}

/// Hetzner DNS: an API token of its console.
#[derive(Debug)]
pub(super) struct Hetzner(Api);

impl Hetzner {
    pub(super) fn read(words: &mut Words) -> Result<Self, String> {
        Api::read(words, "https://dns.hetzner.com/api/v1", "Auth-API-Token", "").map(Self)
    }

    fn zone<'a>(&self, record: &'a Record) -> Result<(String, &'a str), String> {
        for name in record.zones() {
            let found = self.0.call("GET", &format!("/zones?name={name}"), None)?.unwrap_or_default();
            if let Some(id) = id(&found["zones"][0]["id"]) {
                return Ok((id, name));
            }
        }
        Err(NO_ZONE.into())
    }
}

impl Provider for Hetzner {
    fn present(&self, record: &Record) -> Result<(), String> {
        let (zone, zone_name) = self.zone(record)?;
        let name = record.within(zone_name);
        let body =
            json!({ "zone_id": zone, "type": "TXT", "name": name, "value": record.value, "ttl": TTL_S });
        self.0.call("POST", "/records", Some(&body)).map(drop)
    }

    fn remove(&self, record: &Record) -> Result<(), String> {
        let (zone, _) = self.zone(record)?;
        let found = self.0.call("GET", &format!("/records?zone_id={zone}"), None)?.unwrap_or_default();
        let ours = |it: &&Value| it["value"].as_str().is_some_and(|it| it.trim_matches('"') == record.value);
        for it in found["records"].as_array().into_iter().flatten().filter(ours) {
            let id = id(&it["id"]).unwrap_or_default();
            self.0.call("DELETE", &format!("/records/{id}"), None)?;
        }
        Ok(())
    }
}
