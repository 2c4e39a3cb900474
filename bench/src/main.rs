//! The side-by-side benchmark: Foregate, nginx, HAProxy and Varnish under the same load, in turn, on one core each.

use std::process::ExitCode;

mod apply;
mod backend;
mod bodies;
mod client;
mod confs;
mod h2load;
mod link;
mod live;
mod load;
mod machine;
mod measure;
mod options;
mod picture;
mod proxy;
mod report;
mod stats;
mod subjects;
mod tree;
mod verify;
mod workloads;
mod wrk;

/// What went wrong, in words for whoever runs the benchmark.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("backend") => backend::run(),
        _ => options::Options::parse(args).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Options) -> Result<()> {
    let workloads = workloads::chosen(&options.only)?;
    if options.list {
        for workload in &workloads {
            println!("{:18} {}", workload.name, workload.title);
        }
        return Ok(());
    }
    let bench = measure::Bench::prepare(options)?;
    let results = bench.run(&workloads)?;
    let text = report::markdown(options, &bench.subjects, &workloads, &results);
    println!("\n{text}");
    let Some(folder) = options.folder() else { return Ok(()) };
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).map_err(|e| format!("{}: {e}", folder.join(name).display()))
    };
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    write("benchmark.md", text)?;
    write("benchmark.svg", picture::svg(&bench.subjects, &workloads, &results))
}
