//! What each byte means inside a request's target, whichever version of HTTP carries it.

pub(crate) const PLAIN: u8 = 0;
pub(crate) const SLASH: u8 = 1;
pub(crate) const DOT: u8 = 2;
pub(crate) const PERCENT: u8 = 3;
pub(crate) const QUESTION: u8 = 4;
pub(crate) const HASH: u8 = 5;
/// Ends the target in a request line; stands in none elsewhere.
pub(crate) const END: u8 = 6;
pub(crate) const FORBIDDEN: u8 = 7;

pub(crate) static CLASS: [u8; 256] = {
    let mut class = [PLAIN; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'/' => SLASH,
            b'.' => DOT,
            b'%' => PERCENT,
            b'?' => QUESTION,
            b'#' => HASH,
            b' ' | b'\r' | b'\n' => END,
            0..0x20 | 0x7f => FORBIDDEN,
            _ => PLAIN,
        };
        byte += 1;
    }
    class
};
