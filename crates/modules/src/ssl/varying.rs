//! `ssl_certificate` with variables: certificates that are chosen by what a client says in its first message.

use std::sync::Arc;

use foregate_conf::{Error, Word};
use foregate_core::{Compile, Exchange, Template};
use foregate_net::tls::certs::Certificates;
use foregate_net::tls::store::Store;
use rustls::sign::CertifiedKey;

use super::ocsp::followed::Followed;
use super::{Options, certificates};

/// The names of certificates and keys, known once a client has said whom it wants.
pub(super) struct Varying {
    pairs: Box<[(Template, Template)]>,
    store: Store,
}

impl Varying {
    /// `None`: none of the names holds a variable, and the files are read with the configuration.
    pub(super) fn compile(
        names: &[(Word, Word)],
        o: &Options,
        cx: &mut Compile<'_>,
    ) -> Result<Option<Self>, Error> {
        if !names.iter().any(|(certificate, key)| certificate.contains('$') || key.contains('$')) {
            return Ok(None);
        }
        let pairs = names.iter().map(|(cert, key)| Ok((cx.template(cert)?, cx.template(key)?)));
        let pairs = pairs.collect::<Result<_, Error>>()?;
        let passwords = certificates::passwords(o, cx)?;
        let store = Store::new(cx.conf_prefix.to_owned(), passwords, o.certificate_cache.flatten());
        Ok(Some(Self { pairs, store }))
    }

    /// Those for this connection. Reads files, unless they are kept.
    pub(super) fn certificates(
        &self,
        ex: &mut Exchange,
        followed: Option<&Followed>,
    ) -> Result<Certificates, String> {
        let mut all: Vec<Arc<CertifiedKey>> = Vec::with_capacity(self.pairs.len());
        for (cert, key) in &self.pairs {
            let mut name = |template: &Template| String::from_utf8_lossy(&template.fill_new(ex)).into_owned();
            let (cert, key) = (name(cert), name(key));
            let own = self.store.get(&cert, &key)?;
            all.push(followed.map_or_else(|| own.clone(), |it| it.stapled(own.clone())));
        }
        Ok(Certificates::new(all))
    }
}
