//! The chunked coding (RFC 9112, section 7.1), read strictly: every line ends with CR LF.
//!
//! ```text
//! chunk        = 1*HEXDIG [ extension ] CR LF  data CR LF
//! last-chunk   = 1*"0"    [ extension ] CR LF
//! trailers     = *( line CR LF ) CR LF
//! ```

use std::ops::Range;

use super::field::{self, Line};
use crate::fields::Fields;

/// How many bytes of chunk extensions, leading zeros of sizes included, may come beyond as many bytes of data:
/// padding in every chunk of a long body passes, a flood of it does not. nginx knows no limit.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Most bytes of a message's trailers.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// Most digits of a chunk's size that are not leading zeros: 2^60-1 bytes, and no overflow.
const SIZE_DIGITS_MAX: u8 = 15;

/// What ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends what precedes the `n` bytes of a chunk; a CR LF must follow them. `n` must not be 0.
pub fn chunk_header(n: usize, out: &mut Vec<u8>) {
    debug_assert!(n > 0, "an empty chunk would end the body");
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[n >> (place * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// What one call of `decode` has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These bytes of the input belong to the body; continue behind them.
    Data(Range<usize>),
    /// All input is used up, and the body is not over.
    More,
    /// The body is over; what follows these many bytes of the input belongs to the next message.
    End(usize),
}

/// The sender's mistake: the rest of the connection cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// No chunk stands where one must.
    Invalid,
    /// A size beyond 2^60-1.
    SizeTooLarge,
    ExtensionsTooLong,
    TrailersTooLong,
    /// A trailer that is no field.
    InvalidTrailer,
}

/// Where in the grammar the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    #[default]
    Start,
    Size,
    Extension,
    /// The LF of a size's line.
    SizeEnd,
    Data,
    /// The CR behind the data, then its LF.
    DataEnd,
    DataLf,
    /// The first byte of a trailer, or the CR of the empty line that ends the body.
    Trailer,
    TrailerLine,
    TrailerLf,
    LastLf,
    Over,
}

/// Finds the body in chunked bytes, however they are split.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of the current chunk still to come.
    size: u64,
    /// Digits of the size since its first that is not 0.
    digits: u8,
    extension_bytes: usize,
    trailer_bytes: usize,
    keep_trailers: bool,
    trailers: Vec<u8>,
}

impl ChunkedDecoder {
    /// A decoder that checks trailers and forgets them.
    pub fn new() -> ChunkedDecoder {
        ChunkedDecoder::default()
    }

    /// A decoder that keeps trailers for `trailers`.
    pub fn with_trailers() -> ChunkedDecoder {
        ChunkedDecoder { keep_trailers: true, ..ChunkedDecoder::default() }
    }

    /// Whether the body is over.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Bytes that the current chunk still lacks.
    pub fn chunk_left(&self) -> u64 {
        if self.state == State::Data { self.size } else { 0 }
    }

    /// Reads on. Call it again with what follows the range of a `Data`, until it says `More` or `End`.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, ChunkError> {
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Data => return Ok(self.data(input, at)),
                State::Extension | State::TrailerLine => at = self.skip_to_cr(input, at)?,
                State::Over => return Ok(Step::End(at)),
                _ => {
                    self.byte(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(if self.state == State::Over { Step::End(at) } else { Step::More })
    }

    /// The trailers of a body that is over; empty unless the decoder keeps them.
    pub fn trailers(&self) -> Result<Fields, ChunkError> {
        let (mut fields, mut at) = (Fields::new(), 0);
        while at < self.trailers.len() {
            match field::parse_line(&self.trailers, at) {
                Line::Field { field, next, .. } => {
                    fields.push(field.name.of(&self.trailers), field.value.of(&self.trailers));
                    at = next;
                }
                _ => return Err(ChunkError::InvalidTrailer),
            }
        }
        Ok(fields)
    }

    fn data(&mut self, input: &[u8], at: usize) -> Step {
        let len = self.size.min((input.len() - at) as u64);
        self.size -= len;
        self.extension_bytes = self.extension_bytes.saturating_sub(len as usize);
        if self.size == 0 {
            self.state = State::DataEnd;
        }
        Step::Data(at..at + len as usize)
    }

    /// Passes over bytes of which only the line's end matters.
    fn skip_to_cr(&mut self, input: &[u8], at: usize) -> Result<usize, ChunkError> {
        let found = memchr::memchr2(b'\r', b'\n', &input[at..]);
        let stop = found.map_or(input.len(), |len| at + len);
        let in_trailer = self.state == State::TrailerLine;
        if in_trailer {
            self.count_trailer(&input[at..stop])?;
        } else {
            self.count_extension(stop - at)?;
        }
        match input.get(stop) {
            None => Ok(stop),
            Some(b'\r') => {
                self.state = if in_trailer { State::TrailerLf } else { State::SizeEnd };
                Ok(stop + 1)
            }
            Some(_) => Err(ChunkError::Invalid),
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Start, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                (self.size, self.digits) = (0, 0);
                self.digit(byte)?;
                State::Size
            }
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)?;
                State::Size
            }
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            (State::Size, b'\r') => State::SizeEnd,
            (State::SizeEnd, b'\n') if self.size == 0 => State::Trailer,
            (State::SizeEnd, b'\n') => State::Data,
            (State::DataEnd, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Start,
            (State::Trailer, b'\r') => State::LastLf,
            (State::Trailer, byte) if byte != b'\n' => {
                self.count_trailer(&[byte])?;
                State::TrailerLine
            }
            (State::TrailerLf, b'\n') => {
                self.count_trailer(b"\r\n")?;
                State::Trailer
            }
            (State::LastLf, b'\n') => State::Over,
            _ => return Err(ChunkError::Invalid),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<(), ChunkError> {
        let value = (byte as char).to_digit(16).map_or(0, u64::from);
        if self.size == 0 && value == 0 {
            return self.count_extension(1);
        }
        if self.digits == SIZE_DIGITS_MAX {
            return Err(ChunkError::SizeTooLarge);
        }
        self.digits += 1;
        self.size = self.size * 16 + value;
        Ok(())
    }

    fn count_extension(&mut self, n: usize) -> Result<(), ChunkError> {
        self.extension_bytes += n;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
            return Err(ChunkError::ExtensionsTooLong);
        }
        Ok(())
    }

