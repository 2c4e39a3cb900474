//! Pebble, the issuer of Let's Encrypt's own tests: strict, and in the mood to refuse every other nonce.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::certificate::Authority;
use crate::name_server::NameServer;
use crate::ports::{Port, free_port};

const BINARY: &str = "/usr/bin/pebble";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// An issuer that looks for challenges on ports of its own, and finds every name at 127.0.0.1.
pub struct Pebble {
    child: Option<Child>,
    folder: PathBuf,
    listens: Port,
    manages: Port,
    /// Where it comes for http-01 and tls-alpn-01.
    pub http: Port,
    pub tls: Port,
    pub names: NameServer,
    validity: Duration,
    account_needed: bool,
    /// Of a hundred good nonces, those refused.
    refused_nonces: u8,
}

impl Pebble {
    /// `None`, with a line that says so: it is not installed here.
    pub fn start() -> Option<Pebble> {
        Pebble::with(Duration::from_secs(90 * 86_400))
    }

    /// Its certificates hold for so long.
    pub fn with(validity: Duration) -> Option<Pebble> {
        let mut pebble = Pebble::stopped(validity)?;
        pebble.run();
        Some(pebble)
    }

    /// Does not run yet; see [`Pebble::run`].
    pub fn stopped(validity: Duration) -> Option<Pebble> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !Path::new(BINARY).exists() {
            println!("skipped: {BINARY} is missing (apt-get install pebble)");
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pebble-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("because folders can be made here");
        let authority = Authority::new("who believes the issuer's own server");
        let own = authority.issue(&["localhost", "127.0.0.1"]);
        for (name, text) in
            [("ca.pem", authority.cert_pem()), ("own.pem", own.cert_pem), ("own.key", own.key_pem)]
        {
            fs::write(folder.join(name), text).expect("because the folder is ours");
        }
        Some(Pebble {
            child: None,
            folder,
            listens: free_port(),
            manages: free_port(),
            http: free_port(),
            tls: free_port(),
            names: NameServer::start(),
            validity,
            account_needed: false,
            refused_nonces: 50,
        })
    }

    /// Only those get certificates whose account is bound to one elsewhere: `kid-1` with this key.
    pub fn needing_account(mut self) -> Pebble {
        self.stop();
        self.account_needed = true;
        self.run();
        self
    }

    /// For clients that give up at the second nonce that is refused.
    pub fn gentle(mut self) -> Pebble {
        self.stop();
        self.refused_nonces = 0;
        self.run();
        self
    }

    /// The key that belongs to `kid-1`, base64url.
    pub const ACCOUNT_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

    /// Starts it, without anything that it knew before.
    pub fn run(&mut self) {
        let folder = self.folder.display();
        let keys = format!("\"externalAccountMACKeys\": {{ \"kid-1\": \"{}\" }},", Self::ACCOUNT_KEY);
        let config = format!(
            "{{ \"pebble\": {{ \"listenAddress\": \"127.0.0.1:{}\", \"managementListenAddress\": \"127.0.0.1:{}\",
                \"certificate\": \"{folder}/own.pem\", \"privateKey\": \"{folder}/own.key\", \"httpPort\": {},
                \"tlsPort\": {}, \"ocspResponderURL\": \"\", {} \"externalAccountBindingRequired\": {},
                \"certificateValidityPeriod\": {} }} }}",
            self.listens.number(),
            self.manages.number(),
            self.http.number(),
            self.tls.number(),
            if self.account_needed { keys.as_str() } else { "" },
            self.account_needed,
            self.validity.as_secs(),
        );
        let path = self.folder.join("config.json");
        fs::write(&path, config).expect("because the folder is ours");
        let log = File::create(self.folder.join("log")).expect("because the folder is ours");
        let mut command = Command::new(BINARY);
        command.arg("-config").arg(&path).args(["-strict", "-dnsserver", &self.names.address()]);
        command
            .env_clear()
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", self.refused_nonces.to_string());
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("because it is open")).stdout(log);
        self.child = Some(command.spawn().expect("because it is installed"));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.listens.number())).is_err() {
            assert!(start.elapsed() < START_TIMEOUT, "pebble does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it: with it goes everything that it knows.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
    }

    /// What it has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Its directory, for `uri`.
    pub fn uri(&self) -> String {
        format!("https://localhost:{}/dir", self.listens.number())
    }

    /// The file of the authority that its own server is believed by, for `ssl_trusted_certificate`.
    pub fn ca(&self) -> String {
        self.folder.join("ca.pem").display().to_string()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            println!("pebble says:\n{}", self.log());
        }
        _ = fs::remove_dir_all(&self.folder);
    }
}
