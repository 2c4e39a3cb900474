//! Tests that fail among hundreds of others are asked once more, alone; what passes only then is named, to be mended.

use std::io::{BufRead, BufReader, PipeReader};
use std::process::Command;

/// When more fail than this, it is no accident.
const FAILED_MAX: usize = 4;

/// Tests of one program that failed.
#[derive(Debug, Default, PartialEq)]
struct Failed {
    /// What `cargo test` is given to run that program: `-p foregate-tests --test e2e`.
    target: Vec<String>,
    names: Vec<String>,
}

/// Runs `cargo test ...`; whether all tests passed, those that failed perhaps when they were asked alone.
pub(crate) fn tests(mut command: Command) -> bool {
    let again = repeated(&command);
    let Ok((reader, writer)) = std::io::pipe() else { return false };
    let Ok(errors) = writer.try_clone() else { return false };
    let Ok(mut child) = command.stdout(writer).stderr(errors).spawn() else { return false };
    // Its ends of the pipe are closed with it: ours must be, too.
    drop(command);
    let failed = follow(reader);
    if child.wait().is_ok_and(|it| it.success()) {
        return true;
    }
    let Some(failed) = failed.filter(|it| is_accident(it)) else { return false };
    failed.iter().all(|it| passes_alone(again(), it))
}

/// Makes the same command without its arguments.
fn repeated(command: &Command) -> impl Fn() -> Command + use<> {
    let program = command.get_program().to_owned();
    let folder = command.get_current_dir().map(ToOwned::to_owned);
    let env: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    move || {
        let mut command = Command::new(&program);
        folder.iter().for_each(|it| _ = command.current_dir(it));
        command.envs(env.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
        command
    }
}

/// Shows what cargo prints, and remembers which tests failed; `None` where something else did.
fn follow(reader: PipeReader) -> Option<Vec<Failed>> {
    let lines = BufReader::new(reader).split(b'\n').map_while(Result::ok);
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    read(lines.inspect(|line| println!("{line}")))
}

fn read(lines: impl Iterator<Item = String>) -> Option<Vec<Failed>> {
    const NAMED: &str = "error: test failed, to rerun pass `";
    let (mut all, mut names) = (Vec::new(), Vec::new());
    let mut is_clear = true;
    for line in lines {
        if let Some(name) = line.strip_prefix("test ").and_then(|it| it.strip_suffix(" ... FAILED")) {
            names.push(name.to_owned());
        } else if let Some(target) = line.strip_prefix(NAMED).and_then(|it| it.strip_suffix('`')) {
            // A program that ended without naming a test has crashed.
            is_clear &= !names.is_empty();
            let target = target.split(' ').map(ToOwned::to_owned).collect();
            all.push(Failed { target, names: std::mem::take(&mut names) });
        }
    }
    (is_clear && names.is_empty()).then_some(all)
}

fn is_accident(failed: &[Failed]) -> bool {
    let n = failed.iter().map(|it| it.names.len()).sum::<usize>();
    (1..=FAILED_MAX).contains(&n) && failed.iter().all(|it| it.target.first().is_some_and(|it| it == "-p"))
}

fn passes_alone(mut command: Command, failed: &Failed) -> bool {
    println!("\n== once more, alone: {}", failed.names.join(", "));
    command.arg("test").args(&failed.target).args(["--", "--test-threads=1", "--exact"]).args(&failed.names);
    let passed = command.status().is_ok_and(|it| it.success());
    if passed {
        println!("PASSED ONLY ALONE, to be mended: {}", failed.names.join(", "));
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Vec<Failed>> {
        read(text.lines().map(ToOwned::to_owned))
    }

    #[test]
    fn failed_tests_are_found_with_their_programs() {
        let text = "\
test a::b ... ok
test a::c ... FAILED
test result: FAILED. 1 passed; 1 failed
error: test failed, to rerun pass `-p x --test y`
test d ... ok
error: 1 target failed:
    `-p x --test y`";
        let words = |it: &str| it.split(' ').map(ToOwned::to_owned).collect();
        let failed = Failed { target: words("-p x --test y"), names: words("a::c") };
        assert_eq!(of(text), Some(vec![failed]));
    }

    #[test]
    fn what_is_no_test_is_not_forgiven() {
        assert_eq!(of("error: test failed, to rerun pass `-p x --lib`"), None);
        assert_eq!(of("test a ... FAILED"), None);
        assert!(!is_accident(&[]) && !is_accident(&of("error: could not compile").unwrap_or_default()));
    }

    #[test]
    fn many_are_no_accident() {
        let names = (0..=FAILED_MAX).map(|n| n.to_string()).collect();
        let target = vec!["-p".to_owned(), "x".to_owned()];
        assert!(!is_accident(&[Failed { target, names }]));
    }
}
