//! `server ADDRESS [parameters]` inside of an `upstream` block.

use foregate_conf::{Error, Node, Word, value};
use foregate_core::Scope;
use foregate_upstream::{Address, Server};

use super::{Options, invalid};

/// The port of a server that names none.
const PORT: u16 = 80;

pub(super) fn read(o: &mut Options, node: &Node, _: Scope) -> Result<(), Error> {
    let written = &node.args[0];
    let address = Address::parse(written, PORT, false)
        .map_err(|why| Error::at(written.span, format!("{why} in upstream \"{written}\"")))?;
    let mut server = Server::new(&address, written);
    for word in &node.args[1..] {
        parameter(&mut server, word, o.forbids_backup())?;
    }
    o.servers.push(server);
    Ok(())
}

fn parameter(server: &mut Server, word: &Word, forbids_backup: bool) -> Result<(), Error> {
    let (name, given) = match word.split_once('=') {
        Some((name, given)) => (name, Some(given)),
        None => (word.text.as_str(), None),
    };
    let number = |given: &str| {
        let number = value::number(given).and_then(|it| u32::try_from(it).ok());
        number.ok_or_else(|| invalid(word))
    };
    match (name, given) {
        ("weight", Some(given)) => {
            server.weight = number(given)?;
            if server.weight == 0 {
                return Err(invalid(word));
            }
        }
        ("max_conns", Some(given)) => server.max_conns = number(given)?,
        ("max_fails", Some(given)) => server.max_fails = number(given)?,
        ("fail_timeout", Some(given)) => {
            server.fail_timeout_s = value::time_s(given).ok_or_else(|| invalid(word))?;
        }
        ("backup", None) if forbids_backup => {
            let what = format!("balancing method does not support parameter \"{word}\"");
            return Err(Error::at(word.span, what));
        }
        ("backup", None) => server.backup = true,
        ("down", None) => server.down = true,
        // Names are looked up again anyway.
        ("resolve", None) => {}
        ("service" | "route" | "slow_start", Some(_)) | ("drain", None) => {
            let what = format!("parameter \"{word}\" is not supported yet");
            return Err(Error::at(word.span, what));
        }
        _ => return Err(invalid(word)),
    }
    Ok(())
}
