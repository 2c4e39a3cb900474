//! `proxy_ssl_certificate` and its kin with variables: certificates that are read when a request first names them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foregate_conf::Error;
use foregate_core::{Compile, Exchange, Level, Stop, Template, log};
use foregate_net::tls::store::{Limits, Store};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::{Client, SESSIONS_MAX, TlsDraft, Written, passwords};

/// Certificates of one location that are kept ready; when there are more, they are read again.
const CERTIFICATES_MAX: usize = 256;
/// Without `proxy_ssl_certificate_cache` what is kept is compared with its files every time.
const UNTOLD: Limits =
    Limits { max: CERTIFICATES_MAX, inactive: Duration::from_secs(60), valid: Duration::ZERO };

/// What is shown to the peer, by names known per request.
pub(super) struct Varying {
    cert: Template,
    key: Template,
    store: Store,
    base: ClientConfig,
    server_name: bool,
    /// With the sessions that were begun under a certificate.
    ready: Mutex<HashMap<(String, String), Ready>>,
}

/// A client and the certificate that it shows.
type Ready = (Arc<CertifiedKey>, Client);

/// Whether the certificate depends on the request.
pub(super) fn varies(o: &TlsDraft) -> bool {
    [&o.certificate, &o.key].into_iter().flatten().any(|word| word.contains('$'))
}

impl Varying {
    pub(super) fn compile(
        o: &Written<'_>,
        base: &ClientConfig,
        server_name: bool,
        cx: &mut Compile<'_>,
    ) -> Result<Option<Self>, Error> {
        let Some(cert) = o.certificate.as_ref().filter(|it| !it.is_empty() && varies(o)) else {
            return Ok(None);
        };
        let Some(key) = &o.key else {
            let what =
                format!("no \"{}_ssl_certificate_key\" is defined for certificate \"{cert}\"", o.family);
            return Err(Error::at(cert.span, what));
        };
        let limits = o.certificate_cache.flatten().unwrap_or(UNTOLD);
        Ok(Some(Self {
            cert: cx.template(cert)?,
            key: cx.template(key)?,
            store: Store::new(cx.conf_prefix.to_owned(), passwords(o, cx)?, Some(limits)),
            base: base.clone(),
            server_name,
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
        let certified = self.store.get(&names.0, &names.1).map_err(|why| {
            log!(ex, Level::Error, "{why}");
            Stop::status(500)
        })?;
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, client)) = ready.get(&names)
            && Arc::ptr_eq(of, &certified)
        {
            return Ok((names, Some(client.clone())));
        }
        let client = self.showing(&certified);
        if ready.len() >= CERTIFICATES_MAX {
            ready.clear();
        }
        ready.insert(names.clone(), (certified, client.clone()));
        Ok((names, Some(client)))
    }

    fn showing(&self, certified: &CertifiedKey) -> Client {
        let mut config = self.base.clone();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified.clone()));
        // Sessions of one certificate are not resumed under another.
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Client::new(config, self.server_name)
    }
}
