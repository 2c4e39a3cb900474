//! The programs that are compared, and which workloads each of them can do.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::options::{Options, workspace};
use crate::proxy::{Kind, Subject};
use crate::workloads::{Door, Workload};

pub(crate) fn takes_part(subject: &Subject, workload: &Workload) -> bool {
    match subject.kind {
        Kind::Haproxy => workload.haproxy,
        Kind::Varnish => workload.door == Door::Cache,
        Kind::Nginx => subject.name != "nginx" || !workload.door.is_ours(),
    }
}

/// The proxies to compare, Foregate first.
pub(crate) fn subjects(options: &Options) -> Result<Vec<Subject>> {
    let ours = match &options.foregate {
        Some(path) => path.clone(),
        None => built()?,
    };
    let mut subjects = vec![Subject::new("foregate", &ours, Kind::Nginx)?];
    if let Some(path) = &options.nginx {
        subjects.push(Subject::new("nginx", path, Kind::Nginx)?);
    }
    if let Some(path) = &options.haproxy {
        subjects.push(Subject::new("haproxy", path, Kind::Haproxy)?);
    }
    if let Some(path) = &options.varnish {
        match Subject::new("varnish", path, Kind::Varnish) {
            Ok(subject) => subjects.push(subject),
            // It is a peer of a few rows only.
            Err(why) => println!("{why} (Debian's package varnish has it): left out"),
        }
    }
    for (name, path) in &options.others {
        subjects.push(Subject::new(name, path, Kind::Nginx)?);
    }
    Ok(subjects)
}

/// The release build of Foregate, made if there is none.
fn built() -> Result<PathBuf> {
    let path = workspace().join("target/release/foregate");
    if !path.exists() {
        println!("building {}", path.display());
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--package", "foregate"]).current_dir(workspace());
        let status = command.status().map_err(|e| format!("cargo: {e}"))?;
        if !status.success() {
            return Err("Foregate does not build".to_owned());
        }
    }
    Ok(path)
}
