//! The report in Markdown: how Foregate compares, every figure, what went wrong, how to repeat it.

use std::fmt::Write;

use crate::machine;
use crate::measure::{Results, Sample};
use crate::options::Options;
use crate::proxy::Subject;
use crate::stats::{self, max, median, min};
use crate::workloads::{Dose, Figure, More, PAIRS, Workload};

/// A report under construction; writing to a string cannot fail.
struct Report<'a> {
    subjects: &'a [Subject],
    workloads: &'a [&'a Workload],
    results: &'a Results,
}

pub(crate) fn markdown(
    options: &Options,
    subjects: &[Subject],
    workloads: &[&Workload],
    results: &Results,
) -> String {
    let report = Report { subjects, workloads, results };
    let mut text = String::from("# Benchmark\n\n");
    text += &report.intro(options);
    text += "\n## How Foregate compares\n\n";
    text += &report.comparison();
    text += "\n![CPU per request](benchmark.svg)\n";
    text += &report.differences();
    text += &report.verdict();
    text += "\n## Every figure\n\n";
    text += &report.details();
    text += &report.remarks();
    text
}

impl Report<'_> {
    fn intro(&self, options: &Options) -> String {
        let versions: Vec<String> =
            self.subjects.iter().map(|s| format!("{} ({})", s.name, s.version)).collect();
        let others: Vec<f64> = self.all().map(|s| s.others * 100.0).collect();
        format!(
            "{date}, {kind}. Written by

    {repeat}

Measured: {versions}. All run with one worker, pinned to one core; the load generators (wrk, and one of the
benchmark's own for handshakes, WebSocket messages, fixed rates and idle connections) and the backend share another
core. Everything goes over the loopback interface. Foregate and nginx read the very same configuration. In each round
every proxy is started anew, once for all workloads whose difference is told below, its answers are compared byte by
byte before and after, and bursts of load go to one proxy after the other while all of them live, in alternating order.

CPU is the scheduler's count of all processes of a proxy, in microseconds per request. It says more than requests a
second, which here depend on the core of the load generator as well; requests a second per core are those that one
second of CPU is enough for. Figures are medians over all bursts, {turns} of {burst} ms in each of {rounds} rounds ({often}
where a small difference is asked for, {long} of {longer} ms for TLS, HTTP/2, large bodies and latencies); ratios and differences are taken between bursts that followed one
another. In brackets stand the smallest and the largest median of a round: one start of a process differs from the
next. Other programs took {busy:.0} % of the proxy's core in the median burst and {busiest:.0} % in the worst.
",
            date = machine::today(),
            kind = machine::kind(),
            repeat = options.repeat(),
            versions = versions.join(", "),
            rounds = options.rounds,
            turns = Dose::Bursts.turns(0, options.turns),
            burst = Dose::Bursts.lasting(options.burst).as_millis(),
            often = Dose::Often.turns(0, options.turns),
            long = Dose::Long.turns(0, options.turns),
            longer = Dose::Long.lasting(options.burst).as_millis(),
            busy = median(&others),
            busiest = max(&others),
        )
    }

    fn all(&self) -> impl Iterator<Item = &Sample> {
        self.results.samples.iter().flatten().flatten()
    }

    fn comparison(&self) -> String {
        let names: Vec<&str> = self.subjects.iter().map(|s| s.name.as_str()).collect();
        let mut text =
            format!("| workload | unit | {} | ratio to the best peer | goal | |\n", names.join(" | "));
        text += &format!("|---|---|{}--:|--:|:-:|\n", "--:|".repeat(names.len()));
        for (at, workload) in self.workloads.iter().enumerate() {
            let cells: Vec<String> =
                self.results.samples[at].iter().map(|s| number(median(&values(workload, s)))).collect();
            let unit = match workload.figure {
                Figure::Cpu => "CPU us",
                Figure::P99 => "p99 ms",
                Figure::Memory => "KiB",
            };
            let ratios = ratios(self.subjects, workload, &self.results.samples[at]);
            let (ratio, holds) = match &ratios {
                Some((peer, all)) => (
                    format!("{:.2} ({:.2}–{:.2}) of {peer}", all.middle, all.low, all.high),
                    mark(all.middle <= workload.goal),
                ),
                None => ("–".to_owned(), ""),
            };
            let (title, cells, goal) = (workload.title, cells.join(" | "), workload.goal);
            let _ = writeln!(text, "| {title} | {unit} | {cells} | {ratio} | {goal:.2} | {holds} |");
        }
        text
    }

    /// What one thing more costs, per proxy.
    fn differences(&self) -> String {
        let mut rows = String::new();
        for pair in PAIRS {
            let more: Vec<_> =
                (0..self.subjects.len()).map(|who| self.more(pair.without, pair.with, who)).collect();
            if more.iter().all(Option::is_none) {
                continue;
            }
            let show = |(us, percent): &(Spread, Spread)| {
                let (low, high) = (us.low, us.high);
                format!("{:+.2} us ({low:+.2}…{high:+.2}), {:+.1} %", us.middle, percent.middle)
            };
            let cells: Vec<String> = more.iter().map(|it| it.as_ref().map_or("–".to_owned(), show)).collect();
            let ours = self.subjects.iter().position(Subject::is_ours).and_then(|who| more[who].as_ref());
            let (goal, holds) = match (pair.goal, ours) {
                (Some(More::Microseconds(most)), Some((us, _))) => {
                    (format!("{most:.2} us"), mark(us.middle <= most))
                }
                (Some(More::Percent(most)), Some((_, percent))) => {
                    (format!("{most:.0} %"), mark(percent.middle <= most))
                }
                _ => (String::new(), ""),
            };
            let _ = writeln!(rows, "| {} | {} | {goal} | {holds} |", pair.title, cells.join(" | "));
        }
        if rows.is_empty() {
            return rows;
        }
        let names: Vec<&str> = self.subjects.iter().map(|s| s.name.as_str()).collect();
        format!(
            "\n## What one thing more costs\n\n| more CPU per request for | {} | goal | |\n|---|{}--:|:-:|\n{rows}",
            names.join(" | "),
            "--:|".repeat(names.len())
        )
    }

    /// Microseconds and percent that one workload costs more than another.
    fn more(&self, without: &str, with: &str, who: usize) -> Option<(Spread, Spread)> {
        let at = |name: &str| self.workloads.iter().position(|w| w.name == name);
        let samples = |name: &str| Some(&self.results.samples[at(name)?][who]);
        let both = by_turn(samples(without)?, samples(with)?);
        let us = Spread::of(&both, |a, b| b.cpu_us() - a.cpu_us())?;
        Some((us, Spread::of(&both, |a, b| (b.cpu_us() / a.cpu_us() - 1.0) * 100.0)?))
    }

    /// Is a compressed answer no longer than nginx's? A ratio of CPU alone would reward compressing badly.
    fn compressed(&self) -> Option<String> {
        let at = self.workloads.iter().position(|w| w.name == "gzip")?;
        let bytes = |name: &str| {
            let who = self.subjects.iter().position(|s| s.name == name)?;
            Some(self.results.samples[at][who].first()?.body_bytes)
        };
        let (ours, nginx) = (bytes("foregate")?, bytes("nginx")?);
        Some(format!("| bytes of a compressed answer | {ours} | {nginx} | {} |\n", mark(ours <= nginx)))
    }

    /// What is measured once and not per request.
    fn verdict(&self) -> String {
        let rows = self.compressed().unwrap_or_default();
        match rows.is_empty() {
            true => rows,
            false => format!("\n| | foregate | at most (nginx) | |\n|---|--:|--:|:-:|\n{rows}"),
        }
    }

    fn details(&self) -> String {
        let mut text =
            "| workload | proxy | requests/s | requests/s per core | p50 ms | p99 ms | CPU us | user + system | bursts from–to \
                        | PSS MiB | RSS MiB |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
                .to_owned();
        for (at, workload) in self.workloads.iter().enumerate() {
            for (who, samples) in self.results.samples[at].iter().enumerate() {
                if samples.is_empty() {
                    continue;
                }
                let of = |f: &dyn Fn(&Sample) -> f64| samples.iter().map(f).collect::<Vec<f64>>();
                let mid = |f: &dyn Fn(&Sample) -> f64| number(median(&of(f)));
                let cpu = of(&Sample::cpu_us);
                let _ = writeln!(
                    text,
                    "| {} | {} | {:.0} | {:.0} | {} | {} | {} | {} + {} | {}–{} | {} | {} |",
                    workload.name,
                    self.subjects[who].name,
                    median(&of(&|s| s.per_second)),
                    median(&of(&Sample::per_core)),
                    mid(&|s| latency_ms(s.p50_us)),
                    mid(&|s| latency_ms(s.p99_us)),
                    number(median(&cpu)),
                    mid(&|s| s.user_us),
                    mid(&|s| s.system_us),
                    number(min(&cpu)),
                    number(max(&cpu)),
                    mid(&|s| s.pss_kib / 1024.0),
                    mid(&|s| s.rss_kib / 1024.0),
                );
            }
        }
        text
    }

    /// Bytes of compressed answers, cipher suites, mistakes.
    fn remarks(&self) -> String {
        let mut text = String::new();
        let mut suites = Vec::new();
        for (at, workload) in self.workloads.iter().enumerate() {
            let firsts = self.results.samples[at].iter().zip(self.subjects);
            let firsts = firsts.filter_map(|(samples, subject)| Some((samples.first()?, subject)));
            if workload.name == "rate" {
                let _ = writeln!(
                    text,
                    "\nLatency at a fixed rate counts from when a request was due, and of those never answered too. Compared is \
                     the median of the p99s of its tenths of a second, which one pause of the machine does not change; \
                     here stands the p99 of whole bursts."
                );
            }
            suites.extend(firsts.filter_map(|(s, subject)| Some((subject.name.clone(), s.suite.clone()?))));
        }
        suites.sort();
        suites.dedup();
        if !suites.is_empty() {
            let suites: Vec<String> = suites.iter().map(|(name, suite)| format!("{name} {suite}")).collect();
            let _ = writeln!(
                text,
                "\nCipher suites chosen with the benchmark's own visitor: {}.",
                suites.join(", ")
            );
        }
        text += "\n## What went wrong\n\n";
        if self.results.mistakes.is_empty() {
            text += "Nothing: every answer had the right status, length and bytes.\n";
        }
        for mistake in stats::counted(self.results.mistakes.iter().cloned()) {
            let _ = writeln!(text, "- {mistake}");
        }
        text
    }
}