    fn count_trailer(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        self.trailer_bytes += bytes.len();
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(ChunkError::TrailersTooLong);
        }
        if self.keep_trailers {
            self.trailers.extend_from_slice(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, bytes used and trailers of `input` fed in pieces of `piece` bytes; `None` when it does not end.
    fn decode(input: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize, Fields)>, ChunkError> {
        let (mut decoder, mut body, mut used) = (ChunkedDecoder::with_trailers(), Vec::new(), 0);
        for part in input.chunks(piece) {
            let mut rest = part;
            loop {
                match decoder.decode(rest)? {
                    Step::Data(range) => {
                        body.extend_from_slice(&rest[range.clone()]);
                        used += range.end;
                        rest = &rest[range.end..];
                    }
                    Step::More => break used += rest.len(),
                    Step::End(n) => return Ok(Some((body, used + n, decoder.trailers()?))),
                }
            }
        }
        Ok(None)
    }

    fn check(input: &[u8], want: Result<Option<&[u8]>, ChunkError>) {
        for piece in 1..=input.len().max(1) {
            let got = decode(input, piece).map(|end| end.map(|(body, _, _)| body));
            let want = want.map(|body| body.map(<[u8]>::to_vec));
            assert_eq!(got, want, "{} by {piece}", input.escape_ascii());
        }
    }

    #[test]
    fn bodies_are_found_however_they_are_split() {
        check(b"0\r\n\r\n", Ok(Some(b"")));
        check(b"5\r\nhello\r\n6; a=b\r\n world\r\n0\r\n\r\nGET", Ok(Some(b"hello world")));
        check(b"1 \r\na\r\n1\t\r\nb\r\n00;x\r\n\r\n", Ok(Some(b"ab")));
        check(b"0A\r\n0123456789\r\n0\r\n\r\n", Ok(Some(b"0123456789")));
        check(b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", Ok(Some(b"abc")));
        check(b"3\r\nab", Ok(None));
        check(b"3\r\nabc\r\n0\r\n\r", Ok(None));
    }

    #[test]
    fn whatever_two_readers_could_read_differently_is_refused() {
        for input in [
            &b"5\nhello\n0\n\n"[..],
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5;a\rb\r\nhello\r\n",
            b"5\r\rhello\r\n",
            b"\r\n",
            b" 5\r\n",
            b"0x5\r\n",
            b"-5\r\n",
            b"+5\r\n",
            b"5 5\r\nhello\r\nX",
            b"g\r\n",
            b";\r\n",
            b"0\r\n\n",
            b"0\n\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA: b\rc\r\n\r\n",
            b"0\r\n\rX",
        ] {
            check(input, Err(ChunkError::Invalid));
        }
        check(b"1000000000000000\r\n", Err(ChunkError::SizeTooLarge));
        check(b"0fffffffffffffff\r\n", Ok(None));
        check(b"0\r\nA b\r\n\r\n", Err(ChunkError::InvalidTrailer));
    }

    #[test]
    fn trailers_are_kept_on_demand() {
        let input = b"0\r\nA: 1\r\nB: 2 \r\n\r\nnext";
        let (_, used, trailers) = decode(input, 4).expect("because it is valid").expect("because it ends");
        assert_eq!(used, input.len() - 4);
        assert_eq!(trailers.iter().collect::<Vec<_>>(), [(&b"A"[..], &b"1"[..]), (b"B", b"2")]);
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.decode(input), Ok(Step::End(input.len() - 4)));
        assert!(decoder.is_over() && decoder.trailers().is_ok_and(|trailers| trailers.is_empty()));
        assert_eq!(decoder.decode(b"next"), Ok(Step::End(0)));
    }

    #[test]
    fn extensions_and_trailers_are_limited() {
        let long = vec![b'x'; CHUNK_EXTENSION_BYTES_MAX + 1];
        check_limit(&[b"5;", &long[..], b"\r\n"].concat(), ChunkError::ExtensionsTooLong);
        check_limit(&vec![b'0'; CHUNK_EXTENSION_BYTES_MAX + 1], ChunkError::ExtensionsTooLong);
        check_limit(&[b"0\r\nA: ", &long[..], b"\r\n"].concat(), ChunkError::TrailersTooLong);
        check_limit(
            &[b"0\r\n", &b"A:\r\n".repeat(TRAILER_BYTES_MAX / 4 + 1)[..]].concat(),
            ChunkError::TrailersTooLong,
        );
        let padded = b"5     \r\nhello\r\n".repeat(CHUNK_EXTENSION_BYTES_MAX);
        let body = [&padded[..], b"0\r\n\r\n"].concat();
        assert!(decode(&body, body.len()).is_ok_and(|end| end.is_some()), "padding passes in a long body");
    }

    fn check_limit(input: &[u8], want: ChunkError) {
        assert_eq!(decode(input, 1000), Err(want));
        assert_eq!(decode(input, input.len()), Err(want));
    }

    #[test]
    fn chunk_headers_are_lower_case_hex() {
        for (n, want) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xABCDE, "abcde\r\n")] {
            let mut out = Vec::new();
            chunk_header(n, &mut out);
            assert_eq!(out, want.as_bytes());
        }
    }
}
