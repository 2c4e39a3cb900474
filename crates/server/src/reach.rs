//! What a configuration names: the files that are read, the folders that are written, the programs that are run.
//!
//! It is found in the nodes and not asked of the modules: a path that stands in the file may be read, whichever
//! directive it stands behind, so that no module can forget to say so.

use std::path::{Path, PathBuf, absolute};

use foregate_conf::Node;
use foregate_net::confine;
use foregate_net::door::Named;

use crate::cycle::{Setup, folder};

/// Which folders are written: device and number of each; `None` where there is none.
pub type Identity = Vec<Option<(u64, u64)>>;

/// What the worker needs of the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    reads: Vec<PathBuf>,
    writes: Vec<PathBuf>,
    programs: Vec<String>,
    /// The first path to read, and to write, that begins with a variable: it may lead anywhere.
    reads_anywhere: Option<String>,
    writes_anywhere: Option<String>,
    /// Links are looked at one by one (`disable_symlinks`), which nobody does for the worker.
    guards_links: bool,
}

/// Words behind these are URIs, hosts or texts; what is logged to is opened by the master.
const NO_PATHS: &[&str] = &[
    "location",
    "server_name",
    "rewrite",
    "return",
    "if",
    "set",
    "try_files",
    "error_page",
    "index",
    "auth_request",
    "mirror",
    "post_action",
    "add_header",
    "add_trailer",
    "log_format",
    "error_log",
    "pid",
    "lock_file",
    "load_module",
    "include",
    "listen",
    "server",
    "proxy_pass",
    "proxy_redirect",
    "proxy_cookie_path",
    "proxy_cookie_domain",
    "proxy_set_header",
    "proxy_method",
    "fastcgi_param",
    "fastcgi_pass",
    "fastcgi_split_path_info",
    "uri",
    "health_check",
    "sub_filter",
    "add_before_body",
    "add_after_body",
];

/// Blocks whose lines are no directives.
const TABLES: &[&str] = &["map", "geo", "split_clients", "types", "charset_map", "match"];

/// What files are found under, relative to the prefix.
const ROOTS: [&str; 2] = ["root", "alias"];
/// Roots are written to where one of these stands and says anything but `off`.
const WRITE_ROOTS: [&str; 3] = ["dav_methods", "proxy_store", "fastcgi_store"];
/// nginx's `root` when there is none.
const ROOT_DEFAULT: &str = "html";
/// `access_log off`, `dav_methods off`.
const OFF: &str = "off";

impl Reach {
    /// Of all nodes; `temp_dirs` are the folders that modules have asked the master to make.
    pub(crate) fn of(nodes: &[Node], setup: &Setup, temp_dirs: &[PathBuf]) -> Self {
        let mut found =
            Finder { prefix: &setup.prefix, reach: Self::default(), roots: Vec::new(), write_roots: false };
        found.reach.reads.extend([folder(&setup.conf), setup.prefix.join(ROOT_DEFAULT)]);
        found.reach.writes.extend(temp_dirs.iter().cloned());
        found.walk(nodes);
        let Finder { mut reach, roots, write_roots, .. } = found;
        if write_roots {
            reach.writes_anywhere = reach.writes_anywhere.or_else(|| reach.reads_anywhere.clone());
            reach.writes.extend(roots);
        }
        for paths in [&mut reach.reads, &mut reach.writes] {
            paths.iter_mut().for_each(|path| *path = absolute(&*path).unwrap_or_else(|_| path.clone()));
            paths.sort();
            paths.dedup();
        }
        if reach.reads.iter().any(|path| path.parent().is_none()) {
            reach.reads_anywhere = reach.reads_anywhere.or(Some("/".to_owned()));
        }
        reach
    }

    /// For Landlock; `None`: it may write anywhere, so that there is nothing to confine.
    pub(crate) fn rules(&self) -> Option<confine::Reach> {
        if self.writes_anywhere.is_some() {
            return None;
        }
        let reads =
            self.reads_anywhere.is_none().then(|| self.reads.iter().map(|path| beside(path)).collect());
        Some(confine::Reach { reads, writes: self.writes.clone() })
    }

