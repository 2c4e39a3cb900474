//! A process that has confined itself as a worker does, and then tries what it may not: in a child of the test.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use foregate_net::confine::{Reach, close, confine_calls, confine_files, name};
use foregate_net::door::{self, Named};
use foregate_net::events::{self, Events};
use foregate_net::process::{kill, wait_readable};
use foregate_net::signals::SIGTERM;
use foregate_net::{clock, runtime};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, chroot, getpid, pidfd_open};

type Trial = fn(&Path);

/// What is tried: its name, and a function that panics where something succeeds that must not.
const TRIALS: [(&str, Trial); 4] =
    [("files", files), ("door", at_the_door), ("calls", calls), ("serve", serve)];

/// Names the trial in the child.
const TRIAL: &str = "FOREGATE_TEST_TRIAL";

/// No test harness: the child must confine itself before it has any other thread.
fn main() -> ExitCode {
    if let Ok(wanted) = std::env::var(TRIAL) {
        let (_, trial) = TRIALS.into_iter().find(|(name, _)| *name == wanted).expect("because we named it");
        trial(&PathBuf::from(std::env::args().nth(1).expect("because the parent gives it")));
        return ExitCode::SUCCESS;
    }
    let folder = std::env::temp_dir().join(format!("foregate-confine-{}", std::process::id()));
    for part in ["named/below", "kept", "outside"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::write(folder.join("named/a"), "a").unwrap();
    fs::write(folder.join("outside/b"), "b").unwrap();
    std::os::unix::fs::symlink(folder.join("outside/b"), folder.join("named/link")).unwrap();
    let mut failed = 0;
    for (trial, _) in TRIALS {
        let done =
            Command::new(std::env::current_exe().unwrap()).arg(&folder).env(TRIAL, trial).status().unwrap();
        println!("test {trial} ... {}", if done.success() { "ok" } else { "FAILED" });
        failed += u8::from(!done.success());
    }
    fs::remove_dir_all(&folder).unwrap();
    ExitCode::from(failed)
}

/// `false` where the kernel has no Landlock: then there is nothing to see.
fn confined(folder: &Path) -> bool {
    close().unwrap();
    let reach = Reach { reads: Some(vec![folder.join("named")]), writes: vec![folder.join("kept")] };
    confine_files(&reach).is_ok()
}

/// A file outside what is named is not opened, wherever a link to it lies; nothing is written but where it may be.
fn files(folder: &Path) {
    if !confined(folder) {
        return;
    }
    let refused =
        |done: std::io::Result<()>| assert_eq!(done.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(fs::read(folder.join("named/a")).unwrap(), b"a");
    refused(fs::read(folder.join("outside/b")).map(drop));
    refused(fs::read(folder.join("named/link")).map(drop));
    refused(fs::read_dir(folder.join("outside")).map(drop));
    refused(fs::read("/proc/1/environ").map(drop));
    refused(fs::write(folder.join("named/new"), "x"));
    refused(fs::remove_file(folder.join("named/a")));
    refused(fs::create_dir(folder.join("outside/x")));
    fs::write(folder.join("kept/new"), "x").unwrap();
    fs::create_dir(folder.join("kept/level")).unwrap();
    fs::rename(folder.join("kept/new"), folder.join("kept/level/new")).unwrap();
    refused(fs::rename(folder.join("kept/level/new"), folder.join("named/new")).map_err(
        |why| match why.kind() {
            // An old kernel says that these are two file systems.
            ErrorKind::CrossesDevices => ErrorKind::PermissionDenied.into(),
            _ => why,
        },
    ));
    fs::remove_dir_all(folder.join("kept/level")).unwrap();
    refused(Command::new("/bin/true").status().map(drop));
    // Threads started later are bound as well.
    let path = folder.join("outside/b");
    std::thread::spawn(move || refused(fs::read(path).map(drop))).join().unwrap();
}

/// The porter opens what the path names, wherever a link leads, and nothing else.
fn at_the_door(folder: &Path) {
    use foregate_net::channel::Channel;
    let [(files, inside), (programs, inside_too)] = [Channel::pair().unwrap(), Channel::pair().unwrap()];
    let named = Named { paths: vec![folder.join("named")], programs: Vec::new() };
    // A thread that is not bound stands for the other process.
    std::thread::spawn(move || door::serve(&inside, &|| named.clone()));
    std::thread::spawn(move || door::serve(&inside_too, &Named::default));
    door::knock_at(files.into(), programs.into());
    if !confined(folder) {
        return;
    }
    assert_eq!(door::read(&folder.join("named/link")).unwrap(), b"b");
    assert!(door::open_to_read(&folder.join("named"), OFlags::DIRECTORY).is_ok());
    assert_eq!(door::read(&folder.join("outside/b")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        door::read(&folder.join("named/../outside/b")).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert!(door::run(&["/bin/true"]).unwrap_err().contains("does not name"));
}

/// Programs, processes, other roots, odd families of sockets, other people's processes, io_uring where nobody uses it.
fn calls(_: &Path) {
    use rustix::net::{AddressFamily, SocketType, socket};
    close().unwrap();
    let refusals = confine_calls(false).expect("because every kernel that we run on has seccomp");
    let refused = |done: rustix::io::Result<()>| assert_eq!(done, Err(Errno::PERM));
    assert_eq!(Command::new("/bin/true").exec().raw_os_error(), Some(Errno::PERM.raw_os_error()));
    assert!(Command::new("/bin/true").status().is_err(), "not even the process for it");
    refused(chroot("/"));
    refused(pidfd_open(getpid(), PidfdFlags::empty()).map(drop));
    refused(socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop));
    assert!(kill(1, SIGTERM).is_err());
    assert_eq!(events::choose(Some(Events::IoUring)), Events::Epoll);
    let [told] = wait_readable([Some(refusals.as_fd())], Some(Duration::ZERO)).unwrap();
    let names: Vec<String> = refusals.take().into_iter().map(name).collect();
    for wanted in ["execve", "chroot", "socket", "kill", "io_uring_setup"] {
        assert!(told && names.iter().any(|it| it == wanted), "{wanted} is not among {names:?}");
    }
    assert!(refusals.take().is_empty());
}

/// What serving needs still works: threads, timers, sockets, name look-ups.
fn serve(folder: &Path) {
    if confined(folder) && confine_calls(false).is_ok() {
        let served = std::thread::spawn(|| {
            let ran = runtime::run(async {
                clock::sleep(Duration::from_millis(1)).await;
                let found =
                    runtime::blocking(|| ("localhost", 80).to_socket_addrs().map(|it| it.count())).await;
                assert!(found.is_ok_and(|n| n > 0));
            });
            assert!(ran.is_ok());
            TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
        });
        served.join().unwrap();
    }
}
