//! The short frames that steer a connection and its stream (RFC 9113, section 6.3 to 6.9).

use super::receive::{closed, unexpected};
use super::{Client, Fault, Stage};
use crate::h2::flood::Nuisance;
use crate::h2::frame::{self, Head as FrameHead};
use crate::h2::{Code, STREAM_MAX, WINDOW_MAX};

impl Client {
    /// Any frame that carries neither data nor a head.
    pub(super) fn control(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        match head.kind {
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            frame::RST_STREAM => self.rst_stream(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            frame::PING => self.ping(head, payload),
            frame::GOAWAY => self.goaway(head, payload),
            frame::PUSH_PROMISE => Err(Fault::new("upstream sent unexpected push promise frame")),
            _ => Ok(self.flood.count(Nuisance::Priority)?),
        }
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        let Ok(increment) = <[u8; 4]>::try_from(payload) else {
            return Err(length("window update", payload));
        };
        self.flood.count(Nuisance::Update)?;
        let increment = i64::from(u32::from_be_bytes(increment) & WINDOW_MAX);
        if increment == 0 {
            return Err(Fault::new("upstream sent zero window update"));
        }
        let window = if head.stream == 0 { &mut self.send_window } else { &mut self.stream_window };
        if *window + increment > WINDOW_MAX.into() {
            return Err(Fault::new("upstream sent too large window update"));
        }
        *window += increment;
        Ok(())
    }

    /// Behind the end of its answer a peer may say that it wants no more of the request, once.
    fn rst_stream(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.stream == 0 {
            return Err(unexpected(head));
        }
        let Ok(code) = <[u8; 4]>::try_from(payload) else { return Err(length("rst stream", payload)) };
        let code = u32::from_be_bytes(code);
        if code != 0 || self.stage != Stage::Over {
            self.was_refused = Code(code) == Code::REFUSED_STREAM && self.stage == Stage::Head;
            return Err(Fault::new(format!("upstream rejected request with error {code}")));
        }
        if std::mem::replace(&mut self.was_reset, true) {
            return Err(closed(head));
        }
        Ok(())
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(stream("settings", head));
        }
        if head.has(frame::ACK) {
            return match payload {
                [] => Ok(()),
                _ => {
                    let n = payload.len();
                    let text = format!("upstream sent settings frame with ack flag and non-zero length: {n}");
                    Err(Fault::new(text))
                }
            };
        }
        let (all, rest) = payload.as_chunks::<{ frame::SETTING_BYTES }>();
        if !rest.is_empty() {
            return Err(length("settings", payload));
        }
        self.flood
            .count(Nuisance::Settings)
            .map_err(|_| Fault::new("upstream sent too many settings frames"))?;
        for &[a, b, value @ ..] in all {
            self.setting(u16::from_be_bytes([a, b]), u32::from_be_bytes(value))?;
        }
        frame::push_settings_ack(&mut self.out.bytes);
        Ok(())
    }

    fn setting(&mut self, name: u16, value: u32) -> Result<(), Fault> {
        match name {
            frame::HEADER_TABLE_SIZE => self.encoder.allow(value as usize),
            frame::INITIAL_WINDOW_SIZE => {
                let change = i64::from(value) - self.window_first;
                let max = i64::from(WINDOW_MAX);
                if i64::from(value) > max || self.stream_window + change > max {
                    let text =
                        format!("upstream sent settings frame with too large initial window size: {value}");
                    return Err(Fault::new(text));
                }
                self.window_first += change;
                self.stream_window += change;
            }
            // Frames of the least size that everybody takes are all we send.
            _ => {}
        }
        Ok(())
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(stream("ping", head));
        }
        let Ok(payload) = <[u8; 8]>::try_from(payload) else { return Err(length("ping", payload)) };
        if head.has(frame::ACK) {
            return Err(Fault::new("upstream sent ping frame with ack flag"));
        }
        self.flood.count(Nuisance::Ping).map_err(|_| Fault::new("upstream sent too many ping frames"))?;
        frame::push_ping(frame::ACK, payload, &mut self.out.bytes);
        Ok(())
    }

    /// A request with a larger number than the last will not be served here.
    fn goaway(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.stream != 0 {
            return Err(stream("goaway", head));
        }
        let Some((&[last, code], _)) = payload.as_chunks::<4>().0.split_first_chunk::<2>() else {
            return Err(length("goaway", payload));
        };
        self.flood.count(Nuisance::Settings)?;
        self.going_away = true;
        let is_open = matches!(self.stage, Stage::Head | Stage::Body) || self.over_untold;
        if is_open && u32::from_be_bytes(last) & STREAM_MAX < self.id {
            let code = u32::from_be_bytes(code);
            self.was_refused = Code(code) == Code::NO_ERROR && self.stage == Stage::Head;
            return Err(Fault::new(format!("upstream sent goaway with error {code}")));
        }
        Ok(())
    }
}

fn length(kind: &str, payload: &[u8]) -> Fault {
    Fault::new(format!("upstream sent {kind} frame with invalid length: {}", payload.len()))
}

fn stream(kind: &str, head: FrameHead) -> Fault {
    Fault::new(format!("upstream sent {kind} frame with non-zero stream id: {}", head.stream))
}
