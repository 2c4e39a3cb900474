//! What a block writes about keeping answers, whatever the protocol: `proxy_cache…`, `fastcgi_cache…` and their kin.

mod auto;
pub mod path;
pub mod read;
mod table;

use std::sync::Arc;
use std::time::Duration;

use foregate_cache::{Valid, Zone, Zones};
use foregate_conf::{Error, Word};
use foregate_core::{Compile, Template, ZoneNames};

use super::Family;
use crate::caching::{By, Caching};
use crate::rfc::ByRfc;
use crate::rules::Conditions;

/// Directives of caches that all protocols share, as written in one block: every field may be unset.
#[derive(Clone, Default)]
pub struct CacheDraft {
    /// `…_cache_path`, in http alone.
    pub paths: Vec<path::Line>,
    pub zone: Option<Word>,
    pub key: Option<Word>,
    pub valid: Option<Vec<(u16, i64)>>,
    /// Whether POST is among them.
    pub methods: Option<bool>,
    pub min_uses: Option<u64>,
    pub bypass: Option<Vec<Word>>,
    pub no_cache: Option<Vec<Word>>,
    pub purge: Option<Vec<Word>>,
    pub lock: Option<bool>,
    pub lock_age: Option<Duration>,
    pub lock_timeout: Option<Duration>,
    /// The conditions, and whether `updating` is among them.
    pub use_stale: Option<(Conditions, bool)>,
    pub background_update: Option<bool>,
    pub revalidate: Option<bool>,
    pub max_range_offset: Option<u64>,
    /// One of [`BY_RFC`].
    pub rfc: Option<usize>,
}

/// Words of `…_cache_rfc`: as nginx does it, by RFC 9111, and by RFC 9111 but for what requests say.
pub const BY_RFC: &[&str] = &["off", "on", "responses"];

/// nginx's defaults.
const LOCK_TIME: Duration = Duration::from_secs(5);

impl CacheDraft {
    /// Makes the zones, for `prepare`.
    ///
    /// # Errors
    /// Two of one name.
    pub fn prepare(&self, cx: &mut Compile<'_>) -> Result<(), Error> {
        for line in &self.paths {
            let names = cx.shared.get_or_default::<ZoneNames>();
            if !names.declare(&line.zone, line.directive, line.span)? {
                return Err(Error::at(line.span, format!("duplicate zone \"{}\"", line.zone.name)));
            }
            let spec = line.spec(cx);
            cx.temp_dirs.push(spec.path.clone());
            let before = cx.previous.and_then(|it| it.get::<Zones>()).and_then(|it| it.0.get(&spec.name));
            let zone = Zone::new(spec, before.map(|it| &**it));
            cx.shared.get_or_default::<Zones>().0.insert(line.zone.name.clone(), Arc::new(zone));
        }
        Ok(())
    }

    /// What requests read; `None`: nothing is kept here. HEAD goes out as it is.
    ///
    /// # Errors
    /// An unknown zone, or a value that cannot be compiled.
    pub fn compile(self, family: &Family, cx: &mut Compile<'_>) -> Result<Option<Caching>, Error> {
        let Some(word) = self.zone.as_ref().filter(|it| **it != "off") else { return Ok(None) };
        let is_auto = **word == *auto::NAME;
        let rfc = match self.rfc.or(is_auto.then_some(1)) {
            Some(1) => Some(ByRfc { heeds_requests: true }),
            Some(2) => Some(ByRfc { heeds_requests: false }),
            _ => None,
        };
        let by_default = if is_auto { (auto::USE_STALE, true) } else { (Conditions::OFF, false) };
        let (use_stale, use_stale_updating) = self.use_stale.unwrap_or(by_default);
        let zone = zone(word, family, cx)?;
        let key = match self.key {
            None if is_auto => Some(Word::new(auto::key(family.name).as_bytes().to_vec(), word.span, true)),
            key => key,
        };
        Ok(Some(Caching {
            zone,
            key: key.as_ref().map(|it| cx.template(it)).transpose()?,
            valid: Valid { by_status: self.valid.unwrap_or_default() },
            caches_post: self.methods.unwrap_or(false),
            min_uses: u32::try_from(self.min_uses.unwrap_or(1)).unwrap_or(u32::MAX),
            bypass: templates(self.bypass, cx)?,
            no_cache: templates(self.no_cache, cx)?,
            purge: templates(self.purge, cx)?,
            lock: self.lock.unwrap_or(is_auto),
            lock_age: self.lock_age.unwrap_or(LOCK_TIME),
            lock_timeout: self.lock_timeout.unwrap_or(LOCK_TIME),
            use_stale,
            use_stale_updating,
            background_update: self.background_update.unwrap_or(rfc.is_some()),
            revalidate: self.revalidate.unwrap_or(false),
            convert_head: false,
            keeps_parts: key.as_ref().is_some_and(|it| it.contains("slice_range")),
            rfc,
            max_range_offset: self.max_range_offset,
        }))
    }
}

fn zone(word: &Word, family: &Family, cx: &mut Compile<'_>) -> Result<By, Error> {
    if word.contains('$') {
        return Ok(By::Name(cx.template(word)?));
    }
    if **word == *auto::NAME {
        return Ok(By::Zone(auto::zone(cx)));
    }
    let zone = cx.shared.get::<Zones>().and_then(|it| it.0.get(&word.text));
    let of = family.name;
    let zone = zone.cloned().ok_or_else(|| {
        // Without a place, as nginx, which finds out at the end.
        Error::plain(format!("\"{of}_cache\" zone \"{word}\" is unknown"))
            .advise(format!("declare it in http: {of}_cache_path /var/cache/nginx keys_zone={word}:10m;"))
    })?;
    Ok(By::Zone(zone))
}

fn templates(words: Option<Vec<Word>>, cx: &mut Compile<'_>) -> Result<Vec<Template>, Error> {
    words.iter().flatten().map(|it| cx.template(it)).collect()
}
