//! Sites as their projects publish them: the directives and the order of each, with stand-ins for the applications.

mod discourse;
mod gitlab;
mod grafana;
mod h5bp;
mod mastodon;
mod nextcloud;
mod single_page;
mod wordpress;

use foregate_testkit::{Act, Application, Backend, Reply, Seen};

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

/// Stands for PHP: says which script it was asked for and how, and those of `params` that it was told.
fn php(params: &'static [&'static str]) -> Application {
    Application::new(move |asked| {
        let told = params.iter().map(|name| (name, asked.param(name))).filter(|it| !it.1.is_empty());
        let told: String = told.map(|(name, value)| format!(" {name}={value}")).collect();
        let query = asked.param("QUERY_STRING");
        let mark = if query.is_empty() { "" } else { "?" };
        let (method, script) = (asked.param("REQUEST_METHOD"), asked.param("SCRIPT_NAME"));
        Act::answer(format!(
            "X-Powered-By: PHP\r\nContent-Type: text/html\r\n\r\nphp {method} {script}{mark}{query}{told}"
        ))
    })
}
