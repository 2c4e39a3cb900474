//! Sessions that clients take up again: kept by us, or by them as tickets.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use foregate_conf::{Error, Word};
use foregate_core::{Compile, ZoneNames};
use foregate_net::tls::sessions::Sessions;
use foregate_net::tls::tickets::{LIFETIME_S_DEFAULT, TicketKeys};
use foregate_net::tls::EARLY_BYTES_MAX;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;

use super::commands::Changes;
use super::read::Cache;
use super::{Options, certificates};

/// What a builtin session counts for, in bytes.
const BUILTIN_BYTES: u64 = 256;

/// Where early data are taken and no `ssl_session_cache` is named.
const EARLY_STORE_BYTES: u64 = 4 << 20;

/// The longest life of a session: a week (RFC 8446 section 4.6.1).
const LIFETIME_S_MAX: u64 = 604_800;
/// Keys of tickets without a zone are changed no more often than this.
const ROTATION_S_MIN: u32 = 3600;

/// The keys that tickets are sealed with, unless they have files: for each zone of sessions its own, which are changed
/// as often as nginx changes them, and one for all the others (no name). Kept over reloads.
#[derive(Default)]
struct CommonTickets(HashMap<String, TicketKeys>);

/// The stores by name; kept over reloads.
#[derive(Default)]
struct Zones(HashMap<String, (u64, Arc<Sessions>)>);

/// Servers that show the same certificates and ask for the same authorities take each other's sessions, as in nginx.
/// Certificates that are not known yet count by the `names` that they have in the configuration.
pub(super) fn context(
    own: &[certificates::Own],
    names: &[(Word, Word)],
    wanted: &[CertificateDer<'static>],
) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    for (certificate, _) in names {
        hash.update(certificate.bytes());
    }
    for cert in own.iter().filter_map(|(it, _)| it.cert.first()).chain(wanted) {
        hash.update(cert);
    }
    hash.finish().as_ref().to_vec()
}

pub(super) fn set_up(
    o: &Options,
    changes: &Changes,
    context: &[u8],
    config: &mut ServerConfig,
    cx: &mut Compile<'_>,
) -> Result<(), Error> {
    let given_s = o.session_timeout.map_or(u64::from(LIFETIME_S_DEFAULT), |it| it.as_secs());
    let lifetime_s = given_s.min(LIFETIME_S_MAX) as u32;
    let early = o.early_data.is_some_and(|it| it > 0);
    let store = match &o.session_cache {
        None | Some(Cache::Off) if early => Some(zone("", EARLY_STORE_BYTES, cx)),
        None | Some(Cache::Off) => None,
        Some(Cache::Builtin(n)) => Some(Arc::new(Sessions::of_bytes(n.saturating_mul(BUILTIN_BYTES)))),
        Some(Cache::Shared(spec, word)) => {
            cx.shared.get_or_default::<ZoneNames>().declare(spec, "ssl_session_cache", word.span)?;
            Some(zone(&spec.name, spec.bytes, cx))
        }
    };
    config.session_storage = match store {
        Some(store) => Arc::new(store.for_context(context, lifetime_s)),
        None => Arc::new(NoServerSessionStorage {}),
    };
    if early {
        // A session that is kept here is taken out when it is used: what came early with it can not be replayed. A
        // ticket could be.
        config.max_early_data_size = EARLY_BYTES_MAX;
        return Ok(());
    }
    if !changes.tickets.or(o.tickets).unwrap_or(true) {
        return Ok(());
    }
    let keys = match &o.ticket_keys {
        Some(words) => {
            let mut files = Vec::new();
            for word in words {
                let file = certificates::read(word, cx)?;
                if ![48, 80].contains(&file.len()) {
                    let path = cx.conf_path(word);
                    let what = format!("\"{}\" must be 48 or 80 bytes", path.display());
                    return Err(Error::at(word.span, what).advise("openssl rand 80 > ticket.key"));
                }
                files.push(file);
            }
            TicketKeys::new(&files, lifetime_s)
        }
        None => match &o.session_cache {
            Some(Cache::Shared(spec, _)) => common_tickets(&spec.name, lifetime_s, cx),
            _ => common_tickets("", lifetime_s.max(ROTATION_S_MIN), cx),
        },
    };
    let keys = keys.ok_or_else(|| Error::plain("no random bytes can be had for session tickets"))?;
    config.ticketer = Arc::new(keys.for_context(context, lifetime_s));
    Ok(())
}

fn zone(name: &str, bytes: u64, cx: &mut Compile<'_>) -> Arc<Sessions> {
    let kept = cx.previous.and_then(|it| it.get::<Zones>()).and_then(|it| it.0.get(name));
    let kept = kept.filter(|(size, _)| *size == bytes).cloned();
    let zones = &mut cx.shared.get_or_default::<Zones>().0;
    let entry = zones.entry(name.to_owned());
    entry.or_insert_with(|| kept.unwrap_or_else(|| (bytes, Arc::new(Sessions::of_bytes(bytes))))).1.clone()
}

fn common_tickets(zone: &str, lifetime_s: u32, cx: &mut Compile<'_>) -> Option<TicketKeys> {
    let common = &cx.shared.get_or_default::<CommonTickets>().0;
    if let Some(keys) = common.get(zone) {
        return Some(keys.clone());
    }
    let kept = cx.previous.and_then(|it| it.get::<CommonTickets>()).and_then(|it| it.0.get(zone));
    let keys = kept.cloned().or_else(|| TicketKeys::random(lifetime_s))?;
    cx.shared.get_or_default::<CommonTickets>().0.insert(zone.to_owned(), keys.clone());
    Some(keys)
}
