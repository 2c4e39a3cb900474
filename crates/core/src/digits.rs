//! Numbers as text, appended without a formatter: what log lines are mostly made of.

/// The decimal digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// Appends a number in decimal.
pub fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends milliseconds as seconds with three decimals, as `$request_time` does: `0.015`.
pub fn push_seconds(ms: u64, out: &mut Vec<u8>) {
    push_number(ms / 1000, out);
    let rest = ms % 1000;
    out.extend([b'.', b'0' + (rest / 100) as u8, b'0' + (rest / 10 % 10) as u8, b'0' + (rest % 10) as u8]);
}

/// Appends bytes as lower-case hexadecimal digits.
pub fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (7, "7"), (1200, "1200"), (u64::MAX, "18446744073709551615")] {
            let mut out = Vec::new();
            push_number(number, &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for (ms, text) in [(0, "0.000"), (15, "0.015"), (1200, "1.200"), (61_003, "61.003")] {
            let mut out = Vec::new();
            push_seconds(ms, &mut out);
            assert_eq!(out, text.as_bytes());
        }
        let mut out = Vec::new();
        push_hex(&[0, 0x1f, 0xff], &mut out);
        assert_eq!(out, b"001fff");
    }
}
