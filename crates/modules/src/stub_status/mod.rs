//! `stub_status`: how many connections and requests there are, in the form that monitoring reads.

use std::ops::ControlFlow::{Break, Continue};

use foregate_conf::{Error, Node};
use foregate_core::stats::{Count, total};
use foregate_core::{Args, Compile, Directive, Exchange, Flow, Method, Reply, Scope, Stop, Variable, push_number};
use foregate_wire::Buf;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    on: bool,
}

pub struct Settings;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[Directive::own(
        "stub_status",
        Scope::SERVER.or(Scope::LOCATION),
        Args::Between(0, 1),
        read,
        |_, _| (),
    )];

    const VARIABLES: &'static [Variable] = &[
        Variable::new("connections_active", |_, out| push(Count::Active, out)),
        Variable::new("connections_reading", |_, out| push(Count::Reading, out)),
        Variable::new("connections_writing", |_, out| push(Count::Writing, out)),
        Variable::new("connections_waiting", |_, out| push(Count::Waiting, out)),
    ];

    fn inherit_handler(options: &mut Options, outer: &Options) {
        options.on |= outer.on;
    }

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        Ok(options.on.then_some(Settings))
    }
}

/// The argument that old configurations have means nothing.
fn read(o: &mut Options, _: &Node, _: Scope) -> Result<(), Error> {
    o.on = true;
    Ok(())
}

fn push(count: Count, out: &mut Vec<u8>) -> bool {
    push_number(total(count), out);
    true
}

/// Content phase.
pub fn serve(_: &Settings, ex: &mut Exchange) -> Flow<Reply> {
    if !matches!(ex.method, Method::Get | Method::Head) {
        return Break(Stop::status(405));
    }
    let text = format!(
        "Active connections: {} \nserver accepts handled requests\n {} {} {} \nReading: {} Writing: {} Waiting: {} \n",
        total(Count::Active),
        total(Count::Accepted),
        total(Count::Handled),
        total(Count::Requests),
        total(Count::Reading),
        total(Count::Writing),
        total(Count::Waiting),
    );
    Continue(Reply::bytes(200, b"text/plain", Buf::from_vec(text.into_bytes())))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow::{Break, Continue};

    use foregate_core::{Body, Stop};

    use super::serve;
    use crate::testing::{Site, value};

    fn check(conf: &str, request: &str) -> Result<String, u16> {
        let site = Site::new(conf);
        let mut ex = site.exchange(request);
        match serve(site.settings().stub_status.as_ref().unwrap(), &mut ex) {
            Continue(reply) => match reply.body {
                Body::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                _ => panic!("a body"),
            },
            Break(Stop::Reply(reply)) => Err(reply.status),
            Break(_) => panic!("a status"),
        }
    }

    #[test]
    fn the_text_is_nginxs() {
        let expected = "Active connections: 0 \nserver accepts handled requests\n 0 0 0 \n\
                        Reading: 0 Writing: 0 Waiting: 0 \n";
        for conf in ["stub_status;", "stub_status on;"] {
            assert_eq!(check(&format!("server {{ location / {{ {conf} }} }}"), "GET /").as_deref(), Ok(expected));
        }
        assert_eq!(check("server { stub_status; }", "POST /"), Err(405));
        assert!(Site::new("server { stub_status; location / {} }").settings().stub_status.is_none());
        assert_eq!(value("", "GET /", "$connections_active $connections_waiting"), "0 0");
    }
}
