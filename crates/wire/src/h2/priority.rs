//! How urgent an answer is to the client (RFC 9218); the tree of RFC 7540 is read and forgotten.

/// What a `priority` field or a PRIORITY_UPDATE frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least.
    pub urgency: u8,
    /// Parts of it are of use: it may share the connection with others as urgent.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Priority {
        Priority { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads `u=1, i` and its like; what is not understood is passed over (section 4).
    pub fn read(text: &[u8]) -> Priority {
        let mut priority = Priority::default();
        for item in text.split(|&byte| byte == b',') {
            match item.trim_ascii().split(|&byte| byte == b';').next() {
                Some(&[b'u', b'=', digit @ b'0'..=b'7']) => priority.urgency = digit - b'0',
                Some(b"i" | b"i=?1") => priority.incremental = true,
                Some(b"i=?0") => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        for (text, urgency, incremental) in [
            ("", 3, false),
            ("u=0", 0, false),
            ("u=5, i", 5, true),
            ("i=?1,u=7;x", 7, true),
            ("i, i=?0", 3, false),
            ("u=8", 3, false),
            ("u=-1, foo=bar", 3, false),
        ] {
            assert_eq!(Priority::read(text.as_bytes()), Priority { urgency, incremental }, "{text}");
        }
    }
}
