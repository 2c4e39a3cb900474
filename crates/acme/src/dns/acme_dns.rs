//! acme-dns: a small server that only ever holds challenges; the zone points there by a CNAME.

use serde_json::json;

use super::{Provider, Record, Words};
use crate::http::{Http, Trust};

#[derive(Debug)]
pub(super) struct AcmeDns {
    url: String,
    user: String,
    password: String,
    subdomain: String,
}

impl AcmeDns {
    pub(super) fn read(words: &mut Words) -> Result<AcmeDns, String> {
        Ok(AcmeDns {
            url: words.required("url")?,
            user: words.required("user")?,
            password: words.required("password")?,
            subdomain: words.required("subdomain")?,
        })
    }
}

impl Provider for AcmeDns {
    fn present(&self, record: &Record) -> Result<(), String> {
        let body = json!({ "subdomain": self.subdomain, "txt": record.value }).to_string();
        let fields = [
            ("X-Api-User", &*self.user),
            ("X-Api-Key", &*self.password),
            ("Content-Type", "application/json"),
        ];
        let url = format!("{}/update", self.url.trim_end_matches('/'));
        let http = Http::new(&Trust::System).map_err(|why| why.to_string())?;
        let answer = http.send("POST", &url, &fields, body.as_bytes()).map_err(|why| why.to_string())?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("{url}: {status}")),
        }
    }

    /// The server keeps the last two and forgets the others by itself.
    fn remove(&self, _: &Record) -> Result<(), String> {
        Ok(())
    }
}
