//! An answer's head out of its block, as HTTP/1.1 would say it: what reads heads need not know how they came.

use super::Fault;
use crate::fields::Fields;
use crate::h2::hpack::{Field, Pseudo, Shape};
use crate::name::{Name, NameSet};
use crate::status;

/// Fields that are about an HTTP/1 connection: none may send them here (RFC 9113, section 8.2.2).
pub const FOREIGN: NameSet = NameSet::of(&[
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyConnection,
    Name::TransferEncoding,
    Name::Upgrade,
]);

/// Fields while they come out of a block: an answer's, or trailers.
pub(super) struct Reader {
    /// What names and values may still have, bytes.
    left: usize,
    of_trailers: bool,
    status: Option<u16>,
    text: Vec<u8>,
    trailers: Fields,
    fault: Option<Fault>,
}

impl Reader {
    pub(super) fn new(bytes_max: usize, of_trailers: bool) -> Self {
        Self {
            left: bytes_max,
            of_trailers,
            status: None,
            text: Vec::new(),
            trailers: Fields::new(),
            fault: None,
        }
    }

    pub(super) fn take(&mut self, field: Field<'_>) {
        if self.fault.is_none()
            && let Err(fault) = self.judge(field)
        {
            self.fault = Some(fault);
        }
    }

    fn judge(&mut self, field: Field<'_>) -> Result<(), Fault> {
        let bytes = field.name.len() + field.value.len();
        let Some(left) = self.left.checked_sub(bytes) else {
            return Err(Fault::new("upstream sent too large http2 header"));
        };
        self.left = left;
        if !field.is_clean || field.shape == Shape::Invalid {
            return Err(invalid("header", field));
        }
        match field.shape {
            Shape::Pseudo(_) if self.of_trailers => Err(invalid("trailer", field)),
            Shape::Pseudo(Pseudo::Status) => self.status(field.value),
            Shape::Pseudo(_) => Err(invalid("header", field)),
            _ if self.of_trailers => {
                self.trailers.push_known(field.known, field.name, field.value);
                Ok(())
            }
            _ if self.status.is_none() => Err(Fault::new("upstream sent no :status header")),
            _ if FOREIGN.has(field.known) => Ok(()),
            _ => {
                self.text.extend_from_slice(field.name);
                self.text.extend_from_slice(b": ");
                self.text.extend_from_slice(field.value);
                self.text.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }

    fn status(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.status.is_some() {
            return Err(Fault::new("upstream sent duplicate :status header"));
        }
        let said = || String::from_utf8_lossy(value);
        let &[a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = value else {
            return Err(Fault::new(format!("upstream sent invalid :status \"{}\"", said())));
        };
        let code = [a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if code < 100 || code == 101 {
            return Err(Fault::new(format!("upstream sent unexpected :status \"{}\"", said())));
        }
        self.status = Some(code);
        self.text.extend_from_slice(b"HTTP/1.1 ");
        self.text.extend_from_slice(value);
        self.text.push(b' ');
        self.text.extend_from_slice(status::reason(code).unwrap_or_default().as_bytes());
        self.text.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// The status, and the head as text.
    pub(super) fn head(self) -> Result<(u16, Vec<u8>), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let Some(code) = self.status else { return Err(Fault::new("upstream sent no :status header")) };
        let mut text = self.text;
        text.extend_from_slice(b"\r\n");
        Ok((code, text))
    }

    pub(super) fn trailers(self) -> Result<Fields, Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(self.trailers),
        }
    }
}

fn invalid(what: &str, field: Field<'_>) -> Fault {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Fault::new(format!("upstream sent invalid {what}: \"{}: {}\"", text(field.name), text(field.value)))
}
