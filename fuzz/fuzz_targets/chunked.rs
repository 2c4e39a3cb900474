//! Any bytes as a chunked body: the result does not depend on how they are split, and what is written is read back.
#![no_main]

use foregate_wire::Fields;
use foregate_wire::h1::{ChunkError, ChunkedDecoder, LAST_CHUNK, Step, chunk_header};
use libfuzzer_sys::fuzz_target;

/// Body, bytes used and trailers; `None` when the body does not end.
type Decoded = Result<Option<(Vec<u8>, usize, Fields)>, ChunkError>;

fuzz_target!(|data: &[u8]| {
    let Some((&step, bytes)) = data.split_first() else { return };
    let step = usize::from(step) + 1;
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(whole, decode(bytes, step));
    assert_eq!(whole, decode(bytes, 1));
    if let Ok(Some((_, used, _))) = &whole {
        assert_eq!(decode(&bytes[..*used], step), whole);
        assert_eq!(decode(&bytes[..*used - 1], step), Ok(None));
    }

    let mut coded = Vec::new();
    for chunk in bytes.chunks(step) {
        chunk_header(chunk.len(), &mut coded);
        coded.extend_from_slice(chunk);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(LAST_CHUNK);
    assert_eq!(decode(&coded, 7), Ok(Some((bytes.to_vec(), coded.len(), Fields::new()))));
});

fn decode(input: &[u8], piece: usize) -> Decoded {
    let (mut decoder, mut body, mut used) = (ChunkedDecoder::with_trailers(), Vec::new(), 0);
    for part in input.chunks(piece) {
        let mut rest = part;
        loop {
            match decoder.decode(rest)? {
                Step::Data(range) => {
                    assert!(!range.is_empty() && range.end <= rest.len());
                    body.extend_from_slice(&rest[range.clone()]);
                    used += range.end;
                    rest = &rest[range.end..];
                }
                Step::More => break used += rest.len(),
                Step::End(n) => return decoder.trailers().map(|trailers| Some((body, used + n, trailers))),
            }
        }
    }
    Ok(None)
}
