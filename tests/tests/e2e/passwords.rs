//! Hashes that are slow on purpose, and who has to wait for them: nobody else.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use foregate_testkit::{Backend, Client, Setup, Subject, foregate_only};

/// What `foregate hash-password` prints for a password.
fn hash(subject: Subject, args: &[&str], password: &str) -> (bool, String) {
    let mut command = Command::new(subject.binary());
    command
        .arg("hash-password")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("because the binary is there");
    // What it refuses at once it does not read.
    _ = writeln!(child.stdin.take().expect("because it is piped"), "{password}");
    let output = child.wait_with_output().expect("because it ends");
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8_lossy(&said).trim_end().to_owned())
}

fn basic(pair: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = pair.as_bytes().chunks(3).map(|group| {
        let bits = (0..3).fold(0, |sum, at| sum << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        let digit = |n: usize| {
            if n <= group.len() { char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]) } else { '=' }
        };
        (0..4).map(digit).collect::<String>()
    });
    format!("Authorization: Basic {}", groups.collect::<String>())
}

#[test]
fn hashes_that_are_made_here_let_in() {
    foregate_only(|subject| {
        let kinds = [
            ("bcrypt", "$2y$12$"),
            ("argon2id", "$argon2id$v=19$"),
            ("yescrypt", "$y$j9T$"),
            ("sha512", "$6$"),
        ];
        let mut users = String::new();
        for (kind, begins) in kinds {
            let (done, line) = hash(subject, &[kind, "--algorithm", kind], "s3cret pässword");
            assert!(done && line.starts_with(&format!("{kind}:{begins}")), "{line}");
            users += &format!("{line}\n");
        }
        let server = Setup::http("server { listen 127.0.0.1:{port:0}; auth_basic x; auth_basic_user_file users; location / { empty_gif; } }")
            .file("users", users)
            .start(subject);
        for (kind, _) in kinds {
            let ask = |password: &str| {
                server.ask(&format!("GET /\n{}", basic(&format!("{kind}:{password}")))).map(|it| it.status)
            };
            assert_eq!((ask("s3cret pässword"), ask("s3cret")), (Some(200), Some(401)), "{kind}");
        }
        assert!(hash(subject, &[], "x").1.starts_with("$2y$12$"));
        assert!(hash(subject, &["--cost", "5"], "x").1.starts_with("$2y$05$"));
        for (args, why) in [
            (&["--algorithm", "md5"][..], "unknown algorithm \"md5\""),
            (&["--cost", "40"], "the cost is a number"),
            (&["--algorithm", "yescrypt", "--cost", "5"], "only bcrypt has a cost"),
            (&["a:b"], "a user's name must not"),
        ] {
            let (done, said) = hash(subject, args, "x");
            assert!(!done && said.contains(why), "{said}");
        }
        assert!(!hash(subject, &[], "").0, "an empty password");
    });
}

/// How often it is tried to be quick.
const TRIES: usize = 3;

/// Ends those who guess, whatever becomes of the test.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The longest and the middle of the times that requests take, milliseconds.
fn latency(ask: impl Fn(), n: usize) -> (u128, u128) {
    let mut times: Vec<u128> = (0..n)
        .map(|_| {
            let start = Instant::now();
            ask();
            thread::sleep(Duration::from_millis(2));
            start.elapsed().as_millis()
        })
        .collect();
    times.sort_unstable();
    (times[n - 1], times[n / 2])
}

#[test]
fn twenty_who_guess_passwords_keep_nobody_else_waiting() {
    foregate_only(|subject| {
        let app = Backend::named("app");
        // bcrypt of "right", cost 12: a quarter of a second of computing for each guess.
        let (_, line) = hash(subject, &["ann"], "right");
        let server = Setup::framed(
            "worker_processes 1;",
            "server {
                listen 127.0.0.1:{port:0};
                location / { proxy_pass http://{app}; }
                location /locked { auth_basic x; auth_basic_user_file users; empty_gif; }
            }",
        )
        .file("users", line)
        .backend("app", &app)
        .start(subject);
        let right = format!("GET /locked\n{}", basic("ann:right"));
        assert_eq!(server.ask(&right).map(|it| it.status), Some(200));
        let start = Instant::now();
        let wrong = format!("GET /locked\n{}", basic("ann:wrong"));
        assert_eq!(server.ask(&wrong).map(|it| it.status), Some(401));
        // A guess computed in the loop would hold everybody up for as long, twenty in a row for twenty times that.
        let bound = (start.elapsed().as_millis() / 3).max(50);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ends = Stop(&stop);
            for n in 0..20 {
                let (address, stop) = (server.address(0), &stop);
                scope.spawn(move || {
                    // Whoever gives up takes his guess out of the line.
                    while !stop.load(Ordering::Relaxed) {
                        let mut client = Client::connect(address);
                        let guess = basic(&format!("ann:wrong{n}"));
                        client.send(format!("GET /locked HTTP/1.1\r\nHost: a\r\n{guess}\r\n\r\n"));
                        thread::sleep(Duration::from_millis(300));
                    }
                });
            }
            thread::sleep(Duration::from_millis(500));
            // The machine may be busy with others: what counts is what the server can do.
            let is_quick = (0..TRIES).any(|_| {
                let (worst, middle) = latency(|| assert_eq!(server.get("/").status, 200), 300);
                let (_, known) = latency(|| assert_eq!(server.ask(&right).map(|it| it.status), Some(200)), 100);
                println!(
                    "while 20 guess at bcrypt: others {middle} ms, {worst} ms at worst; who is known {known} ms"
                );
                middle < bound && known < bound
            });
            assert!(is_quick, "never below {bound} ms");
        });
    });
}
