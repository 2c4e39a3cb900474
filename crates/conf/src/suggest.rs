//! The name somebody may have meant.

/// Mistakes forgiven at most, whatever the length of the name.
const MISTAKES_MAX: usize = 3;

/// Names longer than this are nobody's typing mistake.
const NAME_CHARS_MAX: usize = 128;

/// The candidate nearest to `name`, if a third of its letters at most would have to change; the first among equals.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(NAME_CHARS_MAX + 1).collect();
    if name.len() > NAME_CHARS_MAX {
        return None;
    }
    let mut best = None;
    let mut allowed = (name.len() / 3).clamp(1, MISTAKES_MAX);
    for candidate in candidates {
        if candidate.len().abs_diff(name.len()) > allowed + MISTAKES_MAX {
            continue;
        }
        let letters: Vec<char> = candidate.chars().collect();
        match distance(&name, &letters) {
            0 => return Some(candidate),
            mistakes if mistakes <= allowed => {
                best = Some(candidate);
                allowed = mistakes - 1;
            }
            _ => {}
        }
    }
    best
}

/// Letters inserted, removed, changed, or swapped with their neighbour (optimal string alignment).
fn distance(one: &[char], other: &[char]) -> usize {
    let width = other.len() + 1;
    let mut before = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    for i in 1..=one.len() {
        let mut row = vec![i; width];
        for j in 1..width {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            row[j] = (above[j - 1] + changed).min(above[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[width - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let names = ["proxy_pass", "proxy_bind", "listen", "root", "return", "server_name"];
        let cases = [
            ("prox_pass", Some("proxy_pass")),
            ("porxy_pass", Some("proxy_pass")),
            ("proxypass", Some("proxy_pass")),
            ("lisetn", Some("listen")),
            ("servername", Some("server_name")),
            ("roots", Some("root")),
            ("x", None),
            ("upstream_hash", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(suggest(name, names), expected, "{name}");
        }
    }
}
