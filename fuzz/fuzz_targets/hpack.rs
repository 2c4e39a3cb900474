//! Any bytes as header blocks; and what the encoder writes, the decoder reads back.
#![no_main]

use foregate_wire::Name;
use foregate_wire::h2::hpack::{Decoder, Encoder, huffman};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new(4000);
    let mut encoder = Encoder::default();
    let mut mirror = Decoder::new(usize::MAX);
    for block in data.split(|&byte| byte == 0xfe) {
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let done = decoder.decode(block, |it| {
            assert_eq!(it.known, Name::of(it.name));
            assert_eq!(it.is_clean, !it.value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')));
            fields.push((it.name.to_vec(), it.value.to_vec()));
        });
        if let Some(&[size]) = block.first_chunk::<1>() {
            encoder.allow(usize::from(size) * 20);
        }
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in &fields {
            encoder.field(Name::of(name), name, value, &mut out);
        }
        let mut back = Vec::new();
        let read = mirror.decode(&out, |it| back.push((it.name.to_vec(), it.value.to_vec())));
        assert_eq!(read, Ok(()));
        fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        assert_eq!(back, fields);
        if done.is_err() {
            break;
        }
    }
    let mut coded = Vec::new();
    huffman::encode(data, &mut coded);
    assert_eq!(coded.len(), huffman::coded_len(data));
    let mut text = Vec::new();
    assert_eq!(huffman::decode(&coded, &mut text), Ok(()));
    assert_eq!(text, data);
    let _ = huffman::decode(data, &mut Vec::new());
});
