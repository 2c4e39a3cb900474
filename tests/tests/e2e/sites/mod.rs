//! Sites as their projects publish them: the directives and the order of each, with stand-ins for the applications.

mod discourse;
mod gitlab;
mod grafana;
mod h5bp;
mod mastodon;
mod nextcloud;
mod single_page;
mod wordpress;

use foregate_testkit::{Backend, Reply, Seen};

/// Stands for an application: says its name, the method and target it saw, and those of `fields` that it got.
fn application(name: &'static str, fields: &'static [&'static str]) -> Backend {
    Backend::new(move |seen: &Seen| answer(name, fields, seen))
}

/// [`application`] behind a unix socket, as Ruby's servers listen.
fn application_on_a_socket(name: &'static str, fields: &'static [&'static str]) -> Backend {
    Backend::unix(move |seen: &Seen| answer(name, fields, seen))
}

fn answer(name: &str, fields: &[&str], seen: &Seen) -> Reply {
    if let Some(protocol) = seen.header("Upgrade") {
        return Reply::upgrade(protocol);
    }
    let got = |field: &&str| seen.header(field).map(|value| format!(" {field}={value}"));
    let fields: String = fields.iter().filter_map(got).collect();
    Reply::ok(format!("{name} {} {}{fields}", seen.method, seen.target))
}
