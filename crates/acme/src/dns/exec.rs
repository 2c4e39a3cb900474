//! A program of the administrator's own: `PROGRAM present|remove NAME VALUE`, exit code 0 when it is done.

use foregate_net::door;

use super::{Provider, Record, Words};

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
        door::run(&[&self.program, what, &record.name, &record.value])
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
