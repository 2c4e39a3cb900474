//! How values are made safe for a line of a log, in place.

/// `escape=default`: quotes, backslashes, control characters and everything above `~` become `\xXX`.
pub(super) fn default(out: &mut Vec<u8>, start: usize) {
    let special = |b: &u8| !(0x20..=0x7e).contains(b) || matches!(b, b'"' | b'\\');
    // Without an early end, so that it is done many bytes at a time.
    if !out[start..].iter().fold(false, |any, b| any | special(b)) {
        return;
    }
    let raw = out.split_off(start);
    for byte in raw {
        match special(&byte) {
            true => out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            false => out.push(byte),
        }
    }
}

/// `escape=json`: what may stand between the quotes of a JSON string (RFC 8259, 7).
pub(super) fn json(out: &mut Vec<u8>, start: usize) {
    let special = |b: &u8| *b < 0x20 || matches!(b, b'"' | b'\\');
    if !out[start..].iter().fold(false, |any, b| any | special(b)) {
        return;
    }
    let raw = out.split_off(start);
    for byte in raw {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            0..0x20 => {
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

/// `escape=none`.
pub(super) fn none(_: &mut Vec<u8>, _: usize) {}

const HEX: &[u8; 16] = b"0123456789ABCDEF";
