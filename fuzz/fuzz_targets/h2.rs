//! Any bytes as an HTTP/2 client's: what comes of them does not depend on how they are split, and no head that passes
//! can be misread.
#![no_main]

use foregate_wire::h1::RequestRules;
use foregate_wire::h2::{Event, Head, Limits, Mux, PREFACE, SLICES_MAX};
use foregate_wire::{Buf, Name};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    streams_max: 5,
    window: 20_000,
    string_bytes_max: 2000,
    head_bytes_max: 4000,
    rules: RequestRules { underscores: false, ignore_invalid: true, fields_max: 20 },
};

fuzz_target!(|data: &[u8]| {
    let Some((&[switches, step], bytes)) = data.split_first_chunk::<2>() else { return };
    // Most inputs shall come past the preface.
    let bytes = if switches & 1 == 0 { [PREFACE, bytes].concat() } else { bytes.to_vec() };
    let whole = run(&bytes, bytes.len().max(1), switches);
    let split = run(&bytes, usize::from(step % 64) + 1, switches);
    assert_eq!(whole, split);
});

/// What came, as text, and whether the connection failed.
fn run(bytes: &[u8], step: usize, switches: u8) -> (String, bool) {
    let mut mux = Mux::new(LIMITS);
    let mut seen = String::new();
    let mut data = (0, 0);
    for piece in bytes.chunks(step) {
        let mut piece = Buf::copy_from(piece);
        loop {
            match mux.receive(&mut piece, 0) {
                Err(fault) => {
                    mux.goaway(fault.code);
                    drain(&mut mux);
                    return (seen, true);
                }
                Ok(None) => break,
                // Pieces of data come as they are split: only their sum counts.
                Ok(Some(Event::Data { place, bytes, overhead, ends })) => {
                    if data.0 != place {
                        seen += &format!("data {data:?}\n");
                        data = (place, 0);
                    }
                    data.1 += bytes.len() + overhead as usize;
                    if ends {
                        seen += &format!("data {data:?} ends\n");
                        data = (0, 0);
                    }
                }
                Ok(Some(event)) => {
                    seen += &format!("data {data:?}\n");
                    data = (0, 0);
                    take(&mut mux, event, switches, &mut seen);
                }
            }
            assert!(mux.n_streams() <= LIMITS.streams_max as usize);
        }
    }
    drain(&mut mux);
    (seen, false)
}

fn take(mux: &mut Mux, event: Event, switches: u8, seen: &mut String) {
    *seen += &format!("{event:?}\n");
    let Event::Request { place, .. } = event else { return };
    let head = mux.head_mut();
    match &head.fault {
        Some(fault) => *seen += &format!("{fault:?}\n"),
        None => {
            check(head);
            *seen += &format!("{:?} {:?}\n", head.target, head.fields);
        }
    }
    let ends = switches & 2 == 0;
    mux.send_head(place, ends, |encoder, out| encoder.status(404, out));
    if !ends && switches & 4 == 0 {
        let n = mux.sendable(place).min(3000);
        mux.send_data_copied(place, &vec![7; n], 1000, switches & 8 == 0);
    }
}

fn check(head: &Head) {
    assert!(!head.method_name.is_empty() && !head.scheme.is_empty() && head.target.first() == Some(&b'/'));
    assert!(head.target.iter().all(|&byte| byte > b' ' && byte != 0x7f));
    assert!(!head.host.is_empty() && head.fields.get_all(Name::Host).count() == 1);
    assert!(head.fields.get_all(Name::ContentLength).count() <= 1);
    for name in [Name::Connection, Name::TransferEncoding, Name::Upgrade, Name::KeepAlive] {
        assert!(!head.fields.contains(name));
    }
    for (name, value) in head.fields.iter() {
        let is_sound = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        assert!(!name.is_empty() && name.iter().all(is_sound));
        assert!(!value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
    }
}

/// What waits is whole frames.
fn drain(mux: &mut Mux) {
    while !mux.out.is_empty() {
        let mut slices = [&b""[..]; SLICES_MAX];
        let n = mux.out.slices(&mut slices);
        let bytes: usize = slices[..n].iter().map(|it| it.len()).sum();
        assert!(bytes > 0);
        mux.out.advance(bytes);
    }
}
