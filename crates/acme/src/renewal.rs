//! When to ask again: for a certificate that ends, and after a failure.

use std::time::Duration;

use foregate_core::base64::{self, Alphabet};
use foregate_core::time;
use foregate_net::tls::x509::Certificate;

use crate::failure::{Failure, Fault};
use crate::key::base64url;
use crate::session::Session;
use crate::slot::Shown;

/// A certificate is renewed when this part of its lifetime is left.
const LEFT_SHARE: i64 = 3;
/// It may be done earlier by this part of the lifetime, so that not all come on one day.
const JITTER_SHARE: i64 = 50;
/// How often an issuer is asked for its own wish, unless it says (RFC 9773 section 4.3.3).
const ASK_EVERY: Duration = Duration::from_secs(6 * 3600);
const ASK_EVERY_MIN: Duration = Duration::from_secs(60);
const ASK_EVERY_MAX: Duration = Duration::from_secs(24 * 3600);

/// After failures: the first pause, doubled each time up to the longest. An issuer that is away is asked soon again; one
/// that says no counts our attempts (Let's Encrypt: five failed validations an hour for a name).
const AWAY_PAUSE_FIRST: Duration = Duration::from_secs(4);
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(30 * 60);
const REFUSED_PAUSE_FIRST: Duration = Duration::from_secs(60);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(12 * 3600);
/// Doublings that are counted.
const DOUBLINGS_MAX: u32 = 16;

/// The moment of a renewal, in seconds since the epoch.
pub(crate) fn due_s(shown: &Shown) -> i64 {
    let lifetime = (shown.not_after_s - shown.not_before_s).max(0);
    shown.not_after_s - lifetime / LEFT_SHARE - random_below(lifetime / JITTER_SHARE)
}

/// Whether it is time, however the jitter falls.
pub(crate) fn is_fresh(shown: &Shown) -> bool {
    let lifetime = (shown.not_after_s - shown.not_before_s).max(0);
    time::now_s() < shown.not_after_s - lifetime / LEFT_SHARE - lifetime / JITTER_SHARE
}

/// The pause after this failure, the `n`th in a row.
pub(crate) fn pause(failure: &Failure, n: u32) -> Duration {
    let (first, max) = match failure.fault {
        Fault::Unreachable => (AWAY_PAUSE_FIRST, AWAY_PAUSE_MAX),
        Fault::Refused | Fault::Own => (REFUSED_PAUSE_FIRST, REFUSED_PAUSE_MAX),
    };
    let pause = first.saturating_mul(1 << n.saturating_sub(1).min(DOUBLINGS_MAX)).min(max);
    let jitter = random_below(pause.as_millis() as i64 / 4).unsigned_abs();
    (pause + Duration::from_millis(jitter)).max(failure.retry_after.unwrap_or_default())
}

/// What an issuer suggests.
pub(crate) struct Suggestion {
    /// A moment within its window, in seconds since the epoch.
    pub(crate) renew_s: i64,
    pub(crate) ask_again_in: Duration,
}

/// How an issuer names a certificate (RFC 9773 section 4.1).
pub(crate) fn certificate_id(shown: &Shown) -> Option<String> {
    let own = Certificate::parse(shown.certified.cert.first()?)?;
    Some(format!("{}.{}", base64url(own.authority_key_id()?), base64url(own.serial_bytes())))
}

/// Asks the issuer when it wants a certificate renewed; `Ok(None)`: it does not tell.
pub(crate) fn suggestion(session: &Session<'_>, shown: &Shown) -> Result<Option<Suggestion>, Failure> {
    let (Ok(url), Some(id)) = (session.resource("renewalInfo"), certificate_id(shown)) else {
        return Ok(None);
    };
    let url = format!("{}/{id}", url.trim_end_matches('/'));
    let answer = session.http().send("GET", &url, &[], b"")?;
    if answer.status != 200 {
        return Err(Failure::from_answer(&url, &answer));
    }
    let found = crate::session::read(&url, &answer)?;
    let at = |name: &str| found["suggestedWindow"][name].as_str().and_then(date_s);
    let (Some(start), Some(end)) = (at("start"), at("end")) else { return Ok(None) };
    let ask_again_in = crate::failure::retry_after(&answer).unwrap_or(ASK_EVERY);
    Ok(Some(Suggestion {
        renew_s: start + random_below(end - start),
        ask_again_in: ask_again_in.clamp(ASK_EVERY_MIN, ASK_EVERY_MAX),
    }))
}

