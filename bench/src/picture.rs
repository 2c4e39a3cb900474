//! The picture: a bar per proxy and workload, drawn as SVG.

use std::fmt::Write;

use crate::measure::Results;
use crate::proxy::Subject;
use crate::report::{number, values};
use crate::stats::{max, median};
use crate::workloads::{Figure, Workload};

const WIDTH: f64 = 860.0;
const LABEL: f64 = 320.0;
/// Room for the figure behind a bar.
const FIGURE: f64 = 80.0;
const BAR: f64 = 13.0;
const GAP: f64 = 10.0;
const TOP: f64 = 58.0;
const COLOURS: [&str; 5] = ["#0b7a75", "#a9b4c2", "#d0a15e", "#8d7b9c", "#7f9172"];

/// Bars are as long as the CPU per request, each workload on its own scale.
pub(crate) fn svg(subjects: &[Subject], workloads: &[&Workload], results: &Results) -> String {
    let mut bars = String::new();
    let mut y = TOP;
    for (workload, samples) in workloads.iter().zip(&results.samples) {
        if workload.figure != Figure::Cpu {
            continue;
        }
        let middles: Vec<f64> = samples.iter().map(|s| median(&values(workload, s))).collect();
        let longest = max(&middles);
        if longest.is_nan() {
            continue;
        }
        let n_bars = middles.iter().filter(|m| !m.is_nan()).count() as f64;
        let middle = y + n_bars * BAR / 2.0 + 4.0;
        let _ = writeln!(
            bars,
            r#"<text x="{x}" y="{middle}" text-anchor="end">{title}</text>"#,
            x = LABEL - 8.0,
            title = escape(workload.title)
        );
        for (who, value) in middles.iter().enumerate().filter(|(_, m)| !m.is_nan()) {
            let length = value / longest * (WIDTH - LABEL - FIGURE);
            let colour = COLOURS[who % COLOURS.len()];
            let _ = writeln!(
                bars,
                r#"<rect x="{LABEL}" y="{y}" width="{length:.1}" height="{h}" fill="{colour}"/><text class="n" x="{x:.1}" y="{t}">{figure}</text>"#,
                h = BAR - 2.0,
                x = LABEL + length + 5.0,
                t = y + BAR - 4.0,
                figure = number(*value)
            );
            y += BAR;
        }
        y += GAP;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" font-size="13">
<style>text {{ fill: #1f2933 }} .n {{ font-size: 10.5px; fill: #52606d }} .t {{ font-size: 16px; font-weight: 600 }}</style>
<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>
<text class="t" x="12" y="24">CPU per request, microseconds (shorter is better; each workload on its own scale)</text>
{legend}{bars}</svg>
"##,
        legend = legend(subjects)
    )
}

fn legend(subjects: &[Subject]) -> String {
    let mut text = String::new();
    for (who, subject) in subjects.iter().enumerate() {
        let x = LABEL + who as f64 * 110.0;
        let colour = COLOURS[who % COLOURS.len()];
        let _ = writeln!(
            text,
            r#"<rect x="{x}" y="36" width="11" height="11" fill="{colour}"/><text x="{}" y="46">{}</text>"#,
            x + 16.0,
            escape(&subject.name)
        );
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
