//! TLS 1.2 and 1.3 over a stream, both sides: handshakes by rustls.

/// What a handshake has settled, for variables and decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub protocol: &'static str,
    /// The cipher as OpenSSL names it: `TLS_AES_256_GCM_SHA384`, `ECDHE-RSA-AES128-GCM-SHA256`.
    pub cipher: &'static str,
    /// The key exchange group as OpenSSL names it: `X25519`, `prime256v1`.
    pub curve: &'static str,
    /// The host name the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// The protocol agreed on by ALPN; empty when none was.
    pub alpn: Box<[u8]>,
    /// An earlier session was taken up again.
    pub resumed: bool,
    /// The peer's certificates, DER, its own first; empty when it showed none.
    pub peer_certs: Vec<Box<[u8]>>,
    /// Cipher suites and groups the client offered, by their numbers (server side only).
    pub offered_ciphers: Box<[u16]>,
    pub offered_curves: Box<[u16]>,
}
