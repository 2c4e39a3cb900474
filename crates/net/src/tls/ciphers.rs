//! Cipher lists and curve names as OpenSSL writes them, read into what rustls has.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

/// A suite with what OpenSSL's keywords ask about.
struct Suite {
    name: &'static str,
    suite: &'static SupportedCipherSuite,
    /// The keywords that select it.
    tags: &'static [&'static str],
    strength_bits: u16,
}

/// Keywords that select every suite of ours: all are TLS 1.2, ephemeral, authenticated, and strong.
const EVERY: &[&str] = &["ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "AEAD"];

/// The TLS 1.2 suites, in OpenSSL's order of preference.
const SUITES: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: &cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        tags: &["aECDSA", "ECDSA", "AES256", "AES", "AESGCM", "FIPS", "SUITEB128", "SUITEB192"],
        strength_bits: 256,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: &cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        tags: &["aRSA", "AES256", "AES", "AESGCM", "FIPS"],
        strength_bits: 256,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: &cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        tags: &["aECDSA", "ECDSA", "CHACHA20"],
        strength_bits: 256,
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: &cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        tags: &["aRSA", "CHACHA20"],
        strength_bits: 256,
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: &cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        tags: &["aECDSA", "ECDSA", "AES128", "AES", "AESGCM", "FIPS", "SUITEB128"],
        strength_bits: 128,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: &cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        tags: &["aRSA", "AES128", "AES", "AESGCM", "FIPS"],
        strength_bits: 128,
    },
];

/// The TLS 1.3 suites under their names, which OpenSSL shares with the RFC.
const SUITES_13: [(&str, &SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", &cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", &cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", &cipher_suite::TLS13_AES_128_GCM_SHA256),
];

/// The suites with ChaCha20, by number: of TLS 1.3, and of 1.2 with either kind of key.
const CHACHA: [u16; 3] = [0x1303, 0xcca8, 0xcca9];

/// Reads a list for TLS 1.2 (nginx: ssl_ciphers), for example `HIGH:!aNULL:!MD5`. What OpenSSL knows and we do not
/// have, like what nobody knows, selects nothing. Empty when nothing is left: an error to nginx
/// (`SSL_CTX_set_cipher_list("...") failed`).
pub fn tls12(list: &str) -> Vec<SupportedCipherSuite> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut killed = [false; SUITES.len()];
    for item in list.split([':', ',', ' ', ';']).filter(|item| !item.is_empty()) {
        if item == "@STRENGTH" {
            chosen.sort_by_key(|idx| std::cmp::Reverse(SUITES[*idx].strength_bits));
            continue;
        }
        let (operator, words) = match item.as_bytes()[0] {
            first @ (b'!' | b'-' | b'+') => (first, &item[1..]),
            _ => (b' ', item),
        };
        let selected: Vec<usize> = (0..SUITES.len()).filter(|idx| SUITES[*idx].matches(words)).collect();
        match operator {
            b'!' | b'-' => {
                chosen.retain(|idx| !selected.contains(idx));
                selected.iter().filter(|_| operator == b'!').for_each(|idx| killed[*idx] = true);
            }
            b'+' => {
                let (moved, kept) = chosen.iter().partition::<Vec<usize>, _>(|idx| selected.contains(idx));
                chosen = [kept, moved].concat();
            }
            _ => {
                let fresh = |idx: &usize| !killed[*idx] && !chosen.contains(idx);
                let fresh: Vec<usize> = selected.into_iter().filter(fresh).collect();
                chosen.extend(fresh);
            }
        }
    }
    chosen.into_iter().map(|idx| *SUITES[idx].suite).collect()
}

/// Reads a list for TLS 1.3 (nginx: `ssl_conf_command Ciphersuites`); a name that is not known is returned as error.
pub fn tls13(list: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let find = |name: &str| SUITES_13.iter().find(|(known, _)| *known == name).map(|(_, suite)| **suite);
    list.split(':')
        .filter(|name| !name.is_empty())
        .map(|name| find(name).ok_or_else(|| name.to_string()))
        .collect()
}

/// All suites for TLS 1.3, as when nothing is configured.
pub fn tls13_default() -> Vec<SupportedCipherSuite> {
    SUITES_13.iter().map(|(_, suite)| **suite).collect()
}

/// All suites for TLS 1.3 in the order in which a server chooses where nobody has said one: AES-128 is as good as
/// unbreakable and costs least, as Mozilla's guidelines have it too.
pub fn tls13_served() -> Vec<SupportedCipherSuite> {
    SUITES_13.iter().rev().map(|(_, suite)| **suite).collect()
}

/// Whether a client likes ChaCha20 best. Numbers that stand for nothing (RFC 8701) do not count.
pub fn is_chacha_first(offered: &[u16]) -> bool {
    let first = offered.iter().find(|it| *it & 0x0f0f != 0x0a0a || *it >> 8 != *it & 0xff);
    first.is_some_and(|it| CHACHA.contains(it))
}

impl Suite {
    /// Whether every word of `AES256+ECDHE` applies.
    fn matches(&self, words: &str) -> bool {
        !words.is_empty()
            && words.split('+').all(|word| {
                self.name == word
                    || EVERY.contains(&word)
                    || self.tags.contains(&word)
                    || self.rfc_name() == word
            })
    }

