//! Any bytes as a response's head: the result does not depend on how they are split, and the framing is unambiguous.
#![no_main]

use foregate_wire::h1::{Framing, ResponseHead, ResponseRules, parse_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[switches, step], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let rules =
        ResponseRules { head: switches & 1 == 1, fields_max: if switches & 2 == 0 { 1000 } else { 3 } };
    let mut head = ResponseHead::new();
    let whole = parse_response(bytes, &rules, &mut head);

    let mut pieces = ResponseHead::new();
    let step = usize::from(step % 32) + 1;
    let split = (0..=bytes.len())
        .step_by(step)
        .chain([bytes.len()])
        .map(|end| parse_response(&bytes[..end], &rules, &mut pieces))
        .find(|result| !matches!(result, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(whole, split);

    match whole {
        Err(error) => assert!(!error.text(bytes).is_empty()),
        Ok(None) => {}
        Ok(Some(len)) => {
            assert_eq!(format!("{head:?}"), format!("{pieces:?}"));
            assert!(head.status <= 999 && head.status_line.len() >= 3);
            let mut short = ResponseHead::new();
            assert_eq!(parse_response(&bytes[..len - 1], &rules, &mut short), Ok(None));
            for field in &head.fields {
                let (name, value) = (field.name.of(bytes), field.value.of(bytes));
                assert!(
                    !name.is_empty() && name.iter().all(|&byte| byte > b' ' && byte != b':' && byte != 0x7f)
                );
                assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
            }
            match head.framing {
                Framing::Chunked => assert!(head.chunked && head.content_length.is_none()),
                Framing::Length(length) => assert!(length > 0 && head.content_length == Some(length)),
                Framing::UntilClose => assert!(!head.keeps_alive()),
                Framing::Empty => {}
            }
        }
    }
});
