//! What the methods do with files, and how the directives are read.

use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use foregate_core::{Method, Stop};

use crate::testing::{Site, error};

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("foregate-dav-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Every file and folder, with what is in the files.
    fn seen(&self) -> String {
        let mut seen = Vec::new();
        list(&self.0, "", &mut seen);
        seen.sort();
        seen.join(" ")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn list(folder: &std::path::Path, name: &str, seen: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => {
                seen.push(format!("{name}/"));
                list(&entry.path(), &name, seen);
            }
            kind if kind.is_symlink() => seen.push(format!("{name}->")),
            _ => seen.push(format!("{name}={}", fs::read_to_string(entry.path()).unwrap())),
        }
    }
}

/// The status of each answer, one after the other.
fn check(folder: &Folder, more: &str, requests: &[&str]) -> Vec<u16> {
    let conf = format!(
        "root {}; dav_methods PUT DELETE MKCOL COPY MOVE; {more}",
        folder.0.display()
    );
    let requests: Vec<_> = requests.iter().map(|it| (*it).to_owned()).collect();
    foregate_net::runtime::run(async move {
        let site = Site::new(&conf);
        let on = site.settings().dav.as_ref().unwrap();
        let mut seen = Vec::new();
        for request in &requests {
            let mut ex = site.exchange(request);
            assert!(on.takes(ex.method), "{request}");
            let (status, location) = match super::serve(on, &mut ex).await {
                Continue(reply) => (reply.status, reply.fields.get(b"location").map(<[u8]>::to_vec)),
                Break(Stop::Reply(reply)) => (reply.status, None),
                Break(other) => panic!("{other:?}"),
            };
            let made = status == 201 && matches!(ex.method, Method::Put | Method::Mkcol);
            assert_eq!(location.is_some(), made, "{request}");
            seen.push(status);
        }
        seen
    })
    .unwrap()
}

const H: &str = "HTTP/1.1\nHost: h";

#[test]
fn put_writes_files() {
    let folder = Folder::new();
    let statuses = check(
        &folder,
        "",
        &[
            &format!("PUT /a {H}\n\none"),
            &format!("PUT /a {H}\n\ntwo"),
            &format!("PUT /empty {H}\n\n"),
            &format!("PUT /b/ {H}\n\nx"),
            &format!("PUT /c/d {H}\n\nx"),
            &format!("PUT /e {H}\nContent-Range: bytes 0-0/1\n\nx"),
        ],
    );
    assert_eq!(statuses, [201, 204, 201, 409, 500, 501]);
    assert_eq!(folder.seen(), "/a=two /empty=");
    let statuses = check(&folder, "create_full_put_path on;", &[&format!("PUT /c/d/e {H}\n\nx")]);
    assert_eq!((statuses, folder.seen()), (vec![201], "/a=two /c/ /c/d/ /c/d/e=x /empty=".to_owned()));
    assert_eq!(check(&folder, "", &[&format!("PUT /c {H}\n\nx")]), [409]);
}

#[test]
fn delete_removes_trees_and_follows_no_link() {
    let folder = Folder::new();
    folder.put("d/e/f", "1");
    folder.put("keep/g", "2");
    std::os::unix::fs::symlink(folder.0.join("keep"), folder.0.join("d/link")).unwrap();
    let delete = |path: &str, more: &str| format!("DELETE {path} {H}{more}\n\n");
    let statuses = check(
        &folder,
        "",
        &[
            &delete("/d", ""),
            &delete("/d/", "\nDepth: 0"),
            &delete("/d/", "\nDepth: nine"),
            &format!("DELETE /d/ {H}\n\nbody"),
            &delete("/d/", ""),
            &delete("/none", ""),
            &delete("/keep/g/x", ""),
            &delete("/keep/g", "\nDepth: 1"),
        ],
    );
    assert_eq!(statuses, [409, 400, 400, 415, 204, 404, 409, 400]);
    assert_eq!(folder.seen(), "/keep/ /keep/g=2");
    let statuses =
        check(&folder, "min_delete_depth 2;", &[&delete("/keep/", ""), &delete("/keep/g", "")]);
    assert_eq!((statuses, folder.seen()), (vec![409, 204], "/keep/".to_owned()));
}

#[test]
fn copy_and_move_take_files_and_trees() {
    let folder = Folder::new();
    folder.put("a", "1");
    folder.put("d/e/f", "2");
    let go = |method: &str, path: &str, to: &str| format!("{method} {path} {H}\nDestination: {to}\n\n");
    let statuses = check(
        &folder,
        "",
        &[
            &go("COPY", "/a", "/b"),
            &go("MOVE", "/a", "http://h/new/c%20d"),
            &go("COPY", "/d/", "/g/"),
            &go("MOVE", "/d/", "/h/"),
            &go("COPY", "/none", "/x"),
            &go("COPY", "/b", "/b"),
            &go("COPY", "/g/", "/g/in/"),
            &go("COPY", "/b", "/g"),
            &go("COPY", "/b", "/b/"),
            &go("COPY", "/b", "http://other/b"),
            &go("COPY", "/b", "/../b"),
            &format!("COPY /b {H}\n\n"),
            &format!("COPY /b {H}\nDestination: /h/e/f\nOverwrite: F\n\n"),
            &format!("COPY /b {H}\nDestination: /h/e/f\nOverwrite: x\n\n"),
            &format!("MOVE /b {H}\nDestination: /z\nDepth: 0\n\n"),
        ],
    );
    assert_eq!(statuses, [204, 204, 201, 201, 404, 403, 403, 409, 409, 400, 400, 400, 412, 400, 400]);
    assert_eq!(folder.seen(), "/b=1 /g/ /g/e/ /g/e/f=2 /h/ /h/e/ /h/e/f=2 /new/ /new/c d=1");
}

#[test]
fn directives_are_read_as_nginx_reads_them() {
    assert!(Site::new("dav_methods off;").settings().dav.is_none());
    let site = Site::new("dav_methods put; dav_methods Delete; server { dav_access group:r; }");
    let on = site.settings().dav.as_ref().unwrap();
    assert!(on.takes(Method::Put) && on.takes(Method::Delete) && !on.takes(Method::Move));
    assert_eq!(on.access, 0o640);
    assert_eq!(error("dav_methods GET;"), "invalid value \"GET\"");
    assert_eq!(error("dav_access user:x;"), "invalid value \"user:x\"");
    assert_eq!(Site::new("dav_methods PUT PUT;").warnings, ["duplicate value \"PUT\""]);
}
