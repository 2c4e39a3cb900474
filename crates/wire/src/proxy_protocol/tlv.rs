//! The extensions of a version 2 header: type, length, value, by the names nginx has for them.

use std::borrow::Cow;

use super::{
    TLV_ALPN, TLV_AUTHORITY, TLV_NETNS, TLV_SSL, TLV_SSL_CIPHER, TLV_SSL_CN, TLV_SSL_KEY_ALG,
    TLV_SSL_SIG_ALG, TLV_SSL_VERSION, TLV_UNIQUE_ID,
};

/// Bytes before the extensions inside the one about TLS: what the client did, and the result of its verification.
const SSL_FIXED_BYTES: usize = 5;

/// An extension is longer than what is left. nginx logs "broken PROXY protocol TLV".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenTlv;

/// Which extension is meant: what follows `$proxy_protocol_tlv_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvName {
    Type(u8),
    /// One inside the extension about TLS.
    SslType(u8),
    /// The result of verifying the client's certificate: 0 is good.
    SslVerify,
}

impl TlvName {
    /// `alpn`, `authority`, `unique_id`, `ssl`, `netns`, `0xHH`; with `ssl_` before: `version`, `cn`, `cipher`,
    /// `sig_alg`, `key_alg`, `verify`, `0xHH`.
    pub fn parse(name: &str) -> Option<TlvName> {
        let hex = |text: &str| text.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(inner) = name.strip_prefix("ssl_") {
            return match inner {
                "verify" => Some(TlvName::SslVerify),
                "version" => Some(TlvName::SslType(TLV_SSL_VERSION)),
                "cn" => Some(TlvName::SslType(TLV_SSL_CN)),
                "cipher" => Some(TlvName::SslType(TLV_SSL_CIPHER)),
                "sig_alg" => Some(TlvName::SslType(TLV_SSL_SIG_ALG)),
                "key_alg" => Some(TlvName::SslType(TLV_SSL_KEY_ALG)),
                _ => hex(inner).map(TlvName::SslType),
            };
        }
        match name {
            "alpn" => Some(TlvName::Type(TLV_ALPN)),
            "authority" => Some(TlvName::Type(TLV_AUTHORITY)),
            "unique_id" => Some(TlvName::Type(TLV_UNIQUE_ID)),
            "ssl" => Some(TlvName::Type(TLV_SSL)),
            "netns" => Some(TlvName::Type(TLV_NETNS)),
            _ => hex(name).map(TlvName::Type),
        }
    }

    /// The value among the extensions of a header; `None` when it is not there.
    pub fn value(self, tlvs: &[u8]) -> Result<Option<Cow<'_, [u8]>>, BrokenTlv> {
        if let TlvName::Type(kind) = self {
            return Ok(find(tlvs, kind)?.map(Cow::Borrowed));
        }
        let Some(ssl) = find(tlvs, TLV_SSL)? else { return Ok(None) };
        let (fixed, inner) = ssl.split_at_checked(SSL_FIXED_BYTES).ok_or(BrokenTlv)?;
        match self {
            TlvName::SslType(kind) => Ok(find(inner, kind)?.map(Cow::Borrowed)),
            _ => {
                let verify = u32::from_be_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]);
                Ok(Some(Cow::Owned(verify.to_string().into_bytes())))
            }
        }
    }
}

/// The value of the first extension of that type.
pub fn find(tlvs: &[u8], kind: u8) -> Result<Option<&[u8]>, BrokenTlv> {
    let mut rest = tlvs;
    while !rest.is_empty() {
        let (fixed, more) = rest.split_at_checked(3).ok_or(BrokenTlv)?;
        let len = usize::from(u16::from_be_bytes([fixed[1], fixed[2]]));
        let (value, more) = more.split_at_checked(len).ok_or(BrokenTlv)?;
        if fixed[0] == kind {
            return Ok(Some(value));
        }
        rest = more;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_found_by_name() {
        let tlvs = b"\x01\0\x02h2\x02\0\x03a.b\x20\0\x0d\x01\0\0\0\x07\x21\0\x05TLSv1\xea\0\x01z";
        let get =
            |name: &str| TlvName::parse(name).map(|name| name.value(tlvs).map(|v| v.map(Cow::into_owned)));
        let some = |value: &[u8]| Some(Ok(Some(value.to_vec())));
        assert_eq!(get("alpn"), some(b"h2"));
        assert_eq!(get("authority"), some(b"a.b"));
        assert_eq!(get("ssl_version"), some(b"TLSv1"));
        assert_eq!(get("ssl_verify"), some(b"7"));
        assert_eq!(get("ssl_0x21"), some(b"TLSv1"));
        assert_eq!(get("0xea"), some(b"z"));
        assert_eq!((get("netns"), get("ssl_cn")), (Some(Ok(None)), Some(Ok(None))));
        assert_eq!((get("nope"), get("0x100"), get("ssl_nope")), (None, None, None));
    }

    #[test]
    fn broken_extensions_are_noticed() {
        assert_eq!(find(b"\x01\0", 1), Err(BrokenTlv));
        assert_eq!(find(b"\x01\0\x02h", 1), Err(BrokenTlv));
        assert_eq!(find(b"\x01\0\x01h\x02", 1), Ok(Some(&b"h"[..])));
        assert_eq!(TlvName::SslVerify.value(b"\x20\0\x01a"), Err(BrokenTlv));
    }
}
