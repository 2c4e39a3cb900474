//! The tags of an answer: what `Cache-Tag` (a list) and `Surrogate-Key` (words) name.

/// The tags in a head as it is kept. A comma or a blank parts them in both fields; case counts.
pub fn tags(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|b| *b == b'\n').skip(1);
    let values = lines.filter_map(|line| {
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_ours = name.eq_ignore_ascii_case(b"Cache-Tag") || name.eq_ignore_ascii_case(b"Surrogate-Key");
        is_ours.then_some(value)
    });
    let parts = values.flat_map(|value| value.split(|b| matches!(b, b',' | b' ' | b'\t' | b'\r')));
    parts.filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_from_both_fields() {
        let head =
            b"HTTP/1.1 200 OK\r\nCACHE-TAG: a,b , c\r\nX: d\r\nSurrogate-Key:e  f\r\nCache-Tag:\r\n\r\n";
        assert_eq!(tags(head).collect::<Vec<_>>(), [b"a", b"b", b"c", b"e", b"f"]);
        assert_eq!(tags(b"").count(), 0);
    }
}
