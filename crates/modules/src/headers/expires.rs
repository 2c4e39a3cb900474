//! `expires`: until when an answer is fresh, as `Expires` and `Cache-Control`.

use foregate_conf::{Error, Node, Word, value as values};
use foregate_core::{Compile, Exchange, Reply, Scope, Template, duplicate, push_number};
use foregate_wire::date;
use jiff::{Timestamp, tz::TimeZone};

use super::Options;

/// `[modified] VALUE` as written.
#[derive(Clone)]
pub(super) struct Written {
    modified: bool,
    value: Word,
}

pub(super) enum Expires {
    Fixed(Until),
    /// With variables: read anew for each answer.
    Each {
        value: Template,
        modified: bool,
    },
}

/// When an answer stops being fresh. Times are in seconds and may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Off,
    Epoch,
    Max,
    /// From now on.
    Access(i64),
    /// From `Last-Modified` on, or from now on where there is none.
    Modified(i64),
    /// Every day at this second, local time.
    Daily(i64),
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

pub(super) fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    if o.expires.is_some() {
        return Err(duplicate(node));
    }
    let wrong = |word: &Word, what| Error::at(word.span, format!("\"expires\" directive {what}"));
    let (modified, value) = match &*node.args {
        [first, value] if *first == "modified" => (true, value),
        [first, _] => return Err(wrong(first, "invalid value")),
        [value, ..] => (false, value),
        [] => return Ok(()),
    };
    if !value.bytes().contains(&b'$') {
        parse(value, modified).map_err(|what| wrong(value, what))?;
    }
    o.expires = Some(Written { modified, value: value.clone() });
    Ok(())
}

impl Written {
    /// `None`: off.
    pub(super) fn compile(self, cx: &mut Compile<'_>) -> Result<Option<Expires>, Error> {
        if self.value.bytes().contains(&b'$') {
            let value = cx.template(&self.value)?;
            return Ok(Some(Expires::Each { value, modified: self.modified }));
        }
        let until = parse(&self.value, self.modified).ok().filter(|it| *it != Until::Off);
        Ok(until.map(Expires::Fixed))
    }
}

impl Expires {
    pub(super) fn apply(&self, ex: &mut Exchange, reply: &mut Reply, now: i64) {
        let until = match self {
            Self::Fixed(until) => *until,
            Self::Each { value, modified } => {
                let text = ex.seeing(reply, |ex| value.fill_new(ex));
                let text = String::from_utf8_lossy(&text);
                let Ok(until) = parse(&text, *modified) else { return };
                until
            }
        };
        // A negative time with variables is judged by what it comes to, as nginx does.
        let past = matches!((self, until), (Self::Fixed(_), Until::Access(s) | Until::Modified(s)) if s < 0);
        let mtime = reply.mtime.or_else(|| reply.fields.get(b"Last-Modified").and_then(date::parse));
        let (at, max_age) = match until {
            Until::Off => return,
            Until::Epoch => (1, None),
            Until::Max => (MAX_UNIX_SECONDS, Some(MAX_AGE_SECONDS)),
            Until::Access(0) | Until::Modified(0) => (now, Some(0)),
            Until::Access(seconds) => (now + seconds, Some(seconds)),
            Until::Modified(seconds) => match mtime {
                Some(mtime) => (mtime + seconds, Some(mtime + seconds - now)),
                None => (now + seconds, Some(seconds)),
            },
            Until::Daily(second) => {
                let at = next_at(now, second, &TimeZone::system());
                (at, Some(at - now))
            }
        };
        reply.fields.set(b"Expires", &date::format(at));
        match max_age.filter(|age| *age >= 0 && !past) {
            None => reply.fields.set(b"Cache-Control", b"no-cache"),
            Some(age) => {
                let mut text = b"max-age=".to_vec();
                push_number(age as u64, &mut text);
                reply.fields.set(b"Cache-Control", &text);
            }
        }
    }
}

/// Thu, 31 Dec 2037 23:55:55 GMT: what `max` says.
const MAX_UNIX_SECONDS: i64 = 2_145_916_555;
/// Ten years.
const MAX_AGE_SECONDS: i64 = 315_360_000;

/// The second after `now` at which local time is so many seconds into a day.
fn next_at(now: i64, second_of_day: i64, zone: &TimeZone) -> i64 {
    let Ok(today) = Timestamp::from_second(now) else { return now };
    let today = today.to_zoned(zone.clone()).date();
    let at = |day: jiff::civil::Date| {
        let time = day.at(0, 0, 0, 0).checked_add(jiff::Span::new().seconds(second_of_day));
        time.and_then(|it| it.to_zoned(zone.clone())).map_or(now, |it| it.timestamp().as_second())
    };
    match at(today) {
        next if next > now => next,
        _ => today.tomorrow().map_or(now, at),
    }
}

fn parse(text: &str, modified: bool) -> Result<Until, &'static str> {
    match text {
        "epoch" if !modified => return Ok(Until::Epoch),
        "max" if !modified => return Ok(Until::Max),
        "off" if !modified => return Ok(Until::Off),
        _ => (),
    }
    let seconds = |text: &str| values::time_s(text).map(|it| it as i64).ok_or("invalid value");
    if let Some(time) = text.strip_prefix('@') {
        if modified {
            return Err("daily time cannot be used with \"modified\" parameter");
        }
        let second = seconds(time)?;
        if second > DAY_SECONDS {
            return Err("daily time value must be less than 24 hours");
        }
        return Ok(Until::Daily(second));
    }
    let seconds = match text.strip_prefix('-') {
        Some(time) => -seconds(time)?,
        None => seconds(text.strip_prefix('+').unwrap_or(text))?,
    };
    Ok(if modified { Until::Modified(seconds) } else { Until::Access(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_of_day_is_today_or_tomorrow() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        // 1970-01-02 01:00 UTC is 03:00 there.
        let now = DAY_SECONDS + 3600;
        assert_eq!(next_at(now, 4 * 3600, &zone), DAY_SECONDS + 2 * 3600);
        assert_eq!(next_at(now, 3 * 3600, &zone), 2 * DAY_SECONDS + 3600);
        assert_eq!(next_at(now, DAY_SECONDS, &zone), DAY_SECONDS + 22 * 3600);
    }

    #[test]
    fn values_are_read() {
        for (text, modified, want) in [
            ("epoch", false, Ok(Until::Epoch)),
            ("off", false, Ok(Until::Off)),
            ("-1", false, Ok(Until::Access(-1))),
            ("+1h", false, Ok(Until::Access(3600))),
            ("1d", true, Ok(Until::Modified(DAY_SECONDS))),
            ("@15h30m", false, Ok(Until::Daily(55_800))),
            ("@25h", false, Err("daily time value must be less than 24 hours")),
            ("@1h", true, Err("daily time cannot be used with \"modified\" parameter")),
            ("max", true, Err("invalid value")),
            ("--1", false, Err("invalid value")),
        ] {
            assert_eq!(parse(text, modified), want, "{text}");
        }
    }
}
