//! `proxy_ssl_certificate` with variables: certificates that are read when a request first names them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use foregate_conf::Error;
use foregate_core::{Compile, Exchange, Level, Stop, Template, log};
use foregate_net::sys;
use foregate_net::tls::certs;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;

use super::ssl::{Client, Options, SESSIONS_MAX, passwords};

/// Certificates of one location that are kept ready; when there are more, they are read again.
const CERTIFICATES_MAX: usize = 256;

/// What is shown to the peer, by names known per request.
pub(super) struct Varying {
    cert: Template,
    key: Template,
    passwords: Vec<Vec<u8>>,
    base: ClientConfig,
    server_name: bool,
    folder: PathBuf,
    ready: Mutex<HashMap<(String, String), Client>>,
}

/// Whether the certificate depends on the request.
pub(super) fn varies(o: &Options) -> bool {
    [&o.certificate, &o.key].into_iter().flatten().any(|word| word.contains('$'))
}

impl Varying {
    pub(super) fn compile(
        o: &Options,
        base: &ClientConfig,
        server_name: bool,
        cx: &mut Compile<'_>,
    ) -> Result<Option<Self>, Error> {
        let Some(cert) = o.certificate.as_ref().filter(|it| !it.is_empty() && varies(o)) else { return Ok(None) };
        let Some(key) = &o.key else {
            let what = format!("no \"proxy_ssl_certificate_key\" is defined for certificate \"{cert}\"");
            return Err(Error::at(cert.span, what));
        };
        Ok(Some(Self {
            cert: cx.template(cert)?,
            key: cx.template(key)?,
            passwords: passwords(o, cx)?,
            base: base.clone(),
            server_name,
            folder: cx.conf_prefix.to_owned(),
            ready: Mutex::default(),
        }))
    }

    /// The names that this request gives, and the client that shows that certificate; `None`: it shows none.
    pub(super) fn client(&self, ex: &mut Exchange) -> Result<((String, String), Option<Client>), Stop> {
        let text = |template: &Template, ex: &mut Exchange| {
            String::from_utf8_lossy(&template.fill_new(ex)).into_owned()
        };
        let names = (text(&self.cert, ex), text(&self.key, ex));
        if names.0.is_empty() {
            return Ok((names, None));
        }
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = ready.get(&names) {
            return Ok((names, Some(client.clone())));
        }
        let client = self.load(&names.0, &names.1).map_err(|why| {
            log!(ex, Level::Error, "cannot load certificate \"{}\": {why}", names.0);
            Stop::status(500)
        })?;
        if ready.len() >= CERTIFICATES_MAX {
            ready.clear();
        }
        ready.insert(names.clone(), client.clone());
        Ok((names, Some(client)))
    }

    fn load(&self, cert: &str, key: &str) -> Result<Client, String> {
        let read = |name: &str| match name.strip_prefix("data:") {
            Some(inline) => Ok(inline.as_bytes().to_vec()),
            None => std::fs::read(self.folder.join(name)).map_err(|why| sys::errno_text(&why)),
        };
        let certified = certs::certified_with(&read(cert)?, &read(key)?, &self.passwords);
        let certified = certified.map_err(|why| why.to_string())?;
        let mut config = self.base.clone();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        // Sessions of one certificate are not resumed under another.
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Client::new(config, self.server_name))
    }
}
