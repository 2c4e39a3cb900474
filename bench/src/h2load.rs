//! h2load as the load generator for HTTP/2: its run, its figures.

use std::path::Path;
use std::time::Duration;

use crate::Result;
use crate::load::Outcome;
use crate::{proxy, wrk};

/// One run of h2load.
pub(crate) struct Plan<'a> {
    /// Where it writes what each request took.
    pub(crate) folder: &'a Path,
    pub(crate) port: u16,
    pub(crate) conns: usize,
    /// Requests under way on each connection.
    pub(crate) streams: usize,
    pub(crate) path: &'a str,
    pub(crate) lasting: Duration,
    pub(crate) body_bytes: usize,
}

pub(crate) fn run(plan: &Plan<'_>) -> Result<Outcome> {
    let log = plan.folder.join("h2load.log");
    let _ = std::fs::remove_file(&log);
    let mut command = proxy::dies_with_us(Path::new("h2load"));
    command.args(["-t1", "-c", &plan.conns.to_string(), "-m", &plan.streams.to_string()]);
    command.args(["-D", &format!("{}ms", plan.lasting.as_millis()), "--log-file"]).arg(&log);
    command.arg(format!("https://127.0.0.1:{}{}", plan.port, plan.path));
    let text = wrk::finish("h2load", "nghttp2-client", command, plan.lasting, None)?;
    let fail = || format!("h2load: {}", text.trim());
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).ok_or_else(fail);
    let counts: Vec<f64> = numbers(line("requests:")?);
    let &[_, _, done, succeeded, failed, errored, timeout] = &counts[..] else { return Err(fail()) };
    let mut times: Vec<f64> = std::fs::read_to_string(&log)
        .map_err(|e| format!("{}: {e}", log.display()))?
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(0.0);
    let mut mistakes = Vec::new();
    let wrong = failed + errored + timeout;
    if wrong > 0.0 {
        mistakes.push(format!("h2load: {wrong} of {done} requests failed"));
    }
    let data = line("traffic:")?.rsplit_once('(').and_then(|(_, rest)| numbers(rest).first().copied());
    let (least, most) = (succeeded, succeeded + (plan.conns * plan.streams) as f64);
    let bytes = data.unwrap_or_default();
    if !(least * plan.body_bytes as f64..=most * plan.body_bytes as f64).contains(&bytes) {
        mistakes.push(format!("{bytes} bytes for {succeeded} answers of {} bytes", plan.body_bytes));
    }
    let (done, seconds) = (succeeded as u64, plan.lasting.as_secs_f64());
    Ok(Outcome { done, seconds, p50_us: at(0.5), p99_us: at(0.99), window_p99_us: 0.0, mistakes })
}

/// The whole numbers of a line.
fn numbers(line: &str) -> Vec<f64> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn figures_are_found_in_a_line() {
        let line = "requests: 9 total, 8 started, 7 done, 6 succeeded, 1 failed, 2 errored, 0 timeout";
        assert_eq!(numbers(line), [9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 0.0]);
    }
}
