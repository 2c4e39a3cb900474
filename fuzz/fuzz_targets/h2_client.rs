//! Any bytes as an HTTP/2 server's answers: what comes of them does not depend on how they are split, and no head that
//! passes can be misread.
#![no_main]

use foregate_wire::h1::{ResponseHead, ResponseRules, parse_response};
use foregate_wire::h2::SLICES_MAX;
use foregate_wire::h2::client::{Client, Draft, Event};
use foregate_wire::Buf;
use libfuzzer_sys::fuzz_target;

const HEAD_BYTES_MAX: usize = 4000;

fuzz_target!(|data: &[u8]| {
    let Some((&[switches, step], bytes)) = data.split_first_chunk::<2>() else { return };
    let whole = run(bytes, bytes.len().max(1), switches);
    let split = run(bytes, usize::from(step % 64) + 1, switches);
    assert_eq!(whole, split);
});

/// What came, as text, and whether the connection failed.
fn run(bytes: &[u8], step: usize, switches: u8) -> (String, bool) {
    let mut client = Client::new();
    ask(&mut client, switches);
    let (mut seen, mut data) = (String::new(), 0);
    for piece in bytes.chunks(step) {
        let mut piece = Buf::copy_from(piece);
        loop {
            match client.receive(&mut piece, HEAD_BYTES_MAX, 0) {
                Err(fault) => return (seen + &format!("{data} bytes, {}", fault.0), true),
                Ok(None) => break,
                // Pieces of data come as they are split: only their sum counts.
                Ok(Some(Event::Data(bytes))) => data += bytes.len(),
                Ok(Some(Event::Head(text))) => {
                    check(&text);
                    seen += &String::from_utf8_lossy(&text);
                }
                Ok(Some(Event::Over)) => {
                    seen += &format!("{data} bytes, {:?}\n", client.take_trailers());
                    data = 0;
                }
            }
        }
        drain(&mut client);
    }
    // Whether more is asked over the connection depends on where its bytes end, not on how they are split.
    seen += &format!("{data} bytes, serves again: {}", client.may_serve_again());
    (seen, false)
}

fn ask(client: &mut Client, switches: u8) {
    let mut head = Vec::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "h")] {
        Draft::field(name.as_bytes(), value.as_bytes(), &mut head);
    }
    Draft::end(&mut head);
    let ends = switches & 1 == 0;
    client.begin(&Draft::new(&head), ends);
    if !ends {
        let n = client.sendable().min(20_000);
        client.send_data(Buf::from_vec(vec![7; n]), switches & 2 == 0);
    }
    drain(client);
}

/// A head is one head, whatever its names and values are.
fn check(text: &[u8]) {
    let mut head = ResponseHead::new();
    let rules = ResponseRules { fields_max: usize::MAX, ..ResponseRules::default() };
    if let Ok(read) = parse_response(text, &rules, &mut head) {
        assert_eq!(read, Some(text.len()));
        assert!(!head.chunked && (100..=999).contains(&head.status));
    }
}

/// What waits is whole frames.
fn drain(client: &mut Client) {
    while !client.out.is_empty() {
        let mut slices = [&b""[..]; SLICES_MAX];
        let n = client.out.slices(&mut slices);
        let bytes: usize = slices[..n].iter().map(|it| it.len()).sum();
        assert!(bytes > 0);
        client.out.advance(bytes);
    }
}
