//! Wall-clock times as logs and headers write them, made once a second per thread.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, tz::TimeZone};

/// Seconds since the epoch, now.
pub fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs() as i64)
}

/// `2026/11/21 09:21:48`, local time.
pub fn error_log(unix_s: i64) -> String {
    format(unix_s, "%Y/%m/%d %H:%M:%S")
}

/// `$time_local`: `21/Nov/2026:09:21:48 +0000`.
pub fn local(unix_s: i64, out: &mut Vec<u8>) {
    cached(&LOCAL, unix_s, "%d/%b/%Y:%H:%M:%S %z", out);
}

/// `$time_iso8601`: `2026-11-21T09:21:48+00:00`.
pub fn iso8601(unix_s: i64, out: &mut Vec<u8>) {
    cached(&ISO8601, unix_s, "%Y-%m-%dT%H:%M:%S%:z", out);
}

/// `Nov 21 09:21:48`, as syslog wants it (RFC 3164, 4.1.2).
pub fn syslog(unix_s: i64, out: &mut Vec<u8>) {
    cached(&SYSLOG, unix_s, "%b %e %H:%M:%S", out);
}

/// `Date`: `Sat, 21 Nov 2026 09:21:48 GMT`.
pub fn http(unix_s: i64, out: &mut Vec<u8>) {
    HTTP.with_borrow_mut(|(at, text)| {
        if *at != unix_s || text.is_empty() {
            *at = unix_s;
            *text = Timestamp::from_second(unix_s).map_or_else(
                |_| String::new(),
                |it| it.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
            );
        }
        out.extend_from_slice(text.as_bytes());
    });
}

/// Any strftime format in local time.
pub fn format(unix_s: i64, how: &str) -> String {
    let Ok(timestamp) = Timestamp::from_second(unix_s) else { return String::new() };
    timestamp.to_zoned(zone()).strftime(how).to_string()
}

/// A strftime format that a stranger wrote, in local time or GMT; what is no conversion stands as it is.
pub fn strftime(unix_s: i64, how: &str, gmt: bool) -> Option<String> {
    use jiff::fmt::strtime::{BrokenDownTime, Config};
    let zone = if gmt { TimeZone::UTC } else { zone() };
    let time = Timestamp::from_second(unix_s).ok()?.to_zoned(zone);
    // C's library calls that zone GMT.
    let how = if gmt {
        how.replace("%%", "%%\0").replace("%Z", "GMT").replace("%%\0", "%%")
    } else {
        how.to_owned()
    };
    BrokenDownTime::from(&time).to_string_with_config(&Config::new().lenient(true), &how).ok()
}

type Cached = RefCell<(i64, String)>;

thread_local! {
    static LOCAL: Cached = const { RefCell::new((0, String::new())) };
    static ISO8601: Cached = const { RefCell::new((0, String::new())) };
    static SYSLOG: Cached = const { RefCell::new((0, String::new())) };
    static HTTP: Cached = const { RefCell::new((0, String::new())) };
    static ZONE: RefCell<Option<TimeZone>> = const { RefCell::new(None) };
}

fn zone() -> TimeZone {
    ZONE.with_borrow_mut(|zone| zone.get_or_insert_with(TimeZone::system).clone())
}

fn cached(cell: &'static std::thread::LocalKey<Cached>, unix_s: i64, how: &str, out: &mut Vec<u8>) {
    cell.with_borrow_mut(|(at, text)| {
        if *at != unix_s || text.is_empty() {
            *at = unix_s;
            *text = format(unix_s, how);
        }
        out.extend_from_slice(text.as_bytes());
    });
}
