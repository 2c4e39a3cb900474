//! DER, as far as certificates need it (X.690): elements are taken off the front of a slice.

pub(in crate::tls) const BOOLEAN: u8 = 0x01;
pub(in crate::tls) const INTEGER: u8 = 0x02;
pub(in crate::tls) const BITS: u8 = 0x03;
pub(in crate::tls) const OCTETS: u8 = 0x04;
pub(in crate::tls) const OID: u8 = 0x06;
pub(in crate::tls) const SEQUENCE: u8 = 0x30;
pub(in crate::tls) const SET: u8 = 0x31;

/// One element with its head, and what is in it.
#[derive(Clone, Copy, Debug)]
pub(in crate::tls) struct Element<'a> {
    pub(in crate::tls) tag: u8,
    pub(in crate::tls) whole: &'a [u8],
    pub(in crate::tls) body: &'a [u8],
}

/// The element at the start of `from`, which moves past it.
pub(in crate::tls) fn element<'a>(from: &mut &'a [u8]) -> Option<Element<'a>> {
    let whole = *from;
    let [tag, first, rest @ ..] = whole else { return None };
    // Tags of more than one byte do not occur, nor do lengths of more than three.
    let (n_more, short) =
        if *first < 0x80 { (0, usize::from(*first)) } else { (usize::from(first & 0x7f), 0) };
    if tag & 0x1f == 0x1f || n_more > 3 || *first == 0x80 {
        return None;
    }
    let (long, rest) = rest.split_at_checked(n_more)?;
    let len = long.iter().fold(short, |sum, byte| sum << 8 | usize::from(*byte));
    let (body, rest) = rest.split_at_checked(len)?;
    *from = rest;
    Some(Element { tag: *tag, whole: &whole[..whole.len() - rest.len()], body })
}

/// As `element`, which must have this tag; gives what is in it.
pub(in crate::tls) fn take<'a>(from: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    whole(from, tag).map(|it| it.body)
}

/// As `take`, with the head.
pub(in crate::tls) fn whole<'a>(from: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    let mut rest = *from;
    let found = element(&mut rest).filter(|it| it.tag == tag)?;
    *from = rest;
    Some(found)
}

/// A BIT STRING of whole bytes.
pub(in crate::tls) fn bits<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    match take(from, BITS)? {
        [0, bytes @ ..] => Some(bytes),
        _ => None,
    }
}

/// A number that fits.
pub(in crate::tls) fn number(from: &mut &[u8]) -> Option<u32> {
    let bytes = take(from, INTEGER)?;
    let bytes = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_one_after_another() {
        let mut rest: &[u8] = &[2, 1, 5, 4, 0x81, 2, 7, 8, 5];
        assert_eq!(number(&mut rest), Some(5));
        assert_eq!(take(&mut rest, INTEGER), None);
        assert_eq!(take(&mut rest, OCTETS), Some(&[7u8, 8][..]));
        assert!(element(&mut rest).is_none());
        for bad in [&[4u8, 0x80][..], &[4, 0x84, 0, 0, 0, 0], &[0x1f, 0], &[4, 3, 1]] {
            assert!(element(&mut { bad }).is_none());
        }
    }
}
