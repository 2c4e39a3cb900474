//! `certbot --nginx` takes us for nginx: it obtains, installs and renews, against Pebble.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use foregate_testkit::{Client, Pebble, Server, Setup, foregate_only};

const CERTBOT: &str = "/usr/bin/certbot";
const PLUGIN: &str = "/usr/lib/python3/dist-packages/certbot_nginx";

/// certbot in folders of the test's own; it must succeed.
fn certbot(server: &Server, pebble: &Pebble, args: &[&str]) {
    let folder = |name: &str| server.path(name);
    let mut command = Command::new(CERTBOT);
    command.args(args).arg("--config-dir").arg(folder("certbot")).arg("--work-dir").arg(folder("work"));
    command.arg("--logs-dir").arg(folder("logs"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("REQUESTS_CA_BUNDLE", pebble.ca());
    let done = command.output().expect("because it is installed");
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "certbot {args:?}: {said}");
}

fn shown(pebble: &Pebble) -> Vec<u8> {
    let at = ([127, 0, 0, 1], pebble.tls.number()).into();
    let mut seen = Client::connect_tls(at, "www.example.test", &[]).expect("because it is served");
    seen.client.send("GET / HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n");
    assert_eq!(seen.client.response().expect("because it answers").text(), "served");
    seen.certificates.swap_remove(0)
}

#[test]
fn certbot_obtains_installs_and_renews() {
    if !Path::new(CERTBOT).exists() || !Path::new(PLUGIN).exists() {
        println!("skipped: certbot is missing (apt-get install certbot python3-certbot-nginx)");
        return;
    }
    foregate_only(|subject| {
        let Some(pebble) = Pebble::start() else { return };
        let pebble = pebble.gentle();
        let server = Setup::http(
            "server {
                listen {http};
                server_name www.example.test;
                location / { return 200 served; }
            }",
        )
        .set("http", pebble.http.number())
        .start(subject);
        let control = server.path("control");
        let binary = std::fs::canonicalize(subject.binary()).expect("because it runs");
        server.write(
            "control",
            format!("#!/bin/sh\nexec {} -p {} \"$@\"\n", binary.display(), server.path("")),
        );
        std::fs::set_permissions(&control, PermissionsExt::from_mode(0o755)).expect("because it is ours");
        let (http, tls) = (pebble.http.number().to_string(), pebble.tls.number().to_string());
        let (root, uri) = (server.path(""), pebble.uri());
        let mut args = vec!["run", "--nginx", "--nginx-ctl", &control, "--nginx-server-root", &root];
        args.extend(["--server", &uri, "--http-01-port", &http, "--https-port", &tls]);
        args.extend([
            "-d",
            "www.example.test",
            "--agree-tos",
            "-m",
            "a@example.test",
            "--no-eff-email",
            "-n",
        ]);
        certbot(&server, &pebble, &args);
        assert!(server.read("nginx.conf").contains("# managed by Certbot"));
        let first = shown(&pebble);
        certbot(&server, &pebble, &["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
        server.eventually(|_| shown(&pebble) != first);
    });
}
