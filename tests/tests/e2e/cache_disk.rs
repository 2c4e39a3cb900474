//! A cache whose disk is full or cannot be written: answers pass through, and the log says so once.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use foregate_testkit::{Backend, Reply, Server, Setup, foregate_only};

const FRONT: &str = "proxy_cache_path {cache}/objects keys_zone=one:1m use_temp_path=off memory=off;
    add_header X-Cache $upstream_cache_status;
    server {
        listen 127.0.0.1:{port:0};
        proxy_cache one;
        location / { proxy_pass http://{app}; }
    }";

/// A file system of its own, of one megabyte. `None`: it takes root to have one.
struct Small(PathBuf);

impl Small {
    fn mount() -> Option<Small> {
        let place = std::env::temp_dir().join(format!("foregate-small-{}", std::process::id()));
        std::fs::create_dir_all(&place).ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=777", "foregate-small"]).arg(&place);
        let mounted = mount.output().is_ok_and(|it| it.status.success());
        let small = Small(place);
        if !mounted {
            println!("no file system can be mounted here: not tested");
        }
        mounted.then_some(small)
    }

    fn remount(&self, how: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).output();
        assert!(done.is_ok_and(|it| it.status.success()), "remount,{how}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).output();
        _ = std::fs::remove_dir(&self.0);
    }
}

fn complaints(server: &Server) -> usize {
    server.read("error.log").lines().filter(|it| it.contains("[crit]")).count()
}

/// One complaint a minute.
fn due(began: Instant) -> usize {
    1 + began.elapsed().as_secs() as usize / 60
}

#[test]
fn a_disk_that_is_full_or_may_not_be_written_costs_nobody_an_answer() {
    let Some(small) = Small::mount() else { return };
    foregate_only(|subject| {
        let app = Backend::new(|seen| {
            let length: usize =
                seen.target[1..].split('?').next().and_then(|it| it.parse().ok()).unwrap_or(0);
            Reply::status(200, "Cache-Control: max-age=6000\r\n", vec![b'x'; length])
        });
        let server = Setup::http(FRONT)
            .set("cache", small.0.display())
            .backend("app", &app)
            .allow_log("[crit]")
            .start(subject);
        let began = Instant::now();
        // More than there is room for, whether it comes at once or by and by; a byte more makes it another.
        for n in 0..20 {
            for bytes in [3 << 20, 60_000 + n, 400_000 + n] {
                let seen = server.get(&format!("/{bytes}"));
                assert_eq!((seen.status, seen.body.len()), (200, bytes), "{:?}", seen.header("X-Cache"));
            }
        }
        assert!((1..=due(began)).contains(&complaints(&server)), "{}", server.read("error.log"));
        small.remount("ro");
        for n in 0..5 {
            let seen = server.get(&format!("/{}?ro", 1000 + n));
            assert_eq!((seen.status, seen.body.len()), (200, 1000 + n));
        }
        // What lies there is served nevertheless.
        assert_eq!(server.get("/60000").header("X-Cache"), Some("HIT"));
        assert!((1..=due(began)).contains(&complaints(&server)), "{}", server.read("error.log"));
        small.remount("rw");
    });
}
