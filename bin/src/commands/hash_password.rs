//! `foregate hash-password`: a line for a password file, so that nobody needs htpasswd.

use std::ffi::OsString;
use std::process::ExitCode;

use foregate_modules::auth_basic::Algorithm;
use foregate_net::terminal;

use super::{Arg, Args, unknown};

/// Costs that bcrypt knows; more than twice the usual ones would keep a core busy for seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, String> {
    let (mut algorithm, mut cost, mut user) = (None, None, None);
    let mut args = Args::new(args);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Flag(name) if name == "algorithm" => {
                let value = args.value(&name)?;
                let found = Algorithm::named(&value);
                algorithm =
                    Some(found.ok_or_else(|| {
                        format!("unknown algorithm \"{value}\", one of: {}", Algorithm::NAMES)
                    })?);
            }
            Arg::Flag(name) if name == "cost" => {
                let value = args.value(&name)?;
                let found = value.parse().ok().filter(|it| COSTS.contains(it));
                cost = Some(found.ok_or_else(|| {
                    format!("the cost is a number from {} to {}", COSTS.start(), COSTS.end())
                })?);
            }
            Arg::Plain(name) if user.is_none() => {
                if name.is_empty() || name.starts_with('#') || name.contains([':', '\n', '\r']) {
                    return Err("a user's name must not be empty, begin with \"#\" or hold \":\"".into());
                }
                user = Some(name);
            }
            other => return Err(unknown(&other)),
        }
    }
    let algorithm = match (algorithm, cost) {
        (None | Some(Algorithm::Bcrypt { .. }), Some(cost)) => Algorithm::Bcrypt { cost },
        (Some(_), Some(_)) => return Err("only bcrypt has a cost".into()),
        (chosen, None) => {
            chosen.unwrap_or(Algorithm::Bcrypt { cost: foregate_modules::auth_basic::BCRYPT_COST })
        }
    };
    let hash = algorithm.hash(password()?.as_bytes())?;
    match user {
        Some(user) => println!("{user}:{hash}"),
        None => println!("{hash}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// From a terminal twice, since it does not show; from a pipe one line.
fn password() -> Result<String, String> {
    let ask = |question| {
        terminal::ask_secretly(question).map_err(|why| format!("the password cannot be read: {why}"))
    };
    let password = ask("Password: ")?;
    if password.is_empty() {
        return Err("an empty password protects nothing".into());
    }
    if terminal::is_terminal() && ask("Once more: ")? != password {
        return Err("the two passwords differ".into());
    }
    Ok(password)
}