    /// For the porter.
    pub fn named(&self) -> Named {
        let paths = match self.reads_anywhere {
            Some(_) => vec![PathBuf::from("/")],
            None => self.reads.iter().chain(&self.writes).cloned().collect(),
        };
        Named { paths, programs: self.programs.clone() }
    }

    /// The first path that begins with a variable, to read and to write.
    pub(crate) fn anywhere(&self) -> (Option<&str>, Option<&str>) {
        (self.reads_anywhere.as_deref(), self.writes_anywhere.as_deref())
    }

    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.reads.len(), self.writes.len())
    }

    /// Whether a worker that was confined to `self` can serve a configuration that needs `other`. What is read besides
    /// the porter opens.
    pub fn covers(&self, other: &Self) -> bool {
        let below = |path: &PathBuf, folders: &[PathBuf]| folders.iter().any(|it| path.starts_with(it));
        let writes = other.writes.iter().all(|path| below(path, &self.writes));
        let reads = !other.guards_links || other.reads.iter().all(|path| below(path, &self.reads));
        let anywhere = self.reads_anywhere.is_some() || other.reads_anywhere.is_none();
        let writes_anywhere = other.writes_anywhere.is_none() && writes;
        let programs = other.programs.iter().all(|it| self.programs.contains(it));
        programs && (self.writes_anywhere.is_some() || (writes_anywhere && reads && anywhere))
    }

    /// Which folders they are that are written: one that was removed and made again is another.
    pub fn identity(&self) -> Identity {
        use std::os::unix::fs::MetadataExt;
        let identity = |path: &PathBuf| std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
        self.writes.iter().map(identity).collect()
    }
}

/// A single file is replaced by another of its name when it changes: what counts is its folder, unless that is one in
/// which everybody has something.
fn beside(path: &Path) -> PathBuf {
    const OWN_FOLDER_DEPTH: usize = 3;
    let folder = path.parent().filter(|it| it.components().count() >= OWN_FOLDER_DEPTH && path.is_file());
    folder.unwrap_or(path).to_owned()
}

/// Walks over nodes.
struct Finder<'a> {
    prefix: &'a Path,
    reach: Reach,
    /// Where files are found, so far.
    roots: Vec<PathBuf>,
    write_roots: bool,
}

impl Finder<'_> {
    fn walk(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.look(node);
            if !TABLES.contains(&&*node.name.text) {
                self.walk(node.body());
            }
        }
    }

    fn look(&mut self, node: &Node) {
        let name = node.name.text.as_str();
        let first = node.args.first().map_or("", |it| it.text.as_str());
        if ROOTS.contains(&name) {
            match stem(first) {
                Some(stem) => {
                    let root = self.prefix.join(stem);
                    self.roots.push(root.clone());
                    self.reach.reads.push(root);
                }
                None => _ = self.reach.reads_anywhere.get_or_insert_with(|| first.to_owned()),
            }
            return;
        }
        if WRITE_ROOTS.contains(&name) && first != OFF {
            self.write_roots = true;
        }
        if writes(name, first) {
            match stem(first) {
                // Written beside its place, then renamed.
                Some(stem) if name == "state" => {
                    self.reach.writes.extend(self.prefix.join(stem).parent().map(Path::to_owned));
                }
                Some(stem) => self.reach.writes.push(self.prefix.join(stem)),
                None => _ = self.reach.writes_anywhere.get_or_insert_with(|| first.to_owned()),
            }
        } else if name == "disable_symlinks" {
            self.reach.guards_links |= first != OFF;
        } else if names_a_file(name) && first.starts_with('$') {
            self.reach.reads_anywhere.get_or_insert_with(|| first.to_owned());
        } else if name == "dns" {
            let programs = node.args.iter().filter_map(|it| it.text.strip_prefix("program="));
            self.reach.programs.extend(programs.map(str::to_owned));
        } else if !NO_PATHS.contains(&name) {
            self.reach.reads.extend(node.args.iter().filter_map(|it| path_in(&it.text)));
        }
    }
}

