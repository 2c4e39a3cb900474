//! Any bytes as a request's head: the result does not depend on how they are split, and what passes is unambiguous.
#![no_main]

use foregate_wire::Fields;
use foregate_wire::h1::{RequestHead, RequestRules, parse_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[switches, step], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let rules = RequestRules {
        underscores: switches & 1 == 1,
        ignore_invalid: switches & 2 == 0,
        fields_max: if switches & 4 == 0 { 1000 } else { 3 },
    };
    let mut head = RequestHead::new();
    let whole = parse_request(bytes, &rules, &mut head);

    let mut pieces = RequestHead::new();
    let step = usize::from(step % 32) + 1;
    let split = (0..=bytes.len())
        .step_by(step)
        .chain([bytes.len()])
        .map(|end| parse_request(&bytes[..end], &rules, &mut pieces))
        .find(|result| !matches!(result, Ok(None)))
        .unwrap_or(Ok(None));
    assert_eq!(whole, split);

    match whole {
        Err(error) => {
            assert!(matches!(error.status(), 400 | 494 | 501 | 505));
            assert!(!error.text(bytes).is_empty());
        }
        Ok(None) => assert!(head.unfinished_line() <= bytes.len()),
        Ok(Some(len)) => {
            assert_eq!(format!("{head:?}"), format!("{pieces:?}"));
            check(&bytes[..len], &head);
            let mut exact = RequestHead::new();
            assert_eq!(parse_request(&bytes[..len], &rules, &mut exact), Ok(Some(len)));
            let mut short = RequestHead::new();
            assert_eq!(parse_request(&bytes[..len - 1], &rules, &mut short), Ok(None));
        }
    }
});

/// What no other reader of the same bytes may understand differently.
fn check(bytes: &[u8], head: &RequestHead) {
    assert!(!(head.chunked && head.content_length.is_some()));
    assert!(!head.uri.is_empty() && !head.method_name.is_empty());
    assert!(head.uri.of(bytes).iter().all(|&byte| byte > b' ' && byte != 0x7f));
    let mut fields = Fields::new();
    fields.load(bytes, &head.fields);
    assert_eq!(fields.len(), head.fields.len());
    for ((name, value), span) in fields.iter().zip(&head.fields) {
        assert_eq!((name, value), (span.name.of(bytes), span.value.of(bytes)));
        assert!(!name.is_empty() && name.iter().all(|&byte| byte > b' ' && byte != b':' && byte != 0x7f));
        assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
    }
    let lengths = fields.get_all(b"Content-Length").count();
    assert!(
        lengths <= 1
            && fields.get_all(b"Transfer-Encoding").count() <= 1
            && fields.get_all(b"Host").count() <= 1
    );
    assert_eq!(head.content_length.is_some(), lengths == 1);
    assert_eq!(head.chunked, fields.contains(b"Transfer-Encoding"));
}
