//! `proxy_cache auto`: a cache in one line, with a zone and a folder of its own and what most sites choose.

use std::sync::Arc;
use std::time::Duration;

use foregate_cache::{Zone, ZoneSpec, Zones};
use foregate_core::{Compile, TempPath};

use super::path::{MEMORY_BYTES, PACE};
use crate::rules::Conditions;

/// What is written in the place of a zone's name, and the zone's name then. Who declares a zone of this name means that.
pub(super) const NAME: &str = "auto";

/// Its folder, beside those for temporary files: nginx has no word for such a thing.
const FOLDER: &str = "cache_auto";
/// As nginx's guides have it: few files in one folder.
const LEVELS: [usize; 2] = [1, 2];
/// Room for half a million objects; memory is taken as they come.
const KEYS_BYTES: u64 = 64 << 20;
const SIZE_BYTES_MAX: u64 = 1 << 30;
/// What the disk keeps for others.
const FREE_BYTES_MIN: u64 = 512 << 20;
/// What nobody asks for in a week goes.
const INACTIVE: Duration = Duration::from_secs(7 * 86_400);

/// The key, where none is written: what the client asked for, so that sites behind one upstream are told apart and all
/// that begins with a URL can be purged; then what the upstream is asked for, which is something else inside subrequests,
/// named locations and behind rewrites.
pub(super) fn key(of: &str) -> &'static str {
    match of {
        "proxy" => "$scheme://$host:$server_port$request_uri $proxy_host$uri$is_args$args",
        _ => "$scheme://$host:$server_port$request_uri $uri$is_args$args",
    }
}

/// When what is out of date is served, unless the answer forbids it: where nobody answers, or somebody with an error.
pub(super) const USE_STALE: Conditions = Conditions::ERROR
    .and(Conditions::NO_LIVE)
    .and(Conditions::TIMEOUT)
    .and(Conditions::INVALID_HEADER)
    .and(Conditions::HTTP_500)
    .and(Conditions::HTTP_502)
    .and(Conditions::HTTP_503)
    .and(Conditions::HTTP_504);

/// The zone, one for all places that say `auto`.
pub(super) fn zone(cx: &mut Compile<'_>) -> Arc<Zone> {
    if let Some(zone) = cx.shared.get::<Zones>().and_then(|it| it.0.get(NAME)) {
        return zone.clone();
    }
    let spec = ZoneSpec {
        name: NAME.to_owned(),
        path: TempPath::resolve(None, FOLDER, &LEVELS, cx).path,
        levels: LEVELS.to_vec(),
        bytes: KEYS_BYTES,
        inactive: INACTIVE,
        max_bytes: SIZE_BYTES_MAX,
        min_free_bytes: FREE_BYTES_MIN,
        memory_bytes: MEMORY_BYTES,
        redis: None,
        use_temp_path: false,
        manager: PACE,
        loader: PACE,
    };
    let before = cx.previous.and_then(|it| it.get::<Zones>()).and_then(|it| it.0.get(NAME));
    let zone = Arc::new(Zone::new(spec, before.map(|it| &**it)));
    cx.shared.get_or_default::<Zones>().0.insert(NAME.to_owned(), zone.clone());
    zone
}
