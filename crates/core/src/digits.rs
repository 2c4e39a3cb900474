//! Numbers as text, appended without a formatter: what log lines are mostly made of.

/// The decimal digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// The numbers from 00 to 99, one behind the other.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Appends a number in decimal.
pub fn push_number(mut number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0_u8; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    while number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(number % 100) as usize]);
        number /= 100;
    }
    if number > 0 {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends an IPv4 address as four numbers with dots.
pub(crate) fn push_ipv4(ip: std::net::Ipv4Addr, out: &mut Vec<u8>) {
    // Longest: 255.255.255.255, and a dot too many.
    let mut text = [b'.'; 16];
    let mut at = 0;
    for octet in ip.octets().map(usize::from) {
        let pair = PAIRS[octet % 100];
        if octet >= 100 {
            text[at] = b'0' + (octet / 100) as u8;
            at += 1;
        }
        if octet >= 10 {
            text[at] = pair[0];
            at += 1;
        }
        text[at] = pair[1];
        at += 2;
    }
    out.extend_from_slice(&text[..at - 1]);
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
        for (number, text) in [
            (0, "0"),
            (7, "7"),
            (10, "10"),
            (99, "99"),
            (100, "100"),
            (1200, "1200"),
            (u64::MAX, "18446744073709551615"),
        ] {
            let mut out = Vec::new();
            push_number(number, &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for (ms, text) in [(0, "0.000"), (15, "0.015"), (1200, "1.200"), (61_003, "61.003")] {
            let mut out = Vec::new();
            push_seconds(ms, &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for text in ["0.9.10.99", "100.109.110.255", "255.255.255.255"] {
            let mut out = Vec::new();
            push_ipv4(text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
        let mut out = Vec::new();
        push_hex(&[0, 0x1f, 0xff], &mut out);
        assert_eq!(out, b"001fff");
    }
}