/// `2026-01-02T04:00:00Z` (RFC 3339) in seconds since the epoch.
fn date_s(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let tail = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset_s = match tail {
        "Z" | "z" => 0,
        _ => {
            let part = |range: std::ops::Range<usize>| tail.get(range)?.parse::<i64>().ok();
            let sign = if tail.starts_with('-') { -1 } else { 1 };
            sign * (part(1..3)? * 3600 + part(4..6)? * 60)
        }
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since the epoch by a calendar whose years begin in March.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
        - 1
        - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset_s)
}

/// A number from 0, below `n` where that is more.
pub(crate) fn random_below(n: i64) -> i64 {
    let mut bytes = [0; 8];
    if n <= 0 || aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return 0;
    }
    (i64::from_le_bytes(bytes) & i64::MAX) % n
}

/// A secret in base64, of either alphabet.
pub fn secret(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().as_bytes();
    base64::decode(text, Alphabet::Url).or_else(|| base64::decode(text, Alphabet::Standard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-21T09:21:48Z", Some(1_795_252_908)),
            ("2026-11-21T10:21:48.123456+01:00", Some(1_795_252_908)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800)),
            ("2026-13-01T00:00:00Z", None),
            ("tomorrow", None),
        ] {
            assert_eq!(date_s(text), want, "{text}");
        }
    }

    /// An issuer whose directory names nothing but where it suggests renewals; gives its address, and what was asked.
    fn suggesting(window: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (base, (sender, receiver)) = (url.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let mut bytes = [0; 4096];
                let n = socket.read(&mut bytes).unwrap();
                let path = String::from_utf8_lossy(&bytes[4..n]).split(' ').next().unwrap().to_owned();
                let body = match path.starts_with("/ari/") {
                    true => window.to_owned(),
                    false => format!("{{\"renewalInfo\":\"{base}/ari\"}}"),
                };
                sender.send(path).unwrap();
                let length = body.len();
                write!(
                    socket,
                    "HTTP/1.1 200 OK\r\nRetry-After: 7200\r\nContent-Length: {length}\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        (url, receiver)
    }

    #[test]
    fn the_issuer_s_window_is_kept() {
        use crate::http::{Http, Trust};
        use crate::key::{Kind, Signer};
        let own = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x00, 0x87, 0x65, 0x43, 0x21]));
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(
            // The example of RFC 9773 section 4.1.
            [
                0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae,
                0x2c, 0xde, 1, 0xc8, 0xd4,
            ]
            .into(),
        );
        let cert = params.self_signed(&own).unwrap();
        let shown = Shown::new(&cert.pem(), &own.serialize_pem(), true).unwrap();
        assert_eq!(certificate_id(&shown).as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));

        let window =
            "{\"suggestedWindow\":{\"start\":\"1970-01-01T01:00:00Z\",\"end\":\"1970-01-01T02:00:00Z\"}}";
        let (url, asked) = suggesting(window);
        let signer = Signer::from_pem(&Kind::P256.generate().unwrap().serialize_pem()).unwrap();
        let http = Http::new(&Trust::Anybody).unwrap();
        let session = Session::open(&http, &signer, &url).unwrap();
        let found = suggestion(&session, &shown).unwrap().unwrap();
        assert!((3600..7200).contains(&found.renew_s) && found.ask_again_in == Duration::from_secs(7200));
        assert_eq!(asked.try_iter().last().as_deref(), Some("/ari/aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
    }

    #[test]
    fn pauses_grow_and_obey() {
        let away = Failure::new(Fault::Unreachable, "");
        assert!(pause(&away, 1) < Duration::from_secs(6) && pause(&away, 3) >= Duration::from_secs(16));
        assert!(pause(&away, 1000) <= AWAY_PAUSE_MAX * 2);
        let mut refused = Failure::refused("");
        assert!(pause(&refused, 1) >= REFUSED_PAUSE_FIRST);
        refused.retry_after = Some(Duration::from_secs(7200));
        assert_eq!(pause(&refused, 1), Duration::from_secs(7200));
    }
}
