//! wrk as the load generator: its script, its run, its figures.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Result;
use crate::load::Outcome;
use crate::proxy;
use crate::workloads::{BASIC, BEARER, BROWSER, Extra, SPREAD};

/// Prints what wrk counted on one line: durations in microseconds, then requests, then mistakes.
const DONE: &str = r#"
done = function(summary, latency)
    local e = summary.errors
    io.write(string.format("bench %d %d %d %d %d %d %d %d %d %d\n",
        summary.duration, summary.requests, summary.bytes, latency:percentile(50), latency:percentile(99),
        e.connect, e.read, e.write, e.timeout, e.status))
end
"#;
/// How long it may take longer than told.
const GRACE: Duration = Duration::from_secs(15);

/// One run of wrk.
pub(crate) struct Plan<'a> {
    /// Where its script is written.
    pub(crate) folder: &'a Path,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) conns: usize,
    pub(crate) path: &'a str,
    pub(crate) extra: Extra,
    pub(crate) lasting: Duration,
    /// Of one answer's body, on the wire.
    pub(crate) body_bytes: usize,
}

pub(crate) fn run(plan: &Plan<'_>) -> Result<Outcome> {
    let script = plan.folder.join("wrk.lua");
    std::fs::write(&script, script_text(plan)).map_err(|e| format!("{}: {e}", script.display()))?;
    let scheme = if plan.tls { "https" } else { "http" };
    let mut command = proxy::dies_with_us(Path::new("wrk"));
    command.args(["-t1", "--timeout", "5s", "-c", &plan.conns.to_string()]);
    // It counts in whole seconds; what is shorter ends by a signal.
    command.arg("-d").arg(format!("{}s", plan.lasting.as_secs() + 2)).arg("-s").arg(script);
    command.arg(format!("{scheme}://127.0.0.1:{}{}", plan.port, plan.path));
    let text = finish("wrk", "wrk", command, plan.lasting, Some(plan.lasting))?;
    let line = text.lines().find_map(|l| l.strip_prefix("bench "));
    let figures: Vec<f64> =
        line.into_iter().flat_map(str::split_whitespace).filter_map(|f| f.parse().ok()).collect();
    let &[duration_us, requests, bytes, p50_us, p99_us, connect, read, write, timeout, status] = &figures[..]
    else {
        return Err(format!("wrk: {}", text.trim()));
    };
    let counts =
        [("connect", connect), ("read", read), ("write", write), ("timeout", timeout), ("status", status)];
    let mut mistakes: Vec<String> = counts
        .iter()
        .filter(|(_, n)| *n > 0.0)
        .map(|(what, n)| format!("wrk: {n} {what} errors in {requests} requests"))
        .collect();
    mistakes.extend(wrong_size(plan, requests, bytes));
    Ok(Outcome {
        done: requests as u64,
        seconds: duration_us / 1e6,
        p50_us,
        p99_us,
        window_p99_us: 0.0,
        mistakes,
    })
}

/// Bytes received that the answers' size does not explain; unfinished answers at the end do in part.
fn wrong_size(plan: &Plan<'_>, requests: f64, bytes: f64) -> Option<String> {
    const HEAD_BYTES_MAX: usize = 600;
    let least = requests * plan.body_bytes as f64;
    let most = (requests + plan.conns as f64) * (plan.body_bytes + HEAD_BYTES_MAX) as f64;
    let fits = (least..=most).contains(&bytes);
    (!fits).then(|| format!("{bytes} bytes for {requests} answers of {} bytes", plan.body_bytes))
}

fn script_text(plan: &Plan<'_>) -> String {
    let fields = |fields: &[(&str, &str)]| -> String {
        fields.iter().map(|(name, value)| format!("wrk.headers[\"{name}\"] = \"{value}\"\n")).collect()
    };
    let own = match plan.extra {
        Extra::None => String::new(),
        Extra::Close => fields(&[("Connection", "close")]),
        Extra::Browser => fields(BROWSER),
        Extra::Basic => fields(&[("Authorization", BASIC)]),
        Extra::Bearer => fields(&[("Authorization", BEARER)]),
        Extra::Forwarded => fields(&[("X-Forwarded-For", "192.0.2.7, 198.51.100.9")]),
        Extra::Gzip => fields(&[("Accept-Encoding", "gzip")]),
        Extra::Post(n) => format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {n})\n"),
        Extra::Spread(spread) => {
            let (host, path) = spread.target(usize::MAX, plan.path);
            let lua = |text: String| text.replace(&usize::MAX.to_string(), "\" .. n .. \"");
            format!(
                "local list = {{}}
for n = 0, {last} do
    list[n] = \"GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n\"
end
request = function() return list[math.random(0, {last})] end
",
                last = SPREAD - 1,
                path = lua(path),
                host = lua(host)
            )
        }
    };
    own + DONE
}

/// What a load generator of this name, in this Debian package, prints if it ends in time and well. It is interrupted
/// after a time, if one is given.
pub(crate) fn finish(
    name: &str,
    package: &str,
    mut command: Command,
    lasting: Duration,
    mut interrupt: Option<Duration>,
) -> Result<String> {
    let limit = lasting + GRACE;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child: Child = child.map_err(|e| format!("{name}: {e} (Debian's package {package} has it)"))?;
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if start.elapsed() > limit => {
                // Killing what has just ended is no mistake.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name}: did not end in time"));
            }
            Ok(None) if interrupt.is_some_and(|after| start.elapsed() > after) => {
                proxy::signal(child.id(), Signal::INT);
                interrupt = None;
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    let output = child.wait_with_output().map_err(|e| format!("{name}: {e}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}
