//! grpcio, Python's library: a server and a client as processes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Debian's own, which has the packages.
const PYTHON: &str = "/usr/bin/python3";

/// A server while it lives.
pub(crate) struct PythonServer {
    child: Child,
    pub(crate) port: u16,
}

impl PythonServer {
    /// `None`, and says so, where grpcio is not installed.
    pub(crate) fn start() -> Option<PythonServer> {
        let there = Command::new(PYTHON).args(["-c", "import grpc"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|it| it.success()) {
            println!("not run: python3-grpcio is not installed");
            return None;
        }
        let mut command = Command::new(PYTHON);
        command.args(["-c", include_str!("server.py")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("because it was there just now");
        let mut line = String::new();
        let out = child.stdout.take().expect("because it is piped");
        BufReader::new(out).read_line(&mut line).expect("because it tells its port");
        let port = line.trim().parse().expect("because that is a number");
        Some(PythonServer { child, port })
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Runs the client's script; what it says.
pub(crate) fn run_client(port: u16) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", PYTHON, "-c", include_str!("client.py"), &port.to_string()]);
    let output = command.output().expect("because it was there just now");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
