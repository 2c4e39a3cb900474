//! A program of the administrator's own: `PROGRAM present|remove NAME VALUE`, exit code 0 when it is done.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Provider, Record, Words};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Hook {
    program: String,
}

impl Hook {
    pub(super) fn read(words: &mut Words) -> Result<Hook, String> {
        let program = words.required("program")?;
        match program.starts_with('/') {
            true => Ok(Hook { program }),
            false => Err("program=… must be a full path".into()),
        }
    }

    fn run(&self, what: &str, record: &Record) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args([what, &record.name, &record.value]).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().map_err(|why| format!("{}: {why}", self.program))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match child.try_wait().map_err(|why| why.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{} ended with {status}", self.program)),
                None if Instant::now() < until => thread::sleep(LOOK_EVERY),
                None => {
                    // It may have ended just now.
                    _ = child.kill();
                    _ = child.wait();
                    return Err(format!("{} takes too long", self.program));
                }
            }
        }
    }
}

impl Provider for Hook {
    fn present(&self, record: &Record) -> Result<(), String> {
        self.run("present", record)
    }

    fn remove(&self, record: &Record) -> Result<(), String> {
        self.run("remove", record)
    }
}
