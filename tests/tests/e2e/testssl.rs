//! testssl.sh finds nothing worse than LOW in what a newcomer writes. Minutes; runs with `FOREGATE_FULL=1` only.

use std::fs;
use std::path::Path;
use std::process::Command;

use foregate_testkit::{Setup, foregate_only};

/// What a certificate of an issuer has: a name, a purpose, and where it is told that it holds no more.
const EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost
crlDistributionPoints=URI:http://127.0.0.1/root.crl
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
";

fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let done = done.expect("because openssl is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A chain of a root (`root.pem`) and a certificate of 90 days for localhost.
fn make_chain(folder: &Path) {
    fs::write(folder.join("ext"), EXTENSIONS).unwrap();
    let root = "req -x509 -newkey rsa:3072 -nodes -days 3000 -subj /CN=Root -keyout root.key -out root.pem";
    openssl(folder, &format!("{root} -addext keyUsage=critical,keyCertSign,cRLSign"));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req {key} -subj /CN=localhost -keyout leaf.key -out leaf.csr"));
    let by = "-CA root.pem -CAkey root.key -CAcreateserial";
    openssl(folder, &format!("x509 -req -in leaf.csr {by} -days 90 -extfile ext -out leaf.pem"));
}

#[test]
fn nothing_worse_than_low_is_found_by_default() {
    if std::env::var_os("FOREGATE_FULL").is_none() {
        eprintln!("not run without FOREGATE_FULL=1");
        return;
    }
    foregate_only(|subject| {
        let folder = std::env::temp_dir().join(format!("foregate-testssl-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("because it is a temporary folder");
        make_chain(&folder);
        let server = Setup::http(
            "server {
                listen 127.0.0.1:{port:0} ssl;
                server_name localhost;
                ssl_certificate {dir}/c; ssl_certificate_key {dir}/k;
                http2 on;
                hsts on;
                add_header X-Content-Type-Options nosniff always;
                add_header X-Frame-Options SAMEORIGIN always;
                location / { return 200 hello; }
            }",
        )
        .file("c", fs::read(folder.join("leaf.pem")).unwrap())
        .file("k", fs::read(folder.join("leaf.key")).unwrap())
        .start(subject);
        let address = format!("https://localhost:{}", server.port(0));
        let arguments = ["--quiet", "--color", "0", "--warnings", "off", "--add-ca", "root.pem"];
        let mut run = Command::new("testssl");
        let run = run.args(arguments).args(["--csvfile", "out.csv", &address]).current_dir(&folder).output();
        let run = run.expect("because testssl.sh is installed");
        let found = fs::read_to_string(folder.join("out.csv"));
        let found = found.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&run.stdout)));
        // "id","fqdn/ip","port","severity","finding",...
        let severity = |line: &&str| line.split("\",\"").nth(3).unwrap_or_default().to_owned();
        let bad = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"];
        let bad: Vec<_> = found.lines().filter(|it| bad.contains(&&*severity(it))).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        assert!(found.lines().count() > 100, "it has looked at everything");
        _ = fs::remove_dir_all(&folder);
    });
}
