//! The life of master and worker: start, reload, reopen, crash, upgrade, end; under load where it matters.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::place::{Place, kill};

/// A configuration that answers with `WORD`.
fn conf(word: &str) -> String {
    format!(
        "{}pid nginx.pid;
error_log error.log notice;
worker_processes 2;
events {{ }}
http {{
    client_body_temp_path temp;
    access_log access.log;
    server {{ listen 127.0.0.1:{{port}}; return 200 {word}; }}
}}
",
        if is_root() { "user nobody nogroup;\n" } else { "" }
    )
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

fn started(word: &str) -> Place {
    let place = Place::new(&conf(word));
    let outcome = place.foregate(&[]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{}", place.read("error.log"));
    assert_eq!(place.ask(), word);
    place
}

/// Clients that ask on new connections until they are stopped; every one must be answered.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// No client asks longer than this, whatever the test does.
    const LONGEST: Duration = Duration::from_secs(60);

    fn on(place: &Place) -> Load {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let port = place.port.number();
        let client = |_| {
            let (stop, asked) = (stop.clone(), asked.clone());
            thread::spawn(move || {
                let start = Instant::now();
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) && start.elapsed() < Load::LONGEST {
                    if let Err(why) = ask_once(port) {
                        failures.push(why);
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let clients = (0..2).map(client).collect();
        Load { stop, asked, clients }
    }

    /// Lets some requests pass, so that what was done before is felt.
    fn go_on(&self) {
        let (start, before) = (Instant::now(), self.asked.load(Ordering::Relaxed));
        while self.asked.load(Ordering::Relaxed) < before + 50 && start.elapsed() < Load::LONGEST {
            sleep(Duration::from_millis(5));
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failures: Vec<String> =
            self.clients.into_iter().flat_map(|it| it.join().expect("because it only counts")).collect();
        let asked = self.asked.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{} of {asked} requests failed: {:?}",
            failures.len(),
            &failures[..failures.len().min(3)]
        );
        assert!(asked > 50, "only {asked} requests");
    }
}

fn ask_once(port: u16) -> Result<(), String> {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.starts_with(b"HTTP/1.1 200 OK\r\n") => Ok(()),
        Ok(answer) => Err(format!("answered {:?}", String::from_utf8_lossy(&answer))),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn it_goes_into_the_background_and_says_so_in_the_log() {
    let place = started("one");
    let (master, log) = (place.pid("nginx.pid"), place.read("error.log"));
    assert!(log.contains(&format!("[notice] {master}#{master}: start worker processes\n")), "{log}");
    let worker = place.worker_of(master);
    assert!(log.contains(&format!(": start worker process {worker}\n")), "{log}");
    let title =
        |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    assert!(title(master).starts_with("foregate: master process "), "{}", title(master));
    assert_eq!(title(worker).trim_end(), "foregate: worker process");
    let outcome = place.foregate(&["-s", "quit"]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    place.wait_for_log(&format!("{master}#{master}: exit\n"));
    assert!(!place.path("nginx.pid").exists());
    let log = place.read("error.log");
    for line in [
        "signal process started",
        ", shutting down",
        "gracefully shutting down",
        ": exiting",
        &format!(": worker process {worker} exited with code 0"),
    ] {
        assert!(log.contains(line), "{line:?} is not in\n{log}");
    }
}

#[test]
fn a_reload_changes_what_is_served_and_loses_nothing() {
    let place = started("one");
    let (master, worker) = (place.pid("nginx.pid"), place.worker_of(place.pid("nginx.pid")));
    let load = Load::on(&place);
    for word in ["two", "three", "four"] {
        place.write(&conf(word));
        assert_eq!(place.foregate(&["-s", "reload"]).code, Some(0));
        place.wait_until(word, || place.ask() == word);
        load.go_on();
    }
    load.end();
    // The worker lives on: its connections and pools do, too.
    assert_eq!(place.worker_of(master), worker);
    let log = place.read("error.log");
    assert!(log.contains("(SIGHUP) received from ") && log.contains(", reconfiguring\n"), "{log}");
}

#[test]
fn a_broken_reload_leaves_everything_as_it_was() {
    let place = started("one");
    let worker = place.worker_of(place.pid("nginx.pid"));
    place.write(&conf("two").replace("listen", "lissten"));
    kill(place.pid("nginx.pid"), "HUP");
    place.wait_for_log("[emerg] ");
    let log = place.read("error.log");
    let expected = format!("unknown directive \"lissten\" in {}/nginx.conf:", place.dir.display());
    assert!(log.contains(&expected), "{log}");
    assert_eq!(place.ask(), "one");
    place.write(&conf("three"));
    kill(place.pid("nginx.pid"), "HUP");
    place.wait_until("three", || place.ask() == "three");
    assert_eq!(place.worker_of(place.pid("nginx.pid")), worker);
}

#[test]
fn a_reload_opens_new_addresses_and_closes_old_ones() {
    let place = started("one");
    let other = foregate_testkit::free_port();
    let moved = conf("two").replace("{port}", &other.number().to_string());
    place.write(&moved);
    kill(place.pid("nginx.pid"), "HUP");
    place.wait_until("the new address", || ask_once(other.number()).is_ok());
    place
        .wait_until("the old one closed", || TcpStream::connect(("127.0.0.1", place.port.number())).is_err());
}

#[test]
fn a_reload_with_another_number_of_threads_loses_nothing() {
    let place = started("one");
    let load = Load::on(&place);
    for (word, n) in [("two", "4"), ("three", "1"), ("four", "2")] {
        place.write(&conf(word).replace("worker_processes 2", &format!("worker_processes {n}")));
        kill(place.pid("nginx.pid"), "HUP");
        place.wait_until(word, || place.ask() == word);
        load.go_on();
    }
    load.end();
}

#[test]
fn a_reload_that_a_worker_cannot_follow_gets_a_new_one() {
    let place = started("one");
    let master = place.pid("nginx.pid");
    let old = place.worker_of(master);
    let load = Load::on(&place);
    place.write(&format!("env FOREGATE_TEST=1;\n{}", conf("two")));
    kill(master, "HUP");
    place.wait_until("two", || place.ask() == "two");
    load.go_on();
    load.end();
    place.wait_for_log(&format!(": worker process {old} exited with code 0"));
    let new = place.worker_of(master);
    if let Ok(environment) = fs::read_to_string(format!("/proc/{new}/environ")) {
        assert!(environment.contains("FOREGATE_TEST=1") && !environment.contains("PATH="), "{environment:?}");
    }
}

#[test]
fn logs_are_opened_again_under_their_names() {
    let place = started("one");
    for name in ["error", "access"] {
        fs::rename(place.path(&format!("{name}.log")), place.path(&format!("{name}.old")))
            .expect("because it is there");
    }
    assert_eq!(place.foregate(&["-s", "reopen"]).code, Some(0));
    place.wait_until("a new access log", || place.path("access.log").exists());
    let worker = place.worker_of(place.pid("nginx.pid"));
    place.wait_until("the worker's word", || {
        let both = place.read("error.old") + &place.read("error.log");
        both.contains(&format!("{worker}#{worker}: reopening logs"))
    });
    place.ask();
    place.wait_until("a line in the new log", || place.read("access.log").contains("GET / HTTP/1.1"));
    kill(place.pid("nginx.pid"), "TERM");
    place.wait_for_log(": exit\n");
}

#[test]
fn a_worker_that_was_killed_is_replaced() {
    let place = started("one");
    let master = place.pid("nginx.pid");
    let worker = place.worker_of(master);
    kill(worker, "KILL");
    place.wait_for_log(&format!("[alert] {master}#{master}: worker process {worker} exited on signal 9\n"));
    // The socket stayed open: who comes meanwhile waits and is answered.
    assert_eq!(place.ask(), "one");
    assert_ne!(place.worker_of(master), worker);
}

#[test]
fn an_upgrade_takes_over_without_losing_a_request() {
    let place = started("one");
    let old = place.pid("nginx.pid");
    let load = Load::on(&place);
    kill(old, "USR2");
    place.wait_until("the old pid file", || place.path("nginx.pid.oldbin").exists());
    place.wait_until("the new master", || {
        place.read("nginx.pid").trim().parse::<i32>().is_ok_and(|new| new != old)
    });
    let new = place.pid("nginx.pid");
    place.wait_for_log("using inherited sockets from \"");
    place.wait_for_log(&format!("{new}#{new}: start worker process "));
    load.go_on();
    kill(old, "QUIT");
    place.wait_for_log(&format!("{old}#{old}: exit\n"));
    load.go_on();
    load.end();
    assert!(!place.path("nginx.pid.oldbin").exists());
    assert_eq!(place.pid("nginx.pid"), new);
    assert_eq!(place.ask(), "one");
}

#[test]
fn an_upgrade_can_be_rolled_back() {
    let place = started("one");
    let old = place.pid("nginx.pid");
    kill(old, "USR2");
    place.wait_until("the old pid file", || place.path("nginx.pid.oldbin").exists());
    place.wait_until("the new master", || {
        place.read("nginx.pid").trim().parse::<i32>().is_ok_and(|new| new != old)
    });
    let new = place.pid("nginx.pid");
    place.wait_for_log(&format!("{new}#{new}: start worker process "));
    kill(old, "WINCH");
    place.wait_for_log("gracefully shutting down");
    let load = Load::on(&place);
    load.go_on();
    kill(old, "HUP");
    place.wait_until("a worker of the old master", || {
        place.read("error.log").matches(&format!("{old}#{old}: start worker process ")).count() == 2
    });
    load.go_on();
    kill(new, "QUIT");
    place.wait_until("the old name", || !place.path("nginx.pid.oldbin").exists());
    load.go_on();
    load.end();
    assert_eq!(place.pid("nginx.pid"), old);
}

#[test]
fn in_the_foreground_it_ends_on_ctrl_c() {
    for args in [&["-g", "daemon off;"][..], &["-g", "daemon off; master_process off;"]] {
        let place = Place::new(&conf("one"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_foregate"))
            .args(["-p", &format!("{}/", place.dir.display()), "-c", "nginx.conf", "-e", "error.log"])
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("because the program is there");
        assert_eq!(place.pid("nginx.pid").unsigned_abs(), child.id());
        assert_eq!(place.ask(), "one");
        place.write(&conf("two"));
        kill(place.pid("nginx.pid"), "HUP");
        place.wait_until("two", || place.ask() == "two");
        kill(place.pid("nginx.pid"), "INT");
        let status = child.wait().expect("because it is our child");
        assert!(status.success(), "{args:?}: {status}");
        assert!(!place.path("nginx.pid").exists());
    }
}

#[test]
fn a_start_that_fails_says_why_and_fails() {
    let place = Place::new(&conf("one"));
    let taken =
        std::net::TcpListener::bind(("127.0.0.1", place.port.number())).expect("because the port is ours");
    let outcome = place.foregate(&[]);
    let port = place.port.number();
    let line = format!("nginx: [emerg] bind() to 127.0.0.1:{port} failed (98: Address already in use)\n");
    assert_eq!(outcome.stderr, format!("{}nginx: [emerg] still could not bind()\n", line.repeat(5)));
    assert_eq!(outcome.code, Some(1));
    assert!(!place.path("nginx.pid").exists());
    drop(taken);
}

#[test]
fn systemd_may_open_the_sockets_and_is_told() {
    let place = Place::new(&conf("one"));
    let socket =
        std::os::unix::net::UnixDatagram::bind(place.path("notify")).expect("because the folder is ours");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("because it is a number");
    let mut child = Command::new(env!("CARGO_BIN_EXE_foregate"))
        .args([
            "-p",
            &format!("{}/", place.dir.display()),
            "-c",
            "nginx.conf",
            "-e",
            "error.log",
            "-g",
            "daemon off;",
        ])
        .env("NOTIFY_SOCKET", place.path("notify"))
        .stdin(Stdio::null())
        .spawn()
        .expect("because the program is there");
    let told = || {
        let mut buffer = [0; 256];
        let n = socket.recv(&mut buffer).expect("because it tells");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    assert_eq!(told(), format!("READY=1\nMAINPID={}\n", child.id()));
    kill(place.pid("nginx.pid"), "HUP");
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(told().starts_with("READY=1\n"));
    kill(place.pid("nginx.pid"), "QUIT");
    assert_eq!(told(), "STOPPING=1\n");
    assert!(child.wait().expect("because it is our child").success());
}
