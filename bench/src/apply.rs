//! One burst of load on one port, by the generator that the workload asks for.

use std::time::{Duration, Instant};

use crate::link::Link;
use crate::load::{self, Expect, Outcome, Pace};
use crate::measure::Bench;
use crate::verify::{self, Facts};
use crate::workloads::{Extra, Load, Workload};
use crate::{Result, bodies, client, h2load, wrk};

impl Bench<'_> {
    /// Puts the load on; connections that must stay open come back.
    pub(crate) fn load(
        &self,
        workload: &Workload,
        port: u16,
        facts: &Facts,
        lasting: Duration,
    ) -> Result<(Outcome, Vec<Link>)> {
        let tls = workload.door.is_tls();
        let mut plan = load::Plan {
            port,
            conns: 0,
            tls: None,
            resume: false,
            upgrade: None,
            message: verify::request("/1k", verify_extra(workload), 0),
            expect: Expect::Http(facts.body_bytes),
            pace: Pace::Closed,
            lasting,
        };
        match workload.load {
            Load::Wrk { conns, path, extra } => {
                let body_bytes = facts.wire_bytes;
                let folder = &self.folder;
                let plan = wrk::Plan { folder, port, tls, conns, path, extra, lasting, body_bytes };
                return Ok((wrk::run(&plan)?, Vec::new()));
            }
            Load::H2 { conns, streams, path } => {
                let body_bytes = facts.body_bytes;
                let folder = &self.folder;
                let plan = h2load::Plan { folder, port, conns, streams, path, lasting, body_bytes };
                return Ok((h2load::run(&plan)?, Vec::new()));
            }
            Load::Idle => return self.idle(port, tls),
            Load::Handshakes { conns, resume } => {
                let configs: Vec<_> = (0..conns).map(|_| self.certificate.visitor(resume)).collect();
                let next = std::cell::Cell::new(0);
                plan.tls =
                    Some(Box::new(move || configs[next.replace(next.get() + 1) % configs.len()].clone()));
                (plan.conns, plan.resume, plan.pace) = (conns, resume, Pace::Reconnect);
            }
            Load::Echo { conns, bytes } => {
                (plan.conns, plan.upgrade) = (conns, Some(verify::upgrade()));
                plan.message = bodies::frame(bytes);
                plan.expect = Expect::Echo(plan.message.len());
            }
            Load::Rate { conns, path, divisor } => {
                (plan.conns, plan.pace) = (conns, Pace::Rate((self.options.rate / divisor).max(1)));
                plan.message = verify::request(path, Extra::None, 0);
                plan.tls = tls.then(|| {
                    let config = self.certificate.visitor(false);
                    Box::new(move || config.clone()) as Box<dyn Fn() -> _>
                });
            }
        }
        let outcome = load::run(&plan).map_err(|e| format!("load: {e}"))?;
        Ok((outcome, Vec::new()))
    }

    /// Opens connections one after another, asks for one answer on each, and keeps them.
    fn idle(&self, port: u16, tls: bool) -> Result<(Outcome, Vec<Link>)> {
        let (start, limit) = (Instant::now(), Duration::from_secs(60));
        let config = tls.then(|| self.certificate.visitor(false));
        let request = verify::request("/1k", Extra::None, 0);
        let mut links = Vec::new();
        let mut outcome = Outcome::default();
        while links.len() < self.options.idle && start.elapsed() < limit {
            let mut link = Link::open(port, config.as_ref()).map_err(|e| format!("cannot connect: {e}"))?;
            let answer = client::exchange(&mut link, &request)?;
            if answer.status != 200 {
                return Err(format!("status {} on connection {}", answer.status, links.len()));
            }
            links.push(link);
        }
        if links.len() < self.options.idle {
            outcome.mistakes.push(format!("only {} connections in {limit:?}", links.len()));
        }
        (outcome.done, outcome.seconds) = (links.len() as u64, start.elapsed().as_secs_f64());
        Ok((outcome, links))
    }
}

fn verify_extra(workload: &Workload) -> Extra {
    match workload.load {
        Load::Handshakes { .. } => Extra::Close,
        _ => Extra::None,
    }
}
