//! A `server` line: its parameters as words, and the lines of a `state` file.

use std::fmt::Write;
use std::sync::Arc;

use foregate_conf::value;

use crate::address::Address;
use crate::group::{Resolve, Server};
use crate::resolvers::Resolvers;

/// The port of a server that names none.
pub const PORT: u16 = 80;
/// nginx's longest `route`: that of an MD5 in hexadecimal.
pub const ROUTE_CHARS_MAX: usize = 32;

/// Why a parameter cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    Unknown,
    Value,
    RouteEmpty,
    RouteLong,
}

/// Whether a text can stand as a word in the line of a `state` file, whoever reads it.
pub fn is_word(text: &str) -> bool {
    let breaks = |it: char| it.is_whitespace() || it.is_control() || ";{}\"'\\".contains(it);
    !text.is_empty() && !text.contains(breaks)
}

impl Server {
    /// Sets a parameter by its name. What is written without a value is set by `None`.
    ///
    /// # Errors
    /// There is no such parameter, or it cannot have this value.
    pub fn set(&mut self, name: &str, given: Option<&str>) -> Result<(), Unfit> {
        let number = |given| value::number(given).and_then(|it| u32::try_from(it).ok()).ok_or(Unfit::Value);
        let seconds = |given| value::time_s(given).ok_or(Unfit::Value);
        match (name, given) {
            ("weight", Some(given)) => {
                self.weight = Some(number(given)?).filter(|it| *it > 0).ok_or(Unfit::Value)?;
            }
            ("max_conns", Some(given)) => self.max_conns = number(given)?,
            ("max_fails", Some(given)) => self.max_fails = number(given)?,
            ("fail_timeout", Some(given)) => self.fail_timeout_s = seconds(given)?,
            ("slow_start", Some(given)) => self.slow_start_ms = seconds(given)?.saturating_mul(1000),
            ("backup", None) => self.backup = true,
            ("down", None) => self.down = true,
            ("drain", None) => self.drain = true,
            ("route", Some("")) => return Err(Unfit::RouteEmpty),
            ("route", Some(route)) if route.len() > ROUTE_CHARS_MAX => return Err(Unfit::RouteLong),
            ("route", Some(route)) => self.route = Some(route.to_owned()),
            _ => return Err(Unfit::Unknown),
        }
        Ok(())
    }

    /// The line of a `state` file that makes this server again.
    pub(crate) fn line(&self) -> String {
        let parameters = self.parameters();
        let blank = if parameters.is_empty() { "" } else { " " };
        format!("server {}{blank}{parameters};\n", self.written)
    }

    /// What its line says besides the address, as far as it is not what holds anyway.
    pub fn parameters(&self) -> String {
        let mut line = String::new();
        let mut put = |wanted: bool, text: std::fmt::Arguments<'_>| {
            if wanted {
                let blank = if line.is_empty() { "" } else { " " };
                _ = write!(line, "{blank}{text}");
            }
        };
        put(self.weight != 1, format_args!("weight={}", self.weight));
        put(self.max_conns != 0, format_args!("max_conns={}", self.max_conns));
        put(self.max_fails != 1, format_args!("max_fails={}", self.max_fails));
        put(self.fail_timeout_s != 10, format_args!("fail_timeout={}s", self.fail_timeout_s));
        put(self.slow_start_ms != 0, format_args!("slow_start={}s", self.slow_start_ms / 1000));
        let route = self.route.as_deref().unwrap_or_default();
        put(!route.is_empty(), format_args!("route={route}"));
        put(self.backup, format_args!("backup"));
        put(self.down, format_args!("down"));
        put(self.drain, format_args!("drain"));
        put(self.resolve.is_some(), format_args!("resolve"));
        let service = self.service().unwrap_or_default();
        put(!service.is_empty(), format_args!("service={service}"));
        line
    }

    /// Reads a line of a `state` file, without its `;`. Names are asked of these name servers.
    fn from_line(line: &str, resolver: Option<&Arc<Resolvers>>) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let written = words.next().filter(|it| *it == "server").and_then(|_| words.next())?;
        let mut server = Self::new(&Address::parse(written, PORT, false).ok()?, written);
        let (mut resolves, mut service) = (false, None);
        for word in words {
            match word.split_once('=') {
                None if word == "resolve" => resolves = true,
                Some(("service", name)) => service = Some(name.to_owned()),
                Some((name, given)) => server.set(name, Some(given)).ok()?,
                None => server.set(word, None).ok()?,
            }
        }
        if resolves && server.is_named() {
            server.resolve = Some(Resolve { resolver: resolver?.clone(), service });
        }
        Some(server)
    }

    /// Reads a `state` file.
    ///
    /// # Errors
    /// The number of the line that cannot be read.
    pub fn from_state(text: &str, resolver: Option<&Arc<Resolvers>>) -> Result<Vec<Self>, usize> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|(at, line)| {
                let line = line.strip_suffix(';').ok_or(at + 1)?;
                Self::from_line(line, resolver).ok_or(at + 1)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_is_read_as_it_was_written() {
        let text = "server 127.0.0.1:81 weight=5 max_conns=3 max_fails=0 fail_timeout=5s slow_start=30s route=a \
                    backup down drain;\nserver unix:/s;\n";
        let servers = Server::from_state(text, None).expect("because all lines are sound");
        let again: String = servers.iter().map(Server::line).collect();
        assert_eq!(again, text);
        let words = ["a", "unix:/a-b", "a b", "a;", "a\nb", "a\u{0b}b", "", "{a}"].map(is_word);
        assert_eq!(words, [true, true, false, false, false, false, false, false]);
        assert_eq!(Server::from_state("\n# none\nserver a:0;", None).err(), Some(3));
        assert_eq!(Server::from_state("server a weight=0;", None).err(), Some(1));
        assert_eq!(Server::from_state("server a resolve;", None).err(), Some(1));
    }
}