/// Whether the worker itself writes what this directive names.
fn writes(name: &str, first: &str) -> bool {
    match name {
        "access_log" => first.contains('$') && !first.starts_with("syslog:"),
        "proxy_store" | "fastcgi_store" => first.contains('/') || first.starts_with('$'),
        "state" => first.contains('/') || first.contains('.'),
        _ => false,
    }
}

/// Directives whose first word is a file, perhaps by a variable alone.
fn names_a_file(name: &str) -> bool {
    ["_certificate", "_certificate_key", "_key_file", "_user_file", "_password_file"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// What stands before the first variable, up to the last whole folder; `None`: it begins with one.
fn stem(text: &str) -> Option<&str> {
    match text.find('$') {
        None => Some(text),
        Some(at) => text[..at].rfind('/').map(|slash| &text[..=slash]),
    }
}

/// A word that is a path, or has one behind `=` or `:`, as `key=/x` and `file:/x` have.
fn path_in(text: &str) -> Option<PathBuf> {
    let start = match text.starts_with('/') {
        true => 0,
        false => {
            text.find("=/").or_else(|| text.find(":/").filter(|at| !text[at + 2..].starts_with('/')))? + 1
        }
    };
    let path = &text[start..];
    // A lone slash is an URI's.
    stem(path).filter(|it| it.len() > 1).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foregate_conf::Strings;

    fn reach(text: &str) -> Reach {
        let setup = Setup {
            conf: "/c/nginx.conf".into(),
            prefix: "/p".into(),
            error_log: "stderr".into(),
            globals: Vec::new(),
            pid: "/run/x".into(),
            privileged: false,
        };
        let files = Strings::new([("/c/nginx.conf", text)]);
        let tree = foregate_conf::load(&setup.conf, &[], &files).map_err(|it| it.0).unwrap();
        Reach::of(&tree.nodes, &setup, &["/p/temp".into()])
    }

    #[test]
    fn what_is_named_is_found_and_uris_are_not() {
        let found = reach(
            "http { root /srv/$host/x; geoip2 /db/city.mmdb { } access_log /log/a; access_log /logs/$host.log;
             map $uri $x { /home /root; } proxy_cache_path /cache keys_zone=a:1m;
             server { location /etc { alias html2; error_page 404 /boot; auth_basic_user_file /pw/users; }
             location = /x { proxy_pass http://unix:/run/x:/y; jwt key=/keys/$kid; } } }",
        );
        let texts = |paths: &[PathBuf]| paths.iter().map(|it| it.display().to_string()).collect::<Vec<_>>();
        let reads = [
            "/c",
            "/cache",
            "/db/city.mmdb",
            "/keys/",
            "/log/a",
            "/p/html",
            "/p/html2",
            "/pw/users",
            "/srv/",
        ];
        assert_eq!(texts(&found.reads), reads);
        assert_eq!(texts(&found.writes), ["/logs/", "/p/temp"]);
        assert_eq!(found.anywhere(), (None, None));
    }

    #[test]
    fn variables_at_the_start_lead_anywhere() {
        let anywhere = |text: &str| {
            let found = reach(text);
            let (reads, writes) = found.anywhere();
            (reads.map(str::to_owned), writes.map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(anywhere("http { root $a/x; }"), (some("$a/x"), None));
        assert_eq!(anywhere("http { root /; }"), (some("/"), None));
        assert_eq!(anywhere("http { ssl_certificate $a; }"), (some("$a"), None));
        assert_eq!(anywhere("http { root $a; dav_methods PUT; }"), (some("$a"), some("$a")));
        assert_eq!(anywhere("http { access_log $a; }"), (None, some("$a")));
    }

    #[test]
    fn a_worker_goes_on_where_its_rules_do() {
        let covers = |one: &str, other: &str| reach(one).covers(&reach(other));
        assert!(covers("http { root /a; }", "http { root /b; }"), "the porter opens it");
        assert!(!covers("http { root /a; }", "http { root /b; disable_symlinks on; }"));
        assert!(!covers("http { root /a; }", "http { root $b; }"));
        assert!(!covers("http { root /a; }", "http { root /a; dav_methods PUT; }"));
        assert!(covers("http { root /a; dav_methods PUT; }", "http { root /a; }"));
    }
}
