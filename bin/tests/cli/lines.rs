//! The command line: the lines it prints and the codes it ends with, compared with nginx where nginx is there.

use crate::place::{Outcome, Place};

const CONF: &str = "pid nginx.pid;
events { }
http {
    client_body_temp_path temp;
    access_log access.log;
    server { listen 127.0.0.1:{port}; return 200 one; }
}
";

const BROKEN: &str = "pid nginx.pid;\nevents { }\nhttp {\n    server { lissten 80; }\n}\n";

/// Both say the same and end with the same code; nginx's own details are not compared.
fn same(place: &Place, args: &[&str]) -> Outcome {
    let ours = place.foregate(args);
    if let Some(nginx) = place.nginx(args) {
        assert_eq!(ours, nginx, "{args:?}");
    }
    ours
}

#[test]
fn mistakes_in_options_are_nginxs() {
    let place = Place::new(CONF);
    for (args, line) in [
        (&["-x"][..], "nginx: invalid option: \"x\"\n"),
        (&["foo"], "nginx: invalid option: \"foo\"\n"),
        (&["-c"], "nginx: option \"-c\" requires file name\n"),
        (&["-e"], "nginx: option \"-e\" requires file name\n"),
        (&["-p"], "nginx: option \"-p\" requires directory name\n"),
        (&["-g"], "nginx: option \"-g\" requires parameter\n"),
        (&["-s"], "nginx: option \"-s\" requires parameter\n"),
        (&["-s", "foo"], "nginx: invalid option: \"-s foo\"\n"),
        (&["-sfoo"], "nginx: invalid option: \"-s foo\"\n"),
        (&["-t", "-Z"], "nginx: invalid option: \"Z\"\n"),
    ] {
        let outcome = same(&place, args);
        assert_eq!((outcome.code, &*outcome.stderr, &*outcome.stdout), (Some(1), line, ""), "{args:?}");
    }
}

#[test]
fn a_good_configuration_passes_the_test() {
    let place = Place::new(CONF);
    let ok = "nginx: the configuration file DIR/nginx.conf syntax is ok\n\
              nginx: configuration file DIR/nginx.conf test is successful\n";
    for args in [&["-t"][..], &["-t", "-g", "worker_processes 2;"]] {
        assert_eq!(same(&place, args), Outcome { code: Some(0), stdout: String::new(), stderr: ok.into() });
    }
    let quiet = Outcome { code: Some(0), stdout: String::new(), stderr: String::new() };
    assert_eq!(same(&place, &["-tq"]), quiet);
    assert_eq!(place.read("nginx.pid"), "");
}

#[test]
fn a_broken_configuration_is_named_with_file_and_line() {
    let place = Place::new(BROKEN);
    let outcome = place.foregate(&["-tq"]);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines[0], "nginx: [emerg] unknown directive \"lissten\" in DIR/nginx.conf:4");
    assert_eq!(lines.last(), Some(&"nginx: configuration file DIR/nginx.conf test failed"));
    assert!(outcome.stderr.contains("^^^^^^^"), "{}", outcome.stderr);
    if let Some(nginx) = place.nginx(&["-tq"]) {
        let theirs: Vec<&str> = nginx.stderr.lines().collect();
        assert_eq!((outcome.code, lines[0], lines.last()), (nginx.code, theirs[0], theirs.last()));
    }
    let log = place.read("error.log");
    let line = log.lines().next().unwrap_or_default();
    let (time, rest) = line.split_at(20);
    assert!(time.as_bytes()[4] == b'/' && rest.starts_with("[emerg] "), "{line}");
    assert!(rest.ends_with(&format!("in {}/nginx.conf:4", place.dir.display())), "{line}");
    let pid = rest["[emerg] ".len()..].split('#').next().unwrap_or_default();
    assert!(pid.parse::<u32>().is_ok() && rest.contains(&format!("{pid}#{pid}: unknown")), "{line}");
}

#[test]
fn a_missing_file_is_named_as_nginx_names_it() {
    let place = Place::new(CONF);
    let args = ["-t", "-c", "gone.conf"];
    let outcome = same(&place, &args);
    let expected = "nginx: [emerg] open() \"DIR/gone.conf\" failed (2: No such file or directory)\n\
                    nginx: configuration file DIR/gone.conf test failed\n";
    assert_eq!((outcome.code, &*outcome.stderr), (Some(1), expected));
}

#[test]
fn what_a_test_cannot_open_fails_it() {
    let place = Place::new(&CONF.replace("pid nginx.pid", "pid no/such/dir.pid"));
    let outcome = same(&place, &["-t"]);
    let expected = "nginx: the configuration file DIR/nginx.conf syntax is ok\n\
                    nginx: [emerg] open() \"DIR/no/such/dir.pid\" failed (2: No such file or directory)\n\
                    nginx: configuration file DIR/nginx.conf test failed\n";
    assert_eq!((outcome.code, &*outcome.stderr), (Some(1), expected));
}

#[test]
fn a_test_does_not_mind_a_running_server() {
    let place = Place::new(CONF);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", place.port.number()));
    assert_eq!(same(&place, &["-tq"]).code, Some(0));
}

