//! The porter process: opens files and runs programs that the configuration names, for a worker that may not.
//!
//! It is of the worker's user, and knows no socket but its three channels: from the master it hears what is named, and
//! at two doors the worker asks. It ends with the worker.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use foregate_net::channel::{Channel, Packet};
use foregate_net::door::{self, Named};
use foregate_net::process::{set_name, wait_readable};
use foregate_net::signals::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, Signals};
use foregate_net::{confine, sys};

use crate::process::User;

/// Names the descriptors of the porter's ends: the master's, the door to files, the door to programs.
pub const PORTER: &str = "FOREGATE_PORTER";

/// What a terminal or `kill` sends to all of us: the porter ends with the worker, not before.
const SIGNALS: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// Whether this process was started to be a porter.
pub fn is_wanted() -> bool {
    std::env::var_os(PORTER).is_some()
}

/// What the master says: what is named now, and first of all, as whom to serve.
#[derive(Debug)]
pub struct Orders {
    pub user: Option<User>,
    pub named: Named,
}

impl Orders {
    pub fn into_packet(self) -> Packet {
        let user = self.user.map_or_else(String::new, |it| format!("{} {} {}", it.uid, it.gid, it.name));
        let body = [user.as_bytes(), b"\n", &self.named.to_bytes()].concat();
        Packet { body, ..Packet::default() }
    }

    fn from_packet(packet: &Packet) -> Option<Self> {
        let end = packet.body.iter().position(|byte| *byte == b'\n')?;
        let (user, named) = packet.body.split_at(end);
        let mut words = std::str::from_utf8(user).ok()?.splitn(3, ' ');
        let user = match words.next()? {
            "" => None,
            uid => Some(User {
                uid: uid.parse().ok()?,
                gid: words.next()?.parse().ok()?,
                name: words.next()?.to_owned(),
            }),
        };
        Some(Self { user, named: Named::from_bytes(&named[1..]) })
    }
}

/// The porter process, from its first order to its worker's end.
pub fn main() -> ExitCode {
    set_name(c"foregate");
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("porter process {} cannot begin: {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}

fn begin() -> io::Result<()> {
    // Never read: whoever wants it to end ends the worker.
    let _signals = Signals::block(&SIGNALS)?;
    let invalid = || io::Error::other("it was not started by a master");
    let text = std::env::var(PORTER).map_err(|_| invalid())?;
    let fds = text.split(',').map(|it| sys::inherit(it.parse().map_err(|_| invalid())?));
    let fds: Vec<OwnedFd> = fds.collect::<io::Result<_>>()?;
    let [master, files, programs] =
        <[Channel; 3]>::try_from(fds.into_iter().map(Channel::from_fd).collect::<Vec<_>>())
            .map_err(|_| invalid())?;
    let first = master.receive()?.as_ref().and_then(Orders::from_packet).ok_or_else(invalid)?;
    if let Some(user) = &first.user {
        user.assume(false)?;
    }
    confine::close()?;
    if first.named.programs.is_empty() {
        // An older kernel leaves it as it is: it writes nothing anyway.
        _ = confine::deny_writing();
    }
    let desk = Arc::new(Desk { master, named: Mutex::new(first.named) });
    let (for_programs, for_master) = (desk.clone(), desk.clone());
    thread::Builder::new()
        .name("programs".into())
        .spawn(move || door::serve(&programs, &|| for_programs.named()))?;
    thread::Builder::new().name("master".into()).spawn(move || for_master.listen())?;
    door::serve(&files, &|| desk.named());
    Ok(())
}

/// Where the master's orders come in.
struct Desk {
    master: Channel,
    named: Mutex<Named>,
}

impl Desk {
    /// What is named now. The master tells us of a configuration before it tells the worker: a question is judged by
    /// all that was said before it.
    fn named(&self) -> Named {
        // If the master is gone, what it said last holds.
        self.hear();
        self.lock().clone()
    }

    /// Takes in what the master has said; `false`: it is gone.
    fn hear(&self) -> bool {
        let mut named = self.lock();
        while matches!(wait_readable([Some(self.master.as_fd())], Some(Duration::ZERO)), Ok([true])) {
            let Ok(Some(packet)) = self.master.receive() else { return false };
            if let Some(orders) = Orders::from_packet(&packet) {
                *named = orders.named;
            }
        }
        true
    }

    /// Takes in all that the master says, until it is gone. The master must not be kept waiting where nobody asks.
    fn listen(&self) {
        while wait_readable([Some(self.master.as_fd())], None).is_ok() && self.hear() {}
    }

    fn lock(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_as_they_were_sent() {
        let named = Named { paths: vec!["/a b".into()], programs: vec!["/x".into()] };
        for user in [None, Some(User { name: "www data".into(), uid: 3, gid: 4 })] {
            let sent = Orders { user: user.clone(), named: named.clone() };
            let found = Orders::from_packet(&sent.into_packet()).unwrap();
            assert_eq!((found.user, found.named), (user, named.clone()));
        }
    }

    #[test]
    fn a_question_is_judged_by_all_that_was_said_before_it() {
        let (ours, theirs) = Channel::pair().unwrap();
        let named = |path: &str| Named { paths: vec![path.into()], programs: Vec::new() };
        let desk = Desk { master: theirs, named: Mutex::new(named("/first")) };
        assert_eq!(desk.named(), named("/first"));
        for path in ["/second", "/third"] {
            ours.send(Orders { user: None, named: named(path) }.into_packet()).unwrap();
        }
        assert_eq!(desk.named(), named("/third"));
        drop(ours);
        assert_eq!(desk.named(), named("/third"));
        assert!(!desk.hear());
    }
}
