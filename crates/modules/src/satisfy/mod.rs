//! `satisfy`, `auth_delay`: what the verdicts of the access phase come to.

use std::ops::ControlFlow::{Break, Continue};
use std::time::Duration;

use foregate_conf::Error;
use foregate_core::{Compile, Directive, Exchange, Flow, Level, Scope, Stop, log};
use foregate_net::clock;

pub struct Module;

#[derive(Clone, Default)]
pub struct Options {
    satisfy: Option<usize>,
    auth_delay: Option<Duration>,
}

pub struct Settings {
    /// One module that allows is enough.
    any: bool,
    /// What an unauthorized request has to wait for its answer.
    delay: Duration,
}

const SATISFY: [&str; 2] = ["all", "any"];
const ANY: usize = 1;

impl foregate_core::Module for Module {
    type Options = Options;
    type Settings = Settings;

    const DIRECTIVES: &'static [Directive<Options>] = &[
        Directive::choice("satisfy", Scope::ANY_HTTP, &SATISFY, |o| &mut o.satisfy),
        Directive::time("auth_delay", Scope::ANY_HTTP, |o| &mut o.auth_delay),
    ];

    fn resolve(options: Options, _: &mut Compile<'_>) -> Result<Option<Settings>, Error> {
        let any = options.satisfy == Some(ANY);
        let delay = options.auth_delay.unwrap_or_default();
        Ok((any || !delay.is_zero()).then_some(Settings { any, delay }))
    }
}

/// What the modules of the access phase have said so far.
pub struct Verdict<'a> {
    on: Option<&'a Settings>,
    allowed: bool,
    refusal: Option<Stop>,
    /// The refusal stands, whatever others may say.
    last: bool,
}

impl<'a> Verdict<'a> {
    pub fn new(on: Option<&'a Settings>) -> Self {
        Self { on, allowed: false, refusal: None, last: false }
    }

    /// One module that allows is enough.
    pub fn any(&self) -> bool {
        self.on.is_some_and(|on| on.any)
    }

    /// Whether further modules are to be asked.
    pub fn open(&self) -> bool {
        !(self.last || self.any() && self.allowed)
    }

    /// Takes one module's word: `true`: allowed; `false`: it has nothing to say.
    pub fn hear(&mut self, said: Flow<bool>) {
        match said {
            Continue(allowed) => self.allowed |= allowed,
            Break(stop) => {
                let status = status(&stop);
                self.last = !(self.any() && matches!(status, Some(401 | 403 | 407)));
                let asks = self.refusal.as_ref().is_some_and(|it| matches!(status_of(it), 401 | 407));
                if self.last || !asks {
                    self.refusal = Some(stop);
                }
            }
        }
    }

    /// The end of the phase.
    pub async fn end(self, ex: &mut Exchange) -> Flow {
        let any = self.any();
        let refusal = match self.refusal {
            Some(refusal) if self.last || !(any && self.allowed) => refusal,
            _ => return Continue(()),
        };
        match status_of(&refusal) {
            403 if any => log!(ex, Level::Error, "access forbidden by rule"),
            401 | 407 => {
                if let Some(on) = self.on.filter(|on| !on.delay.is_zero()) {
                    log!(ex, Level::Info, "delaying unauthorized request");
                    clock::sleep(on.delay).await;
                }
            }
            _ => (),
        }
        Break(refusal)
    }
}

fn status(stop: &Stop) -> Option<u16> {
    match stop {
        Stop::Reply(reply) => Some(reply.status),
        _ => None,
    }
}

fn status_of(stop: &Stop) -> u16 {
    status(stop).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Site, error};

    /// Hears statuses (0: nothing to say, 200: allowed) until nobody is to be asked; what the phase answers.
    fn check(conf: &str, said: &[u16]) -> (usize, u16) {
        let conf = conf.to_owned();
        let said = said.to_vec();
        foregate_net::runtime::run(async move {
            let site = Site::new(&conf);
            let mut verdict = Verdict::new(site.settings().satisfy.as_deref());
            let mut asked = 0;
            for status in said {
                if verdict.open() {
                    asked += 1;
                    verdict.hear(match status {
                        0 => Continue(false),
                        200 => Continue(true),
                        status => Break(Stop::status(status)),
                    });
                }
            }
            let mut ex = site.exchange("GET / HTTP/1.1\nHost: h");
            match verdict.end(&mut ex).await {
                Continue(()) => (asked, 0),
                Break(stop) => (asked, status_of(&stop)),
            }
        })
        .unwrap()
    }

    #[test]
    fn all_must_be_satisfied_unless_any_is_enough() {
        for (conf, said, want) in [
            ("", &[0, 200][..], (2, 0)),
            ("", &[200, 401], (2, 401)),
            ("", &[403, 200], (1, 403)),
            ("satisfy any;", &[403, 200], (2, 0)),
            ("satisfy any;", &[200, 401], (1, 0)),
            ("satisfy any;", &[403, 401], (2, 401)),
            ("satisfy any;", &[401, 403], (2, 401)),
            ("satisfy any;", &[403, 0], (2, 403)),
            ("satisfy any;", &[0, 0], (2, 0)),
            ("satisfy any;", &[403, 500, 200], (2, 500)),
            ("satisfy all;", &[200, 403], (2, 403)),
        ] {
            assert_eq!(check(conf, said), want, "{conf} {said:?}");
        }
    }

    #[test]
    fn an_unauthorized_request_waits() {
        let start = std::time::Instant::now();
        assert_eq!(check("auth_delay 20ms;", &[401]), (1, 401));
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(error("satisfy some;"), "invalid value \"some\"");
    }
}