    /// OpenSSL also takes the RFC's name: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
    fn rfc_name(&self) -> &'static str {
        self.suite.suite().as_str().unwrap_or("")
    }
}

/// OpenSSL's name of a suite that was agreed on.
pub fn name(suite: CipherSuite) -> &'static str {
    let v13 = SUITES_13.iter().map(|(name, known)| (*name, known.suite()));
    let v12 = SUITES.iter().map(|known| (known.name, known.suite.suite()));
    v13.chain(v12).find(|(_, known)| *known == suite).map_or("", |(name, _)| name)
}

/// Curves as OpenSSL names them: the first is what it prints, the others it takes as well.
const CURVES: [(&[&str], &dyn SupportedKxGroup); 6] = [
    (&["X25519", "x25519"], kx_group::X25519),
    (&["prime256v1", "P-256", "secp256r1"], kx_group::SECP256R1),
    (&["secp384r1", "P-384"], kx_group::SECP384R1),
    (&["X25519MLKEM768"], kx_group::X25519MLKEM768),
    (&["SecP256r1MLKEM768"], kx_group::SECP256R1MLKEM768),
    (&["MLKEM768"], kx_group::MLKEM768),
];

/// Curves that OpenSSL has and we have not: left out of a list without an error.
const CURVES_ABSENT: [&str; 16] = [
    "secp521r1",
    "P-521",
    "X448",
    "x448",
    "MLKEM512",
    "MLKEM1024",
    "SecP384r1MLKEM1024",
    "ffdhe2048",
    "ffdhe3072",
    "ffdhe4096",
    "ffdhe6144",
    "ffdhe8192",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    "secp256k1",
];

/// The groups `auto` stands for: hybrid first, as OpenSSL 3.5 has it, then by speed.
pub fn curves_default() -> Vec<&'static dyn SupportedKxGroup> {
    vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1]
}

/// Reads a list of curves (nginx: ssl_ecdh_curve), in order of preference; `auto` is the default. The error is the
/// name that OpenSSL would not know either, or the whole list when nothing of it is left.
pub fn curves(list: &str) -> Result<Vec<&'static dyn SupportedKxGroup>, String> {
    if list == "auto" {
        return Ok(curves_default());
    }
    let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    // OpenSSL 3.5 separates by "/" too, and marks groups with "*" and "?".
    for name in
        list.split([':', '/']).map(|name| name.trim_start_matches(['*', '?'])).filter(|name| !name.is_empty())
    {
        match CURVES.iter().find(|(names, _)| names.contains(&name)) {
            Some((_, group)) if groups.iter().any(|known| known.name() == group.name()) => {}
            Some((_, group)) => groups.push(*group),
            None if CURVES_ABSENT.contains(&name) => {}
            None => return Err(name.to_string()),
        }
    }
    if groups.is_empty() { Err(list.to_string()) } else { Ok(groups) }
}

/// OpenSSL's name of a group that was agreed on.
pub fn curve_name(group: NamedGroup) -> &'static str {
    CURVES.iter().find(|(_, known)| known.name() == group).map_or("", |(names, _)| names[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        tls12(list).iter().map(|suite| name(suite.suite())).collect()
    }

    #[test]
    fn cipher_lists_select_as_openssl_does() {
        let all = [
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ];
        assert_eq!(names("HIGH:!aNULL:!MD5"), all);
        assert_eq!(names("DEFAULT"), all);
        let (one, other) = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256");
        assert_eq!(names(&format!("{one}:{other}:DHE-RSA-AES128-GCM-SHA256:no-such")), [one, other]);
        assert_eq!(names("ECDHE+AES128"), [other, one]);
        assert_eq!(names("EECDH+AESGCM+aRSA:!AES256"), [one]);
        assert_eq!(names("ALL:-ALL:AES128+aRSA"), [one]);
        assert_eq!(names("!AES128:ALL:AES128").len(), 4);
        assert_eq!(names("ALL:+AES256")[4..], all[..2]);
        assert_eq!(names("AES128:AES256:@STRENGTH")[..2], all[..2]);
        assert_eq!(names("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), [one]);
        assert!(names("RC4:MD5:kRSA:DHE+AES128").is_empty());
    }

    #[test]
    fn clients_that_like_chacha_are_told_from_others() {
        assert!(is_chacha_first(&[0x1303, 0x1301]) && is_chacha_first(&[0x1a1a, 0xcca9, 0xc02b]));
        assert!(!is_chacha_first(&[0x1a1a, 0x1301, 0x1303]) && !is_chacha_first(&[]));
    }

    #[test]
    fn curve_lists_are_read_and_named() {
        let names = |list: &str| {
            curves(list).map(|groups| groups.iter().map(|group| curve_name(group.name())).collect::<Vec<_>>())
        };
        assert_eq!(names("X25519:P-256:secp384r1:secp521r1").unwrap(), ["X25519", "prime256v1", "secp384r1"]);
        assert_eq!(names("auto").unwrap()[0], "X25519MLKEM768");
        assert_eq!(names("X25519:foo"), Err("foo".to_string()));
        assert_eq!(names("secp521r1"), Err("secp521r1".to_string()));
        assert_eq!(tls13("TLS_AES_128_GCM_SHA256").unwrap().len(), 1);
        assert_eq!(tls13("TLS_FOO"), Err("TLS_FOO".to_string()));
    }
}
