//! Why a certificate could not be had, and what that means for the next attempt.

use std::fmt;
use std::time::Duration;

use foregate_core::time;
use foregate_wire::h1::Answer;
use serde_json::Value;

use crate::http::Unanswered;

/// The longest pause that an issuer may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// Of what an issuer says, characters that are logged.
const SAID_CHARS_MAX: usize = 600;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The issuer cannot be reached, or answers what is no ACME: it may be better soon.
    Unreachable,
    /// The issuer says no, or the challenge has failed: each attempt counts against its limits.
    Refused,
    /// Something here: a file, a key, the configuration.
    Own,
}

/// A failed attempt.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub fault: Fault,
    text: String,
    /// The issuer asks for this pause.
    pub retry_after: Option<Duration>,
    /// The type of an ACME problem behind `urn:ietf:params:acme:error:`.
    pub problem: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    pub(crate) fn new(fault: Fault, text: impl Into<String>) -> Failure {
        let said: String = text.into();
        let text = said.chars().take(SAID_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Failure { fault, text, retry_after: None, problem: String::new() }
    }

    pub(crate) fn own(text: impl Into<String>) -> Failure {
        Failure::new(Fault::Own, text)
    }

    pub(crate) fn refused(text: impl Into<String>) -> Failure {
        Failure::new(Fault::Refused, text)
    }

    /// From an answer that is an error (RFC 8555 section 6.7).
    pub(crate) fn from_answer(url: &str, answer: &Answer) -> Failure {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let fault = match (answer.status, said.get("type")) {
            (_, Some(_)) => Fault::Refused,
            _ => Fault::Unreachable,
        };
        let mut failure = Failure::new(fault, format!("{url}: {} {}", answer.status, said_by(&said)));
        failure.retry_after = retry_after(answer);
        failure.problem = problem_type(&said).to_owned();
        failure
    }

    /// From a problem within an object.
    pub(crate) fn from_problem(what: &str, said: &Value) -> Failure {
        Failure {
            problem: problem_type(said).to_owned(),
            ..Failure::refused(format!("{what}: {}", said_by(said)))
        }
    }
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Failure {
        Failure::new(Fault::Unreachable, why.to_string())
    }
}

fn problem_type(said: &Value) -> &str {
    let text = said["type"].as_str().unwrap_or_default();
    text.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(text)
}

fn said_by(said: &Value) -> String {
    let mut text = format!("{} {}", problem_type(said), said["detail"].as_str().unwrap_or_default());
    for part in said["subproblems"].as_array().into_iter().flatten() {
        let name = part["identifier"]["value"].as_str().unwrap_or_default();
        text += &format!("; {name}: {}", said_by(part));
    }
    text.trim().to_owned()
}

/// The pause that an answer asks for, in seconds or until a date (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.field("retry-after")?;
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let at = foregate_wire::date::parse(text.as_bytes())?;
            u64::try_from(at - time::now_s()).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
