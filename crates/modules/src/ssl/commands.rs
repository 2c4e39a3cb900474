//! `ssl_conf_command`: what of OpenSSL's own language means something here.

use foregate_conf::{Error, Word};
use foregate_core::Compile;
use foregate_net::tls::ciphers;
use rustls::{ProtocolVersion, SupportedCipherSuite};

/// What the commands change.
#[derive(Default)]
pub(super) struct Changes {
    /// For TLS 1.3.
    pub(super) suites: Option<Vec<SupportedCipherSuite>>,
    pub(super) ciphers: Option<Word>,
    pub(super) curves: Option<Word>,
    pub(super) tickets: Option<bool>,
    pub(super) prefer_server: Option<bool>,
    /// Clients that like ChaCha20 best get it.
    pub(super) chacha: Option<bool>,
    pub(super) certificate: Option<Word>,
    pub(super) key: Option<Word>,
    no_12: bool,
    no_13: bool,
}

/// Options that OpenSSL knows and that ask for what is done anyway, or for what we have not.
const OPTIONS: [&str; 21] = [
    "EmptyFragments",
    "Bugs",
    "Compression",
    "NoResumptionOnRenegotiation",
    "UnsafeLegacyRenegotiation",
    "UnsafeLegacyServerConnect",
    "ClientRenegotiation",
    "ECDHSingle",
    "DHSingle",
    "NoRenegotiation",
    "MiddleboxCompat",
    "AntiReplay",
    "ExtendedMasterSecret",
    "CANames",
    "EncryptThenMac",
    "AllowNoDHEKEX",
    "PreferNoDHEKEX",
    "KTLS",
    "StrictCertCheck",
    "TxCertificateCompression",
    "RxCertificateCompression",
];

/// Commands that tune what works differently here.
const TUNING: [&str; 8] = [
    "DHParameters",
    "RecordPadding",
    "NumTickets",
    "SignatureAlgorithms",
    "ClientSignatureAlgorithms",
    "ChainCAFile",
    "ChainCAPath",
    "ServerInfoFile",
];

impl Changes {
    pub(super) fn read(commands: &[(Word, Word)], cx: &mut Compile<'_>) -> Result<Changes, Error> {
        let mut changes = Changes::default();
        for (name, given) in commands {
            changes.read_one(name, given, cx)?;
        }
        Ok(changes)
    }

    fn read_one(&mut self, name: &Word, given: &Word, cx: &mut Compile<'_>) -> Result<(), Error> {
        let wrong = || Error::at(given.span, format!("SSL_CONF_cmd(\"{name}\", \"{given}\") failed"));
        match name.to_ascii_lowercase().as_str() {
            "ciphersuites" => {
                let suites = ciphers::tls13(given);
                let unknown = |name: String| wrong().advise(format!("\"{name}\" is not available"));
                self.suites = Some(suites.map_err(unknown)?);
            }
            "cipherstring" => self.ciphers = Some(given.clone()),
            "curves" | "groups" => self.curves = Some(given.clone()),
            "certificate" => self.certificate = Some(given.clone()),
            "privatekey" => self.key = Some(given.clone()),
            "minprotocol" => self.no_12 |= version(given).ok_or_else(wrong)? == 3,
            "maxprotocol" => {
                let newest = version(given).ok_or_else(wrong)?;
                self.no_13 |= newest < 3;
                self.no_12 |= newest < 2;
            }
            "protocol" => self.protocols(given).ok_or_else(wrong)?,
            "options" => self.options(given).ok_or_else(wrong)?,
            other if TUNING.iter().any(|it| it.eq_ignore_ascii_case(other)) => {
                let what = format!("\"ssl_conf_command {name}\" is ignored: OpenSSL is not used");
                cx.warn(Error::at(name.span, what).warn());
            }
            _ => return Err(wrong().advise("OpenSSL is not used, and this command means nothing here")),
        }
        Ok(())
    }

    /// `-ALL,+TLSv1.3`
    fn protocols(&mut self, given: &str) -> Option<()> {
        for word in given.split(',').map(str::trim) {
            let off = word.starts_with('-');
            match word.trim_start_matches(['+', '-']) {
                "ALL" => (self.no_12, self.no_13) = (off, off),
                "TLSv1.2" => self.no_12 = off,
                "TLSv1.3" => self.no_13 = off,
                "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {}
                _ => return None,
            }
        }
        Some(())
    }

    /// `SessionTicket,-ServerPreference`
    fn options(&mut self, given: &str) -> Option<()> {
        for word in given.split(',').map(str::trim) {
            let on = !word.starts_with('-');
            let name = word.trim_start_matches(['+', '-']);
            if name.eq_ignore_ascii_case("SessionTicket") {
                self.tickets = Some(on);
            } else if name.eq_ignore_ascii_case("ServerPreference") {
                self.prefer_server = Some(on);
            } else if name.eq_ignore_ascii_case("PrioritizeChaCha") {
                self.chacha = Some(on);
            } else if !OPTIONS.iter().any(|it| it.eq_ignore_ascii_case(name)) {
                return None;
            }
        }
        Some(())
    }

    pub(super) fn allows(&self, version: ProtocolVersion) -> bool {
        !(if version == ProtocolVersion::TLSv1_3 { self.no_13 } else { self.no_12 })
    }
}

/// The minor number of a version of TLS; SSL 3 and `None` come before the first.
fn version(text: &str) -> Option<u32> {
    match text {
        "None" | "SSLv3" | "TLSv1" => Some(0),
        "TLSv1.1" => Some(1),
        "TLSv1.2" => Some(2),
        "TLSv1.3" => Some(3),
        _ => None,
    }
}
