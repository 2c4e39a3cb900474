//! Medians, spreads, percentiles, and counts of equal words.

use std::collections::BTreeMap;

/// The middle value, or the mean of the two in the middle; NaN of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

pub(crate) fn min(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::min)
}

pub(crate) fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

/// Of sorted values; 0 of none.
pub(crate) fn percentile(sorted: &[u32], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().map_or(0.0, f64::from)
}

/// Each different text once, with how often it came, most frequent first.
pub(crate) fn counted(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_insert(0_u64) += 1;
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    counts.into_iter().map(|(text, n)| if n == 1 { text } else { format!("{text} ({n} times)") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles_and_ends() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
        assert_eq!((min(&[3.0, 1.0]), max(&[3.0, 1.0])), (1.0, 3.0));
        assert!(median(&[]).is_nan());
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (51.0, 100.0));
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn equal_words_are_counted() {
        let texts = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(counted(texts), ["b (2 times)", "a"]);
    }
}
