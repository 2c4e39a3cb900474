//! The worker's hardening, as far as visitors and logs see it: nothing that nginx serves is lost by it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use foregate_testkit::process::{lives, signal};
use foregate_testkit::{Server, Setup, Signal, both, foregate_only};

/// A folder that the server's own does not hold; removed at the end.
struct Outside(PathBuf);

impl Outside {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("foregate-outside-{}-{name}", std::process::id()));
        fs::create_dir_all(path.join("site")).expect("because a folder for the test can be made");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("because it lies in a folder"))
            .expect("because the folder is ours");
        fs::write(path, text).expect("because the folder is ours");
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn serving(root: &str, more: &str) -> Setup {
    Setup::framed(more, &format!("server {{ listen 127.0.0.1:{{port:0}}; root {root}; autoindex on; }}"))
}

/// The processes of one title that a master has.
fn children(server: &Server, title: &str) -> Vec<i32> {
    let ended = |pid: &i32| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let parent = format!("PPid:\t{}\n", server.pid());
        read("status").contains(&parent) && read("cmdline").contains(title) && lives(*pid)
    };
    let all = fs::read_dir("/proc").expect("because this is Linux").flatten();
    all.filter_map(|it| it.file_name().to_str()?.parse().ok()).filter(ended).collect()
}

#[test]
fn links_lead_out_and_folders_are_replaced_while_it_serves() {
    both(|subject| {
        let outside = Outside::new("links");
        for (name, text) in [("site/a", "one"), ("site2/a", "two"), ("far/b", "far"), ("far/c/d", "listed")] {
            outside.write(name, text);
        }
        symlink(outside.0.join("far/b"), outside.0.join("site/b")).unwrap();
        symlink(outside.0.join("far/c"), outside.0.join("site/c")).unwrap();
        symlink(outside.0.join("site"), outside.0.join("current")).unwrap();
        let server = serving(&format!("{}/current", outside.text()), "").start(subject);
        assert_eq!(server.get("/a").text(), "one");
        assert_eq!(server.get("/b").text(), "far");
        assert!(server.get("/c/").text().contains("href=\"d\""));
        // As deployments do it.
        symlink(outside.0.join("site2"), outside.0.join("next")).unwrap();
        fs::rename(outside.0.join("next"), outside.0.join("current")).unwrap();
        assert_eq!(server.get("/a").text(), "two");
        fs::remove_dir_all(outside.0.join("site2")).unwrap();
        outside.write("site2/a", "three");
        assert_eq!(server.get("/a").text(), "three");
    });
}

#[test]
fn a_reload_names_other_places() {
    both(|subject| {
        let outside = Outside::new("reload");
        outside.write("site/a", "one");
        outside.write("other/a", "two");
        let server = serving(&format!("{}/site", outside.text()), "").start(subject);
        assert_eq!(server.get("/a").text(), "one");
        server.write_conf(&serving(&format!("{}/other", outside.text()), ""));
        server.reload(|server| server.get("/a").text() == "two");
        // What is written there is new: only another worker can.
        let dav = format!(
            "server {{ listen 127.0.0.1:{{port:0}}; root {}/other; dav_methods PUT; dav_access all:rw; }}",
            outside.text()
        );
        fs::set_permissions(outside.0.join("other"), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        server.write_conf(&Setup::http(&dav));
        server.reload(|server| {
            let put = "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
            let mut client = server.connect();
            client.send(put);
            client.response().is_some_and(|it| [201, 204].contains(&it.status))
        });
        assert_eq!(server.get("/put").text(), "x");
    });
}

#[test]
fn what_holds_is_said_at_the_start_and_may_be_turned_off() {
    foregate_only(|subject| {
        let said = |more: &str| {
            let server = serving("{dir}/html", more).start(subject);
            server.get("/");
            let log = server.read("error.log");
            let lines = log.lines().filter_map(|it| it.split_once("hardening: ").map(|it| it.1.to_owned()));
            (lines.collect::<Vec<_>>().join("; "), children(&server, "porter").len())
        };
        let (on, porters) = said("");
        assert!(on.contains("landlock") && on.contains("; seccomp: calls"), "{on}");
        assert_eq!(porters, 1);
        assert_eq!(said("hardening off;"), ("landlock is off; seccomp is off".to_owned(), 0));
        assert!(said("hardening seccomp;").0.starts_with("landlock is off; seccomp: calls"));
        assert!(said("hardening landlock;").0.ends_with("seccomp is off"));
        let wrong = serving("{dir}/html", "hardening on off;").try_start(subject).err().unwrap_or_default();
        assert!(wrong.contains("invalid value \"on\""), "{wrong}");
    });
}

#[test]
fn paths_that_begin_with_variables_are_read_and_it_is_said() {
    foregate_only(|subject| {
        let outside = Outside::new("variable");
        outside.write("site/a", "one");
        let text = format!(
            "map $host $place {{ default {}/site; }}
             server {{ listen 127.0.0.1:{{port:0}}; root $place; access_log {{dir}}/log-$status; }}",
            outside.text()
        );
        let server = Setup::http(&text).start(subject);
        assert_eq!(server.get("/a").text(), "one");
        assert!(server.read("error.log").contains("all are read because of \"$place\""));
        server.wait_for("log-200", |log| log.contains("GET /a"));
    });
}

#[test]
fn a_porter_that_dies_has_a_successor() {
    foregate_only(|subject| {
        let outside = Outside::new("porter");
        outside.write("far", "far");
        symlink(outside.0.join("far"), outside.0.join("site/a")).unwrap();
        let setup = serving(&format!("{}/site", outside.text()), "").allow_log("porter process");
        let server = setup.start(subject);
        assert_eq!(server.get("/a").text(), "far");
        let porter = children(&server, "porter process")[0];
        signal(porter, Signal::KILL);
        server.eventually(|server| server.get("/a").text() == "far");
        assert!(children(&server, "porter process").iter().any(|it| *it != porter));
    });
}