/// Whether a goal is reached, as the tables show it.
fn mark(holds: bool) -> &'static str {
    if holds { "✓" } else { "**above**" }
}

/// The compared figure of each sample.
pub(crate) fn values(workload: &Workload, samples: &[Sample]) -> Vec<f64> {
    let figure = |s: &Sample| match workload.figure {
        Figure::Cpu => s.cpu_us(),
        Figure::P99 => s.window_p99_us / 1e3,
        Figure::Memory => s.conn_kib,
    };
    samples.iter().map(figure).collect()
}

/// What pairs of bursts show: the median of all, and the smallest and largest median of a round.
struct Spread {
    middle: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// `None` of nothing.
    fn of(pairs: &[(&Sample, &Sample)], figure: impl Fn(&Sample, &Sample) -> f64) -> Option<Spread> {
        let n_rounds = pairs.iter().map(|(a, _)| a.round + 1).max()?;
        let of = |round: Option<usize>| -> Vec<f64> {
            let wanted = pairs.iter().filter(|(a, _)| round.is_none_or(|round| a.round == round));
            wanted.map(|(a, b)| figure(a, b)).collect()
        };
        let middles: Vec<f64> =
            (0..n_rounds).map(|round| median(&of(Some(round)))).filter(|m| !m.is_nan()).collect();
        Some(Spread { middle: median(&of(None)), low: min(&middles), high: max(&middles) })
    }
}

