//! The short frames that steer a connection and its streams (RFC 9113, section 6.3 to 6.9).

use super::flood::Nuisance;
use super::frame::{self, Head as FrameHead};
use super::mux::{Event, Mux, SHUTDOWN_PING};
use super::{Code, FRAME_BYTES, Fault, Priority, STREAM_MAX, WINDOW_MAX};

impl Mux {
    /// Any frame that carries neither data nor a head.
    pub(super) fn control(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        match head.kind {
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            frame::RST_STREAM => self.rst_stream(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            frame::PING => self.ping(head, payload),
            frame::PRIORITY => self.priority_frame(head, payload),
            frame::PRIORITY_UPDATE => self.priority_update(head, payload),
            frame::GOAWAY => self.goaway_frame(head, payload),
            _ => Ok(None),
        }
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let Ok(increment) = <[u8; 4]>::try_from(payload) else {
            return Err(Fault::length("WINDOW_UPDATE", payload.len()));
        };
        let increment = i64::from(u32::from_be_bytes(increment) & WINDOW_MAX);
        self.flood.count(Nuisance::Update)?;
        if head.stream == 0 {
            if increment == 0 {
                return Err(Fault::protocol(
                    "client sent WINDOW_UPDATE frame with incorrect window increment 0",
                ));
            }
            let window = self.send_window + increment;
            if window > WINDOW_MAX.into() {
                return Err(overflow("connection flow control", increment, self.send_window));
            }
            let was_shut = self.send_window <= 0;
            self.send_window = window;
            return Ok(was_shut.then_some(Event::Window { place: None }));
        }
        if self.is_idle(head.stream) {
            return Err(Fault::protocol("client sent WINDOW_UPDATE frame for a stream that is idle"));
        }
        let Some(place) = self.streams.find(head.stream) else { return Ok(None) };
        let Some(stream) = self.streams.get_mut(place) else { return Ok(None) };
        let window = stream.send_window + increment;
        if increment == 0 {
            return Ok(Some(self.break_stream(place, Code::PROTOCOL_ERROR)?));
        }
        if window > WINDOW_MAX.into() {
            return Ok(Some(self.break_stream(place, Code::FLOW_CONTROL_ERROR)?));
        }
        let was_shut = stream.send_window <= 0;
        stream.send_window = window;
        Ok((was_shut && window > 0).then_some(Event::Window { place: Some(place) }))
    }

    fn rst_stream(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let Ok(code) = <[u8; 4]>::try_from(payload) else {
            return Err(Fault::length("RST_STREAM", payload.len()));
        };
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Fault::protocol("client sent RST_STREAM frame with incorrect identifier"));
        }
        let code = Code(u32::from_be_bytes(code));
        let Some(place) = self.streams.find(head.stream) else { return Ok(None) };
        self.flood.count(Nuisance::Reset)?;
        self.remove(place, false);
        Ok(Some(Event::Reset { place, code, by_client: true }))
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        if head.stream != 0 {
            return Err(Fault::protocol("client sent SETTINGS frame with incorrect identifier"));
        }
        if head.has(frame::ACK) {
            let text = "client sent SETTINGS frame with the ACK flag and nonzero length";
            return match payload {
                [] => {
                    self.was_acknowledged = true;
                    Ok(None)
                }
                _ => Err(Fault::new(Code::FRAME_SIZE_ERROR, text)),
            };
        }
        let (all, rest) = payload.as_chunks::<{ frame::SETTING_BYTES }>();
        if !rest.is_empty() {
            return Err(Fault::length("SETTINGS", payload.len()));
        }
        self.flood.count(Nuisance::Settings)?;
        let mut opened = false;
        for &[a, b, value @ ..] in all {
            opened |= self.setting(u16::from_be_bytes([a, b]), u32::from_be_bytes(value))?;
        }
        frame::push_settings_ack(&mut self.out.bytes);
        Ok(opened.then_some(Event::Window { place: None }))
    }

    /// `true`: streams may send more.
    fn setting(&mut self, name: u16, value: u32) -> Result<bool, Fault> {
        let incorrect = |code, what: &str| {
            let text = format!("client sent SETTINGS frame with incorrect {what} value {value}");
            Err(Fault::new(code, text))
        };
        match name {
            frame::HEADER_TABLE_SIZE => self.allow_table(value as usize),
            frame::ENABLE_PUSH if value > 1 => return incorrect(Code::PROTOCOL_ERROR, "ENABLE_PUSH"),
            frame::INITIAL_WINDOW_SIZE if value > WINDOW_MAX => {
                return incorrect(Code::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE");
            }
            frame::INITIAL_WINDOW_SIZE => return self.change_windows(value),
            frame::MAX_FRAME_SIZE => {
                if !(FRAME_BYTES as u32..1 << 24).contains(&value) {
                    return incorrect(Code::PROTOCOL_ERROR, "MAX_FRAME_SIZE");
                }
                self.frame_bytes_max = value as usize;
            }
            _ => {}
        }
        Ok(false)
    }

    /// All streams' windows change by as much as the first one does (section 6.9.2).
    fn change_windows(&mut self, first: u32) -> Result<bool, Fault> {
        let change = i64::from(first) - i64::from(self.send_window_first);
        self.send_window_first = first;
        for stream in self.streams.iter_mut() {
            stream.send_window += change;
            if stream.send_window > WINDOW_MAX.into() {
                return Err(overflow("flow control", change, stream.send_window - change));
            }
        }
        Ok(change > 0)
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(Fault::length("PING", payload.len()));
        };
        if head.stream != 0 {
            return Err(Fault::protocol("client sent PING frame with incorrect identifier"));
        }
        self.flood.count(Nuisance::Ping)?;
        if head.has(frame::ACK) {
            return Ok((payload == SHUTDOWN_PING).then_some(Event::ShutdownSeen));
        }
        frame::push_ping(frame::ACK, payload, &mut self.out.bytes);
        Ok(None)
    }

    fn goaway_frame(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        if payload.len() < 8 {
            return Err(Fault::length("GOAWAY", payload.len()));
        }
        if head.stream != 0 {
            return Err(Fault::protocol("client sent GOAWAY frame with incorrect identifier"));
        }
        self.flood.count(Nuisance::Settings)?;
        Ok(Some(Event::GoAway))
    }

    fn priority_frame(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let [depends @ .., _weight] = payload else { return Err(Fault::length("PRIORITY", 0)) };
        let Ok(depends) = <[u8; 4]>::try_from(depends) else {
            return Err(Fault::length("PRIORITY", payload.len()));
        };
        if head.stream == 0 {
            return Err(Fault::protocol("client sent PRIORITY frame with incorrect identifier"));
        }
        self.flood.count(Nuisance::Priority)?;
        if u32::from_be_bytes(depends) & STREAM_MAX != head.stream {
            return Ok(None);
        }
        let text = format!("client sent PRIORITY frame for stream {} with incorrect dependency", head.stream);
        Err(Fault::new(Code::PROTOCOL_ERROR, text))
    }

    /// RFC 9218, section 7.1.
    fn priority_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let Some((stream, text)) = payload.split_first_chunk::<4>() else {
            return Err(Fault::length("PRIORITY_UPDATE", payload.len()));
        };
        if head.stream != 0 {
            return Err(Fault::protocol("client sent PRIORITY_UPDATE frame with incorrect identifier"));
        }
        self.flood.count(Nuisance::Priority)?;
        let place = self.streams.find(u32::from_be_bytes(*stream) & STREAM_MAX);
        if let Some(stream) = place.and_then(|place| self.streams.get_mut(place)) {
            stream.priority = Priority::read(text);
        }
        Ok(None)
    }
}

fn overflow(what: &str, increment: i64, window: i64) -> Fault {
    let text = format!(
        "client violated {what}: received WINDOW_UPDATE frame with window increment {increment} not allowed for window {window}"
    );
    Fault::new(Code::FLOW_CONTROL_ERROR, text)
}
