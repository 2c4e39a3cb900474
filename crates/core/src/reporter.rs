//! Writes about an exchange for parts that outlive the call they were made in: bodies that are still being read.

use std::fmt;
use std::rc::Rc;

use crate::error_log::Level;
use crate::exchange::{Exchange, Household};

/// The facts of an exchange that a line of its error log needs.
#[derive(Clone)]
pub struct Reporter {
    cycle: Rc<dyn Household>,
    location: u32,
    connection: u64,
    about: String,
}

impl Reporter {
    pub fn log(&self, level: Level, text: fmt::Arguments<'_>) {
        let log = self.cycle.error_log(self.location);
        if log.wants(level) {
            log.write_about(level, self.connection, &text, &|out| out.push_str(&self.about));
        }
    }
}

impl Exchange {
    /// Copies what lines about this exchange say, for later.
    pub fn reporter(&self) -> Reporter {
        let mut about = String::new();
        self.describe(&mut about);
        Reporter { cycle: self.cycle.clone(), location: self.location, connection: self.conn.number, about }
    }
}
