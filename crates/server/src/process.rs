//! What master and worker both know about processes: the user to become, and how a socket is called.

use std::io;

use foregate_net::{Addr, process, sys};

/// The user whose rights the worker has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Who the worker is when nothing is said and the master is root: nginx's default.
const NOBODY: &str = "nobody";

impl User {
    /// Finds the ids of `user name [group]`; without a group, nginx takes the one called as the user.
    pub fn find(named: Option<&(String, Option<String>)>) -> Result<Self, String> {
        let name = named.map_or(NOBODY, |(name, _)| name);
        let (uid, primary) = found("getpwnam", name, sys::user_ids(name))?;
        let gid = match named {
            Some((_, group)) => {
                let group = group.as_deref().unwrap_or(name);
                found("getgrnam", group, sys::group_id(group))?
            }
            None => primary,
        };
        Ok(Self { name: name.to_owned(), uid, gid })
    }

    /// Becomes this user for good; does nothing where the process is it already. `raw_sockets`: it may go on to bind
    /// sockets to other people's addresses.
    pub fn assume(&self, raw_sockets: bool) -> io::Result<()> {
        let keeps = raw_sockets && self.uid != 0;
        if keeps {
            process::keep_rights()?;
        }
        sys::become_user(&self.name, self.uid, self.gid)?;
        if keeps { process::keep_raw_sockets() } else { Ok(()) }
    }
}

fn found<T>(call: &str, name: &str, answer: io::Result<Option<T>>) -> Result<T, String> {
    match answer {
        Ok(Some(ids)) => Ok(ids),
        Ok(None) => Err(format!("{call}(\"{name}\") failed")),
        Err(error) => Err(format!("{call}(\"{name}\") failed ({})", sys::errno_text(&error))),
    }
}

/// The name of a listening socket, by which a reload finds it again.
pub fn socket_name(addr: &Addr) -> String {
    addr.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_own_group_or_the_one_named() {
        let named = |user: &str, group: Option<&str>| User::find(Some(&(user.into(), group.map(Into::into))));
        let root = User { name: "root".into(), uid: 0, gid: 0 };
        assert_eq!(named("root", None), Ok(root.clone()));
        assert_eq!(named("root", Some("root")), Ok(root));
        assert_eq!(named("nobody.", None), Err("getpwnam(\"nobody.\") failed".into()));
        assert_eq!(named("root", Some("nogroup.")), Err("getgrnam(\"nogroup.\") failed".into()));
    }
}
