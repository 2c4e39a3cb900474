//! Any bytes as an application's records and the head within: the result does not depend on how they are split.
#![no_main]

use foregate_wire::Buf;
use foregate_wire::fastcgi::{Decoder, Record, RecordError, parse_head};
use foregate_wire::h1::{Framing, ResponseHead, ResponseRules};
use libfuzzer_sys::fuzz_target;

/// Standard output, standard error, and how many times each of the ends was said.
type Said = (Vec<u8>, Vec<u8>, usize, usize, Option<RecordError>);

fn read(bytes: &[u8], step: usize) -> Said {
    let mut decoder = Decoder::new();
    let mut said = Said::default();
    for chunk in bytes.chunks(step) {
        let mut buf = Buf::copy_from(chunk);
        loop {
            match decoder.next(&mut buf) {
                Ok(Some(Record::Stdout(piece))) => said.0.extend_from_slice(&piece),
                Ok(Some(Record::Stderr(piece))) => said.1.extend_from_slice(&piece),
                Ok(Some(Record::StdoutOver)) => said.2 += 1,
                Ok(Some(Record::End { .. })) => said.3 += 1,
                Ok(None) => break,
                Err(error) => {
                    said.4 = Some(error);
                    return said;
                }
            }
        }
    }
    said
}

fuzz_target!(|data: &[u8]| {
    let Some((&step, bytes)) = data.split_first() else { return };
    let step = usize::from(step % 32) + 1;
    let said = read(bytes, bytes.len().max(1));
    assert_eq!(said, read(bytes, step));
    assert!(said.0.len() + said.1.len() <= bytes.len() && said.3 <= 1);

    for text in [&said.0[..], bytes] {
        let rules = ResponseRules::default();
        let (mut head, mut pieces) = (ResponseHead::new(), ResponseHead::new());
        let whole = parse_head(text, &rules, &mut head);
        let split = (0..=text.len())
            .step_by(step)
            .chain([text.len()])
            .map(|end| parse_head(&text[..end], &rules, &mut pieces))
            .find(|result| !matches!(result, Ok(None)))
            .unwrap_or(Ok(None));
        assert_eq!(whole, split);
        match whole {
            Err(error) => assert!(!error.text(text).is_empty()),
            Ok(None) => {}
            Ok(Some(_)) => {
                assert_eq!(format!("{head:?}"), format!("{pieces:?}"));
                assert!(head.status <= 999 && head.framing != Framing::Chunked);
            }
        }
    }
});
