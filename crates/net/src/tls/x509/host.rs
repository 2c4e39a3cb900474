//! Whether a certificate is for a host (RFC 6125 section 6.4), judged as OpenSSL does.

use rustls::pki_types::{IpAddr, ServerName};

use super::cert::Certificate;

impl Certificate<'_> {
    /// Where it names no host in its alternative names, its common name counts.
    pub fn is_for(&self, name: &ServerName<'_>) -> bool {
        let (hosts, addresses) = self.alt_names();
        match name {
            ServerName::IpAddress(IpAddr::V4(v4)) => addresses.contains(&&v4.as_ref()[..]),
            ServerName::IpAddress(IpAddr::V6(v6)) => addresses.contains(&&v6.as_ref()[..]),
            ServerName::DnsName(host) if hosts.is_empty() => {
                self.subject.common_names().iter().any(|it| covers(it.as_bytes(), host.as_ref()))
            }
            ServerName::DnsName(host) => hosts.iter().any(|it| covers(it, host.as_ref())),
            _ => false,
        }
    }
}

/// `*.example.com` covers one label, and no name of fewer than three.
fn covers(pattern: &[u8], host: &str) -> bool {
    let host = host.trim_end_matches('.').as_bytes();
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(parent) = pattern.strip_prefix(b"*.").filter(|it| it.contains(&b'.')) else { return false };
    match host.iter().position(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => parent.eq_ignore_ascii_case(&host[dot + 1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_one_label() {
        for (pattern, host, expected) in [
            ("example.com", "EXAMPLE.com.", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("*.example.com", ".example.com", false),
        ] {
            assert_eq!(covers(pattern.as_bytes(), host), expected, "{pattern} {host}");
        }
    }
}
