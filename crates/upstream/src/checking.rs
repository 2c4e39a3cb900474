//! The tasks that run health checks: rounds, pauses, and the exchange that each question is.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use foregate_core::{BoxFuture, Client, Exchange, Household, Nobody};
use foregate_net::runtime::{self, Task};
use foregate_wire::Fields;

use crate::checks::{Checker, Checklist, Probe, start_check};
use crate::group::{Group, Groups};

/// The settings of a location with a `health_check`.
pub trait Checked {
    fn checklist(&self) -> Option<(&Arc<Group>, &Checklist)>;

    /// Asks a peer; says what is wrong with it, as the middle of a line for the log.
    fn ask<'a>(&'a self, probe: &'a Probe, ex: &'a mut Exchange) -> BoxFuture<'a, Option<&'static str>>;
}

/// Starts the checks of a configuration on this thread, each with the number of its location. They end with the tasks.
pub fn start_checks(checked: Vec<(u32, Arc<dyn Checked>)>, cycle: &Rc<dyn Household>) -> Vec<Task> {
    let Some(groups) = cycle.shared().get::<Groups>() else { return Vec::new() };
    let wanted =
        checked.iter().filter_map(|(_, on)| on.checklist().map(|(group, list)| (group.clone(), list)));
    let checkers = Checker::all(wanted, groups);
    let tasks = checked.iter().zip(checkers).map(|((place, on), checker)| {
        runtime::spawn(keep_checking(on.clone(), *place, checker, Rc::downgrade(cycle)))
    });
    tasks.collect()
}

async fn keep_checking(on: Arc<dyn Checked>, place: u32, checker: Rc<Checker>, cycle: Weak<dyn Household>) {
    let Some((_, list)) = on.checklist() else { return };
    while let Some(cycle) = cycle.upgrade() {
        for probe in checker.round(list) {
            let (on, cycle, checker, peer) = (on.clone(), cycle.clone(), checker.clone(), probe.clone());
            start_check(probe, async move {
                let Some((_, list)) = on.checklist() else { return };
                let mut ex = Exchange::vacant(cycle.clone(), &Nobody::new());
                (ex.client, ex.location) = (Rc::new(Nobodys), place);
                let fault = on.ask(&peer, &mut ex).await;
                checker.settle(list, &peer, fault, cycle.error_log(place));
            });
        }
        drop(cycle);
        checker.pause(list).await;
    }
}

/// Waits as long as it takes.
struct Nobodys;

impl Client for Nobodys {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn send_interim<'a>(&'a self, _: u16, _: &'a Fields) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
