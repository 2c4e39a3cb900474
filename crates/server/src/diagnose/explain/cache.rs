//! What a cache in front of an upstream would do, in one line.

use foregate_core::Json;
use foregate_upstream::{Deed, Foretold, Keeps, Passing, Purged};

use super::Told;
use super::steps::text;
use super::tape::Event;

/// Beginnings of the directives' names, by the scheme of what is asked.
pub(super) fn family(scheme: &str) -> &'static str {
    match scheme {
        "fastcgi://" => "fastcgi",
        _ => "proxy",
    }
}

/// Such as `zone one, key "http://app/a": asked first; 200 is kept for 600 s unless it says otherwise`. `status`: what the
/// upstream is taken to answer.
pub(super) fn line(of: &str, cache: &Foretold, status: u16) -> String {
    let deed = match &cache.deed {
        Deed::Asks { keeps } => format!("asked first; {}", kept(of, *keeps, cache, status)),
        Deed::Passes { why, keeps } => {
            let why = match why {
                Passing::Method => "this method is not cached".to_owned(),
                Passing::Bypass => format!("{of}_cache_bypass"),
                Passing::Condition => "the upstream alone can judge the request's condition".to_owned(),
            };
            match keeps {
                Keeps::Never => format!("not asked: {why}"),
                keeps => format!("not asked: {why}; {}", kept(of, *keeps, cache, status)),
            }
        }
        Deed::Invalidates => "not asked; what it has of this URL goes if the upstream says yes".to_owned(),
        Deed::Purges { what, soft } => {
            let verb = if *soft { "put out of date" } else { "purged" };
            let what: Vec<_> = what.iter().map(purged).collect();
            format!("{} {verb}; 404 if there is nothing", what.join(", "))
        }
    };
    format!("zone {}, key \"{}\": {deed}", cache.zone, text(&cache.key))
}

fn kept(of: &str, keeps: Keeps, cache: &Foretold, status: u16) -> String {
    let seconds = cache.valid.seconds(status);
    match keeps {
        Keeps::NoCache => format!("not kept: {of}_no_cache"),
        Keeps::Never => format!("not kept: the range begins behind {of}_cache_max_range_offset"),
        Keeps::Yes => {
            let how = match seconds {
                _ if cache.by_rfc => "by RFC 9111".to_owned(),
                0 => "if it says for how long".to_owned(),
                seconds => format!("for {seconds} s ({of}_cache_valid) unless it says otherwise"),
            };
            format!("{status} is kept {how}, with the tags of its Cache-Tag and Surrogate-Key")
        }
    }
}

fn purged(what: &Purged) -> String {
    match what {
        Purged::Key => "this key is".to_owned(),
        Purged::Prefix(prefix) => format!("all that begins with \"{}\" is", text(prefix)),
        Purged::Tag(tag) => format!("all with the tag \"{}\" is", text(tag)),
    }
}

impl Told<'_> {
    /// The last cache that was met.
    pub(super) fn cache_json(&self) -> Json {
        let met = self.events.iter().rev().find_map(|it| match it {
            Event::Cached { place, scheme, cache } => Some((*place, scheme, cache)),
            _ => None,
        });
        let Some((place, scheme, cache)) = met else { return Json::Null };
        let of = family(scheme);
        let mut members = vec![
            ("zone", cache.zone.as_str().into()),
            ("key", Json::bytes(&cache.key)),
            ("asked", matches!(cache.deed, Deed::Asks { .. }).into()),
            ("text", line(of, cache, self.question.upstream_status).into()),
        ];
        members.extend(self.placed(self.cache_span(place, of)));
        Json::Object(members)
    }
}
