//! Backends as processes of their own, and what may happen to them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use foregate_testkit::process::signal;
use foregate_testkit::{Port, Signal, free_port};

pub(crate) const N_BACKENDS: usize = 5;

/// What may befall a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Killed,
    Stopped,
    Mood(&'static str),
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::Killed,
        Self::Stopped,
        Self::Mood("fail"),
        Self::Mood("hang-in-head"),
        Self::Mood("hang-in-body"),
        Self::Mood("reset"),
        Self::Killed,
    ];
}

/// All backends, and what they say.
pub(crate) struct Fleet {
    ports: Vec<Port>,
    processes: Vec<Child>,
    said: Arc<Mutex<Vec<String>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Fleet {
    pub(crate) fn start() -> Self {
        let ports: Vec<Port> = std::iter::repeat_with(free_port).take(N_BACKENDS).collect();
        let mut fleet = Self { ports, processes: Vec::new(), said: Arc::default(), readers: Vec::new() };
        for idx in 0..N_BACKENDS {
            let process = fleet.spawn(idx);
            fleet.processes.push(process);
        }
        fleet
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.ports.iter().map(Port::number).collect()
    }

    /// Starts one and waits until it listens.
    fn spawn(&mut self, idx: usize) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unsteady"));
        command.arg(self.ports[idx].number().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("because it has just been built");
        let mut lines = BufReader::new(process.stdout.take().expect("because it is piped")).lines();
        assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("ready"));
        let said = self.said.clone();
        self.readers.push(std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                said.lock().expect("because nobody panics with it").push(line);
            }
        }));
        process
    }

    pub(crate) fn strike(&mut self, idx: usize, fault: Fault) {
        match fault {
            Fault::Killed => {
                self.processes[idx].kill().expect("because it is ours");
                _ = self.processes[idx].wait();
            }
            Fault::Stopped => signal(self.pid(idx), Signal::STOP),
            Fault::Mood(mood) => self.tell(idx, mood),
        }
    }

    pub(crate) fn heal(&mut self, idx: usize, fault: Fault) {
        match fault {
            Fault::Killed => self.processes[idx] = self.spawn(idx),
            Fault::Stopped => signal(self.pid(idx), Signal::CONT),
            Fault::Mood(_) => self.tell(idx, "good"),
        }
    }

    pub(crate) fn heal_all(&mut self) {
        for idx in 0..N_BACKENDS {
            self.tell(idx, "good");
        }
    }

    fn tell(&mut self, idx: usize, mood: &str) {
        let stdin = self.processes[idx].stdin.as_mut().expect("because it is piped");
        writeln!(stdin, "{mood}").expect("because it lives");
    }

    fn pid(&self, idx: usize) -> i32 {
        self.processes[idx].id().cast_signed()
    }

    /// Ends them all; everything they have said.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.stop();
        for reader in std::mem::take(&mut self.readers) {
            _ = reader.join();
        }
        std::mem::take(&mut *self.said.lock().expect("because nobody panics with it"))
    }

    fn stop(&mut self) {
        for process in &mut self.processes {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop();
    }
}
