//! Debian packages that the tests use: which are missing here, and their installation when we may.

use std::process::{Command, Stdio};

/// A program or Perl module the tests need, how to see that it is there, and the Debian package that brings it.
struct Need {
    package: &'static str,
    probe: &'static [&'static str],
    /// What does not run without it.
    used_by: Use,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// `cargo test`: without it tests fail.
    Tests,
    /// The budget tests: without it some costs are not counted.
    Budgets,
    /// nginx-tests: without it files of the suite are skipped.
    Conformance,
}

const fn tests(package: &'static str, probe: &'static [&'static str]) -> Need {
    Need { package, probe, used_by: Use::Tests }
}

const fn budgets(package: &'static str, probe: &'static [&'static str]) -> Need {
    Need { package, probe, used_by: Use::Budgets }
}

const fn suite(package: &'static str, probe: &'static [&'static str]) -> Need {
    Need { package, probe, used_by: Use::Conformance }
}

const NEEDS: &[Need] = &[
    tests("nginx", &["/usr/sbin/nginx", "-v"]),
    tests("openssl", &["openssl", "version"]),
    tests("curl", &["curl", "--version"]),
    // The tests of these two say that they are skipped without them.
    tests("pebble", &["pebble", "-h"]),
    tests("redis-server", &["redis-server", "--version"]),
    tests("certbot", &["certbot", "--version"]),
    tests("python3-certbot-nginx", &["test", "-d", "/usr/lib/python3/dist-packages/certbot_nginx"]),
    // With FOREGATE_FULL=1 only.
    tests("testssl.sh", &["testssl", "--version"]),
    // Its tests say that they are skipped without it.
    tests("chromium", &["chromium", "--version"]),
    // Debian names the program after its version.
    tests("php-fpm", &["sh", "-c", "ls /usr/sbin/php-fpm*"]),
    tests("python3-grpcio", &["/usr/bin/python3", "-c", "import grpc"]),
    budgets("valgrind", &["valgrind", "--version"]),
    budgets("strace", &["strace", "-V"]),
    suite("perl", &["prove", "--version"]),
    suite("libio-socket-ssl-perl", &["perl", "-MIO::Socket::SSL", "-e1"]),
    suite("libnet-ssleay-perl", &["perl", "-MNet::SSLeay", "-e1"]),
    suite("libfcgi-perl", &["perl", "-MFCGI", "-e1"]),
    suite("libscgi-perl", &["perl", "-MSCGI", "-e1"]),
    suite("libcache-memcached-perl", &["perl", "-MCache::Memcached", "-e1"]),
    suite("libcache-memcached-fast-perl", &["perl", "-MCache::Memcached::Fast", "-e1"]),
    suite("libcryptx-perl", &["perl", "-MCrypt::Misc", "-e1"]),
    suite("libprotocol-websocket-perl", &["perl", "-MProtocol::WebSocket", "-e1"]),
    suite("libgd-perl", &["perl", "-MGD", "-e1"]),
    suite("uwsgi-core", &["uwsgi", "--version"]),
    suite("uwsgi-plugin-python3", &["uwsgi", "--plugin", "python3", "--version"]),
    suite("memcached", &["memcached", "-V"]),
];

/// `xtask packages`: names what is missing; with `--install` installs it.
pub(crate) fn run(args: Vec<String>) -> Result<(), String> {
    let install = args.iter().any(|a| a == "--install");
    if let Some(unknown) = args.iter().find(|a| *a != "--install") {
        return Err(format!("unknown option {unknown}"));
    }
    let missing = if install { provide() } else { missing() };
    match missing.as_slice() {
        [] => {
            println!("packages: all there");
            Ok(())
        }
        names => Err(format!("missing: apt-get install {}", names.join(" "))),
    }
}

/// Installs what is missing when we are root and there is an apt-get; returns what is missing still, and says so.
pub(crate) fn provide() -> Vec<&'static str> {
    let lacking = missing();
    let may = rustix::process::geteuid().is_root() && there(&["apt-get", "--version"]);
    if lacking.is_empty() || !may {
        return report(lacking);
    }
    println!("packages: installing {}", lacking.join(" "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    };
    apt(&["update", "-q"]);
    let mut all = vec!["install", "-y", "-q", "--no-install-recommends"];
    all.extend(&lacking);
    if !apt(&all) {
        // One package unknown to this Debian must not cost the others.
        for package in &lacking {
            apt(&["install", "-y", "-q", "--no-install-recommends", package]);
        }
    }
    report(missing())
}

fn missing() -> Vec<&'static str> {
    NEEDS.iter().filter(|n| !there(n.probe)).map(|n| n.package).collect()
}

fn report(missing: Vec<&'static str>) -> Vec<&'static str> {
    for need in NEEDS.iter().filter(|n| missing.contains(&n.package)) {
        let what = match need.used_by {
            Use::Tests => "tests will fail without it",
            Use::Budgets => "some costs will not be counted without it",
            Use::Conformance => "files of nginx-tests will be skipped without it",
        };
        println!("packages: {} is missing: {what}", need.package);
    }
    missing
}

fn there(probe: &[&str]) -> bool {
    let mut command = Command::new(probe[0]);
    command.args(&probe[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|s| s.success())
}
