//! `auth_basic`: name and password by the Basic scheme (RFC 7617), checked against a file of hashes.

mod des_crypt;
mod hash;
mod make;
mod md5_crypt;
mod memory_hard;
mod sha_crypt;
#[cfg(test)]
mod tests;
mod users;

use std::future::poll_fn;
use std::ops::ControlFlow::{Break, Continue};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;

use foregate_conf::{Error, Word};
use foregate_core::base64::{self, Alphabet};
use foregate_core::{Compile, Directive, Exchange, Flow, Level, Method, Reply, Scope, Stop, Template, log, refusals};
use foregate_net::sys::errno_text;

pub use make::{Algorithm, BCRYPT_COST, fits};

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    realm: Option<Word>,
    user_file: Option<Word>,
}

pub struct Settings {
    realm: Template,
    user_file: Template,
    /// What a relative path of the file starts from.
    conf_prefix: PathBuf,
}

const SCOPE: Scope = Scope::ANY_HTTP.or(Scope::LIMIT_EXCEPT);

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::text("auth_basic", SCOPE, |o| &mut o.realm),
        Directive::text("auth_basic_user_file", SCOPE, |o| &mut o.user_file),
    ];

    fn resolve(options: Options, cx: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let realm = options.realm.map(|it| cx.template(&it)).transpose()?;
        let user_file = options.user_file.map(|it| cx.template(&it)).transpose()?;
        let (Some(realm), Some(user_file)) = (realm, user_file) else { return Ok(None) };
        if realm.as_constant() == Some(b"off") {
            return Ok(None);
        }
        Ok(Some(Settings { realm, user_file, conf_prefix: cx.conf_prefix.to_owned() }))
    }
}

/// Access phase. `true`: the password is right; `false`: none is asked for.
pub async fn check(on: &Settings, ex: &mut Exchange) -> Flow<bool> {
    let realm = on.realm.fill_new(ex);
    if realm == b"off" {
        return Continue(false);
    }
    let Some((user, password)) = credentials(ex) else {
        log!(ex, Level::Info, "no user/password was provided for basic authentication");
        return challenge(&realm, ex);
    };
    let file = on.user_file.fill_new(ex);
    let path = on.conf_prefix.join(Path::new(std::ffi::OsStr::from_bytes(&file)));
    let shown = String::from_utf8_lossy(&user);
    let stored = match users::find(&path, &user) {
        Err(why) => return unreadable(&path, &why, ex),
        Ok(Some(stored)) => stored,
        Ok(None) => {
            log!(ex, Level::Error, "user \"{shown}\" was not found in \"{}\"", path.display());
            return challenge(&realm, ex);
        }
    };
    let Some(verdict) = unless_gone(hash::verify(stored, password), ex).await else {
        return Break(Stop::status(refusals::CLIENT_GONE));
    };
    match verdict {
        Ok(true) => Continue(true),
        Ok(false) => {
            log!(ex, Level::Error, "user \"{shown}\": password mismatch");
            challenge(&realm, ex)
        }
        Err(hash::Undecided::Busy) => {
            log!(ex, Level::Error, "user \"{shown}\": too many passwords wait to be looked at");
            Break(Stop::status(503))
        }
        Err(hash::Undecided::Unknown) => {
            log!(ex, Level::Crit, "crypt_r() failed (22: Invalid argument)");
            Break(Stop::status(500))
        }
    }
}

/// What comes of the work; `None`: the client has gone away meanwhile, and his guess is taken out of the line.
async fn unless_gone<T>(work: impl Future<Output = T>, ex: &Exchange) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => ex.client.poll_gone(cx).map(|()| None),
    })
    .await
}

fn unreadable(path: &Path, why: &std::io::Error, ex: &Exchange) -> Flow<bool> {
    let (level, status) = match why.kind() {
        std::io::ErrorKind::NotFound => (Level::Error, 403),
        _ => (Level::Crit, 500),
    };
    log!(ex, level, "open() \"{}\" failed ({})", path.display(), errno_text(why));
    Break(Stop::status(status))
}

/// Asks for a name and a password.
fn challenge(realm: &[u8], ex: &Exchange) -> Flow<bool> {
    let (status, name): (u16, &[u8]) = match ex.method {
        Method::Connect => (407, b"Proxy-Authenticate"),
        _ => (401, b"WWW-Authenticate"),
    };
    let mut reply = Reply::status(status);
    reply.fields.push(name, &[b"Basic realm=\"", realm, b"\""].concat());
    Break(reply.into())
}

/// Name and password, where the client gave both.
fn credentials(ex: &Exchange) -> Option<(Vec<u8>, Vec<u8>)> {
    const SCHEME: &[u8] = b"Basic ";
    let name: &[u8] =
        if ex.method == Method::Connect { b"proxy-authorization" } else { b"authorization" };
    let (scheme, text) = ex.field(name)?.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let start = text.iter().position(|b| *b != b' ')?;
    let mut user = base64::decode(&text[start..], Alphabet::Standard)?;
    let colon = user.iter().position(|b| *b == b':').filter(|at| *at > 0)?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}