#[test]
fn the_dump_goes_to_stdout_with_every_file_once() {
    let place = Place::new(
        "pid nginx.pid;\ninclude more.conf;\nhttp { client_body_temp_path temp; access_log off; }\n",
    );
    std::fs::write(place.path("more.conf"), "events { }\n").expect("because the folder is ours");
    let outcome = same(&place, &["-Tq"]);
    let expected = "# configuration file DIR/nginx.conf:\npid nginx.pid;\ninclude more.conf;\n\
                    http { client_body_temp_path temp; access_log off; }\n\n# configuration file DIR/more.conf:\nevents { }\n\n";
    assert_eq!(outcome.stdout, expected);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn signals_need_a_pid_file_with_a_pid() {
    let place = Place::new(CONF);
    let outcome = same(&place, &["-s", "reload"]);
    let missing = "nginx: [error] open() \"DIR/nginx.pid\" failed (2: No such file or directory)\n";
    assert_eq!((outcome.code, &*outcome.stderr), (Some(1), missing));
    assert!(
        place.read("error.log").contains("[notice] ")
            && place.read("error.log").contains("signal process started")
    );
    std::fs::write(place.path("nginx.pid"), "").expect("because the folder is ours");
    let outcome = same(&place, &["-s", "stop"]);
    let invalid = "nginx: [error] invalid PID number \"\" in \"DIR/nginx.pid\"\n";
    assert_eq!((outcome.code, &*outcome.stderr), (Some(1), invalid));
    std::fs::write(place.path("nginx.pid"), "999999999\n").expect("because the folder is ours");
    let outcome = same(&place, &["-s", "quit"]);
    let gone = "nginx: [alert] kill(999999999, 3) failed (3: No such process)\n";
    assert_eq!((outcome.code, &*outcome.stderr), (Some(1), gone));
    std::fs::remove_file(place.path("nginx.pid")).expect("because it was just written");
}

#[test]
fn the_version_is_readable_for_tools() {
    let place = Place::new(CONF);
    let ours = env!("CARGO_PKG_VERSION");
    let line = format!("nginx version: nginx/1.31.5 (compatible; foregate/{ours})");
    assert_eq!(place.foregate(&["-v"]).stderr, format!("{line}\n"));
    let outcome = place.foregate(&["-V"]);
    assert_eq!((outcome.code, &*outcome.stdout), (Some(0), ""));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines[0], format!("foregate version: foregate/{ours}"));
    assert_eq!(lines[1], line);
    // certbot and other scripts read there of which OpenSSL they may expect the abilities.
    assert!(lines[2].starts_with("built with OpenSSL 3.5.0 (compatible; rustls "));
    assert_eq!(lines[3], "TLS SNI support enabled");
    assert!(
        lines[4]
            .starts_with("configure arguments: --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf")
    );
    assert!(!lines[4].contains("--without-http_rewrite_module"), "{}", lines[4]);
    let help = place.foregate(&["-h"]).stderr;
    assert!(help.starts_with(&line) && help.contains("  -s signal     : send signal"), "{help}");
}

#[test]
fn the_commands_introduce_themselves() {
    let run = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_foregate")).args(args).output();
        let out = out.expect("because the program is there");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (out.status.code(), text(out.stdout), text(out.stderr))
    };
    for args in [["help"], ["--help"]] {
        let (code, stdout, _) = run(&args);
        assert!(code == Some(0) && stdout.contains("foregate proxy --from :8080 --to :3000"), "{stdout}");
    }
    assert_eq!(run(&["--version"]).1, format!("foregate {}\n", env!("CARGO_PKG_VERSION")));
    let (code, _, stderr) = run(&["proxy"]);
    assert!(code == Some(1) && stderr.contains("--to :3000"), "{stderr}");
}

#[test]
fn what_the_commands_write_is_an_nginx_conf() {
    for args in [
        &["proxy", "--from", ":8080", "--to", ":3000", "--to", "10.0.0.1:3001", "--print"][..],
        &["demo", "--print"],
        &["serve", "/", "--listen", "127.0.0.1:8080", "--print"],
    ] {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_foregate")).args(args).output();
        let text = String::from_utf8_lossy(&out.expect("because the program is there").stdout).into_owned();
        let place = Place::new(&format!("pid nginx.pid;\n{text}"));
        std::fs::write(place.path("mime.types"), "types { text/html html; }")
            .expect("because the folder is ours");
        if let Some(nginx) = place.nginx(&["-t"]) {
            assert!(nginx.stderr.contains("test is successful"), "{args:?}\n{text}\n{}", nginx.stderr);
        }
        let check = std::process::Command::new(env!("CARGO_BIN_EXE_foregate"))
            .args(["fmt", "--check"])
            .arg(place.path("nginx.conf"))
            .stdout(std::process::Stdio::null())
            .status();
        assert!(check.is_ok_and(|status| status.success()), "{args:?} is not laid out as fmt does");
    }
}

#[test]
fn fmt_rewrites_a_file_in_place_and_only_once() {
    let place = Place::new("events {\n}\nhttp { server { listen 80;\n} }\n");
    let file = place.path("nginx.conf");
    let fmt = |args: &[&str]| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_foregate"))
            .arg("fmt")
            .args(args)
            .arg(&file)
            .stdout(std::process::Stdio::null())
            .status();
        run.expect("because the program is there").success()
    };
    assert!(!fmt(&["--check"]));
    assert!(fmt(&[]));
    assert!(fmt(&["--check"]));
    assert!(place.read("nginx.conf").contains("    server {\n"), "{}", place.read("nginx.conf"));
}

#[test]
fn check_shows_the_line_and_the_place() {
    let place = Place::new(BROKEN);
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_foregate"))
        .arg("check")
        .arg(place.path("nginx.conf"))
        .output();
    let out = out.expect("because the program is there");
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr.starts_with("error: unknown directive \"lissten\" in "), "{stderr}");
    assert!(stderr.contains("4 |     server { lissten 80; }\n  |              ^^^^^^^\n"), "{stderr}");
}