/// The peer with the smallest median, and Foregate's ratio to it.
fn ratios<'a>(
    subjects: &'a [Subject],
    workload: &Workload,
    samples: &[Vec<Sample>],
) -> Option<(&'a str, Spread)> {
    let ours = subjects.iter().position(Subject::is_ours)?;
    let peers = (0..subjects.len()).filter(|who| *who != ours && !samples[*who].is_empty());
    let middle = |who: &usize| median(&values(workload, &samples[*who]));
    let best = peers.min_by(|a, b| middle(a).total_cmp(&middle(b)))?;
    let both = by_turn(&samples[best], &samples[ours]);
    let one = |s: &Sample| values(workload, std::slice::from_ref(s))[0];
    let ratios = Spread::of(&both, |peer, own| one(own) / one(peer))?;
    Some((subjects[best].name.as_str(), ratios))
}

/// Samples of the same turns.
fn by_turn<'a>(first: &'a [Sample], second: &'a [Sample]) -> Vec<(&'a Sample, &'a Sample)> {
    let same = |a: &Sample, b: &Sample| (a.round, a.turn) == (b.round, b.turn);
    first.iter().filter_map(|a| Some((a, second.iter().find(|b| same(a, b))?))).collect()
}

/// NaN where no latency was taken.
fn latency_ms(us: f64) -> f64 {
    if us > 0.0 { us / 1e3 } else { f64::NAN }
}

/// Three figures or so.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "–".to_owned(),
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
