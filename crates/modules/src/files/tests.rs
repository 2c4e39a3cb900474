//! Files on disk under configurations: what is answered, where it leads, what is logged.

use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use foregate_core::{Body, Exchange, Flow, Reply, Stop};

use crate::testing::{Site, error, value};

/// A folder of the test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    /// With these files, each holding its own name; a name that ends in a slash is a folder.
    fn new(names: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("foregate-files-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("because tests may write to the temporary folder");
        let folder = Self(path.canonicalize().expect("because it was made above"));
        for name in names {
            folder.add(name);
        }
        folder
    }

    fn add(&self, name: &str) {
        let path = self.0.join(name);
        let parent = if name.ends_with('/') { &*path } else { path.parent().unwrap_or(&path) };
        fs::create_dir_all(parent).expect("because the folder is ours");
        if !name.ends_with('/') {
            fs::write(&path, name).expect("because the folder is ours");
            let file = fs::File::options().write(true).open(&path).expect("because it was written above");
            let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME_S);
            file.set_modified(mtime).expect("because the file is ours");
        }
    }

    fn link(&self, to: &str, name: &str) {
        symlink(to, self.0.join(name)).expect("because the folder is ours");
    }

    /// What a request meets under a configuration in which `DIR` is this folder. See [`seen`].
    fn check(&self, conf: &str, request: &str) -> String {
        self.check_logged(conf, request).0
    }

    /// And the lines logged, without the client's facts, with `DIR` for this folder.
    fn check_logged(&self, conf: &str, request: &str) -> (String, Vec<String>) {
        let dir = self.0.to_str().unwrap_or_default();
        let site = Site::new(&conf.replace("DIR", dir));
        let mut ex = site.exchange(request);
        let seen = seen(&site, &mut ex);
        let lines = site.house.logged();
        let short = |it: &String| it.split(", client").next().unwrap_or_default().replace(dir, "DIR");
        (seen.replace(dir, "DIR"), lines.iter().map(short).collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Thu, 02 Jan 2020 03:04:05 GMT
const MTIME_S: u64 = 1_577_934_245;

/// `200 text`, `404`, `301 /to/`, `-> /uri?args`, `@name`, through the precontent and content phases.
fn seen(site: &Site, ex: &mut Exchange) -> String {
    match answer(site, ex) {
        Continue(reply) => format!("{} {}", reply.status, text(reply.body)),
        Break(Stop::Reply(reply)) => {
            let to = reply.fields.get(b"Location").map(|it| format!(" {}", String::from_utf8_lossy(it)));
            format!("{}{}", reply.status, to.unwrap_or_default())
        }
        Break(Stop::Redirect { uri, args }) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("-> {}{}{}", text(&uri), if args.is_empty() { "" } else { "?" }, text(&args))
        }
        Break(Stop::Named(name)) => format!("@{}", String::from_utf8_lossy(&name)),
        Break(Stop::Close) => "close".to_owned(),
    }
}

fn answer(site: &Site, ex: &mut Exchange) -> Flow<Reply> {
    let on = site.settings().files.as_ref().expect("because files are resolved everywhere");
    super::try_files(on, ex)?;
    super::serve(on, ex)
}

fn text(body: Body) -> String {
    match body {
        Body::File(mut slice) => String::from_utf8_lossy(&slice.read().unwrap_or_default()).into_owned(),
        Body::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

#[test]
fn a_file_is_served_with_its_validators() {
    let folder = Folder::new(&["a.txt"]);
    let site = Site::new(&format!("root {};", folder.0.display()));
    let Continue(reply) = answer(&site, &mut site.exchange("GET /a.txt")) else { panic!("no file") };
    assert_eq!((reply.status, reply.mtime, reply.content_length()), (200, Some(MTIME_S as i64), Some(5)));
    assert!(reply.allow_ranges && reply.type_by_uri);
    assert_eq!(reply.fields.get(b"Last-Modified"), Some(&b"Thu, 02 Jan 2020 03:04:05 GMT"[..]));
    assert_eq!(reply.fields.get(b"ETag"), Some(&b"\"5e0d5da5-5\""[..]));
    let site = Site::new(&format!("root {}; etag off;", folder.0.display()));
    let Continue(reply) = answer(&site, &mut site.exchange("HEAD /a.txt")) else { panic!("no file") };
    assert!(!reply.fields.contains(b"ETag"));
}

#[test]
fn what_is_no_file_has_its_status() {
    let folder = Folder::new(&["a.txt", "b/"]);
    for (request, want) in [
        ("GET /a.txt", "200 a.txt"),
        ("HEAD /a.txt", "200 a.txt"),
        ("GET /none", "404"),
        ("GET /a.txt/b", "404"),
        ("GET /a.txt/", "404"),
        ("GET /\0", "404"),
        ("POST /a.txt", "405"),
        ("POST /none", "404"),
        ("PUT /none", "405"),
        ("DELETE /b/", "405"),
        ("GET /b", "301 /b/"),
        ("POST /b?x=%20&y", "301 /b/?x=%20&y"),
        ("GET /b/", "403"),
    ] {
        assert_eq!(folder.check("root DIR;", request), want, "{request}");
    }
    let long = format!("GET /{}", "x".repeat(5000));
    assert_eq!(folder.check("root DIR;", &long), "404");
}

#[test]
fn the_redirect_to_a_folder_is_escaped() {
    let folder = Folder::new(&["a?#%/"]);
    assert_eq!(folder.check("root DIR;", "GET /x").as_str(), "404");
    let site = Site::new(&format!("root {};", folder.0.display()));
    let mut ex = site.exchange("GET /");
    ex.uri = b"/a?#%".to_vec();
    assert_eq!(seen(&site, &mut ex), "301 /a%3F%23%25/");
}

#[test]
fn failures_are_logged_as_nginx_does() {
    let folder = Folder::new(&["b/"]);
    let check = |conf, request| folder.check_logged(conf, request).1;
    let want = "error: *1 open() \"DIR/none\" failed (2: No such file or directory)";
    assert_eq!(check("root DIR/;", "GET /none"), [want]);
    assert!(check("root DIR; log_not_found off;", "GET /none").is_empty());
    let want = "error: *1 directory index of \"DIR/b/\" is forbidden";
    assert_eq!(check("root DIR;", "GET /b/"), [want]);
    let want = "error: *1 \"DIR/c/index.html\" is not found (2: No such file or directory)";
    assert_eq!(check("root DIR;", "GET /c/"), [want]);
    assert!(check("root DIR; log_not_found off;", "GET /c/").is_empty());
}

#[test]
fn sockets_are_not_files() {
    let folder = Folder::new(&[]);
    let _pipe = std::os::unix::net::UnixListener::bind(folder.0.join("s"));
    // A socket cannot even be opened; nginx answers the same.
    assert_eq!(folder.check("root DIR;", "GET /s"), "500");
    let null = Site::new("root /dev;");
    let mut ex = null.exchange("GET /null");
    assert_eq!(seen(&null, &mut ex), "404");
    assert!(null.house.logged()[0].starts_with("crit: *1 \"/dev/null\" is not a regular file"));
}

#[test]
fn roots_may_hold_variables_and_be_relative() {
    let folder = Folder::new(&["h/a"]);
    assert_eq!(folder.check("root DIR/$host;", "GET /a\nHost: h"), "200 h/a");
    assert_eq!(value("root x/;", "GET /a", "$document_root|$request_filename"), "/etc/nginx/x|/etc/nginx/x/a");
    assert_eq!(value("", "GET /a", "$document_root"), "/etc/nginx/html");
    assert_eq!(value("root /;", "GET /a", "$document_root|$request_filename"), "|/a");
    assert_eq!(value("root $arg_r;", "GET /a?r=b", "$document_root"), "/etc/nginx/b");
    assert_eq!(value("root $arg_r;", "GET /a?r=/b", "$request_filename"), "/b/a");
    assert_eq!(value("server { root /x; location / { } }", "GET /a", "$document_root"), "/x");
    folder.link("h", "l");
    let conf = format!("root {}/l;", folder.0.display());
    assert_eq!(value(&conf, "GET /", "$realpath_root"), folder.0.join("h").display().to_string());
}

#[test]
fn an_alias_takes_the_place_of_what_its_location_covers() {
    let folder = Folder::new(&["d/x", "d/i/index.html"]);
    let conf = "server { location /al/ { alias DIR/d/; } }";
    assert_eq!(folder.check(conf, "GET /al/x"), "200 d/x");
    assert_eq!(folder.check(conf, "GET /al/i"), "301 /al/i/");
    assert_eq!(folder.check(conf, "GET /al/i/?a"), "-> /al/i/index.html?a");
    assert_eq!(folder.check("server { location = /one { alias DIR/d/x; } }", "GET /one"), "200 d/x");
    let nested = "server { location /al/ { alias DIR/d/; location ~ x { } } }";
    assert_eq!(folder.check(nested, "GET /al/x"), "200 d/x");
    let with_variable = "server { location /al/ { alias DIR/$arg_d/; } }";
    assert_eq!(folder.check(with_variable, "GET /al/x?d=d"), "200 d/x");
}

#[test]
fn an_alias_in_a_regex_location_is_the_whole_path() {
    let folder = Folder::new(&["d/x"]);
    assert_eq!(folder.check("server { location ~ ^/u { alias DIR/d/x; } }", "GET /u/whatever"), "200 d/x");
    let tries = "server { location ~ x { alias DIR/d; try_files $uri =404; } }";
    assert_eq!(folder.check(tries, "GET /x"), "200 d/x");
    assert_eq!(folder.check(tries, "GET /y"), "404");
}

#[test]
fn an_alias_needs_the_uri_that_its_location_was_found_by() {
    let site = Site::new("server { location /al/ { alias /x/; } }");
    let mut ex = site.exchange("GET /al/b");
    ex.location_holds = false;
    assert_eq!(seen(&site, &mut ex), "500");
    let want = "alert: *1 \"alias\" cannot be used in location \"/al/\" where URI was rewritten";
    assert!(site.house.logged()[0].starts_with(want));
}

#[test]
fn an_index_is_an_internal_redirect() {
    let folder = Folder::new(&["b/i2", "c/index.html", "e/"]);
    let conf = "root DIR; index i1 $arg_n i2; index /abs;";
    assert_eq!(folder.check(conf, "GET /b/?n=i0"), "-> /b/i2?n=i0");
    // An empty name is the folder itself, which leads in a circle, as in nginx.
    assert_eq!(folder.check(conf, "POST /b/"), "-> /b/");
    assert_eq!(folder.check("root DIR; index i1 i2;", "POST /b/"), "-> /b/i2");
    assert_eq!(folder.check(conf, "GET /e/?n=x"), "-> /abs?n=x");
    assert_eq!(folder.check("root DIR;", "GET /c/"), "-> /c/index.html");
    assert_eq!(folder.check("root DIR; index $arg_n;", "GET /b/?n=/q"), "-> /q?n=/q");
    assert_eq!(folder.check("root DIR; index a; server { }", "GET /c/"), "403");
    assert_eq!(folder.check("root DIR; index a; server { index index.html; }", "GET /c/"), "-> /c/index.html");
}

#[test]
fn any_file_is_a_random_index() {
    let folder = Folder::new(&["b/one", "b/two", "b/sub/three", "b/.hidden", "e/index.html"]);
    let conf = "server { root DIR; location / { random_index on; } }";
    let mut seen: Vec<_> = (0..60).map(|_| folder.check(conf, "GET /b/")).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["-> /b/one", "-> /b/two"]);
    assert_eq!(folder.check(conf, "GET /none/"), "404");
    assert_eq!(folder.check(conf, "GET /b/sub/"), "-> /b/sub/three");
}

#[test]
fn try_files_takes_the_first_that_exists() {
    let folder = Folder::new(&["a.html", "d/x", "f.html"]);
    let conf = "server { root DIR; location / { try_files $uri $uri.html $uri/ =403; } }";
    assert_eq!(folder.check(conf, "GET /a.html"), "200 a.html");
    assert_eq!(folder.check(conf, "GET /a"), "200 a.html");
    assert_eq!(folder.check(conf, "GET /d"), "301 /d/");
    assert_eq!(folder.check(conf, "GET /d/"), "403");
    assert_eq!(folder.check(conf, "GET /zz"), "403");
    let check = |tries: &str, request| {
        folder.check(&format!("server {{ root DIR; location / {{ try_files {tries}; }} }}"), request)
    };
    assert_eq!(check("/f.html =404", "GET /q"), "200 f.html");
    assert_eq!(check("/f.html/ =404", "GET /q"), "404");
    assert_eq!(check("/d =404", "GET /q"), "404");
    assert_eq!(check("/d/ =404", "GET /q"), "301 /d/");
    assert_eq!(check("$uri /f?x=$args", "GET /q?a=b"), "-> /f?x=a=b");
    assert_eq!(check("$uri /f", "GET /q?a=b"), "-> /f");
    assert_eq!(check("$uri @named", "GET /q"), "@named");
    assert_eq!(check("$uri =444", "GET /q"), "close");
}

#[test]
fn try_files_holds_in_its_own_block_only() {
    let folder = Folder::new(&["a"]);
    assert_eq!(folder.check("server { root DIR; try_files /a =404; location / { } }", "GET /b"), "404");
    assert_eq!(folder.check("server { root DIR; try_files /a =404; }", "GET /b"), "200 a");
    let inside_if = "server { root DIR; location / { try_files /a =404; if ($uri) { } } }";
    assert_eq!(folder.check(inside_if, "GET /b"), "404");
}

#[test]
fn try_files_under_an_alias_is_as_odd_as_nginx_s() {
    let folder = Folder::new(&["d/x"]);
    let conf = "server { location /al/ { alias DIR/d/; try_files $uri /al/plain; } }";
    assert_eq!(folder.check(conf, "GET /al/x"), "200 d/x");
    assert_eq!(folder.check(conf, "GET /al/none"), "-> /al/plain");
    // What the location covers is taken off a value with variables, even the last.
    let odd = "server { location /al/ { alias DIR/d/; try_files $uri /al/q?$args; } }";
    assert_eq!(folder.check(odd, "GET /al/none?a"), "-> q?a");
}

#[test]
fn links_are_not_followed_where_that_is_forbidden() {
    let folder = Folder::new(&["real/a"]);
    folder.link("real/a", "file");
    folder.link("real", "dir");
    let check = |rule: &str, request| folder.check_logged(&format!("root DIR; disable_symlinks {rule};"), request);
    assert_eq!(check("off", "GET /dir/a").0, "200 real/a");
    assert_eq!(check("on", "GET /real/a").0, "200 real/a");
    let (status, lines) = check("on", "GET /file");
    assert_eq!(status, "403");
    assert_eq!(lines, ["error: *1 openat() \"DIR/file\" failed (40: Too many levels of symbolic links)"]);
    let (status, lines) = check("on", "GET /dir/a");
    assert_eq!(status, "404");
    assert_eq!(lines, ["error: *1 openat() \"DIR/dir/a\" failed (20: Not a directory)"]);
    assert_eq!(check("on", "GET /dir").0, "403");
    assert_eq!(check("if_not_owner", "GET /file").0, "200 real/a");
    assert_eq!(check("on from=$document_root", "GET /file").0, "403");
    assert_eq!(check("on from=$document_root/dir", "GET /dir/a").0, "200 real/a");
    assert_eq!(check("on from=$document_root/dir/", "GET /dir/a").0, "200 real/a");
    assert_eq!(check("on from=$request_filename", "GET /file").0, "200 real/a");
    assert_eq!(check("on from=/elsewhere", "GET /file").0, "403");
    let tries = "server { root DIR; location / { disable_symlinks on; try_files $uri /real/a =404; } }";
    assert_eq!(folder.check(tries, "GET /file"), "200 real/a");
}

#[test]
fn a_cache_keeps_files_open_and_remembers_failures() {
    let folder = Folder::new(&["a", "b"]);
    let conf = |more: &str| format!("root {}; open_file_cache max=2 inactive=1h; {more}", folder.0.display());
    let site = Site::new(&conf("open_file_cache_errors on;"));
    let check = |request| seen(&site, &mut site.exchange(request));
    assert_eq!(check("GET /a"), "200 a");
    assert_eq!(check("GET /late"), "404");
    folder.add("late");
    fs::remove_file(folder.0.join("a")).expect("because the test made it");
    assert_eq!(check("GET /a"), "200 a");
    assert_eq!(check("GET /late"), "404");
    assert_eq!(check("GET /b"), "200 b");
    // `max=2`: the longest unused had to go.
    assert_eq!(check("GET /a"), "404");
    let site = Site::new(&conf("open_file_cache_valid 0;"));
    let check = |request| seen(&site, &mut site.exchange(request));
    assert_eq!(check("GET /none"), "404");
    folder.add("none");
    assert_eq!(check("GET /none"), "200 none");
}

#[test]
fn folders_are_listed_in_nginx_s_layout() {
    let folder = Folder::new(&["l/<x>", "l/k", "l/.hid", "l/sub/"]);
    let long = "n".repeat(60);
    folder.add(&format!("l/{long}"));
    let path: &Path = &folder.0;
    for name in ["l/sub", "l"] {
        let folder = fs::File::open(path.join(name)).expect("because the test made it");
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME_S);
        folder.set_modified(mtime).expect("because the folder is ours");
    }
    let page = folder.check("root DIR; autoindex on;", "GET /l/");
    let (title, rest) = page.split_once("<meta name=\"viewport\"").expect("because the head is for phones too");
    let page = format!("{title}{}", &rest[rest.find("</head>").expect("because it ends")..]);
    let blanks = |n| " ".repeat(n);
    let want = [
        "200 <html>\r\n<head><title>Index of /l/</title></head>\r\n<body>\r\n<h1>Index of /l/</h1><hr><pre>".to_owned(),
        "<a href=\"../\">../</a>\r\n".to_owned(),
        format!("<a href=\"sub/\">sub/</a>{}02-Jan-2020 03:04 {}-\r\n", blanks(47), blanks(18)),
        format!("<a href=\"%3Cx%3E\">&lt;x&gt;</a>{}02-Jan-2020 03:04 {}5\r\n", blanks(48), blanks(18)),
        format!("<a href=\"k\">k</a>{}02-Jan-2020 03:04 {}3\r\n", blanks(50), blanks(18)),
        format!("<a href=\"{long}\">{}..&gt;</a> 02-Jan-2020 03:04 {}62\r\n", "n".repeat(47), blanks(17)),
        "</pre><hr></body>\r\n</html>\r\n".to_owned(),
    ];
    assert_eq!(page, want.concat());
    let page = folder.check("root DIR; autoindex on; autoindex_exact_size off;", "GET /l/");
    assert!(page.contains(&format!("02-Jan-2020 03:04 {}3\r\n", blanks(6))), "{page}");
    assert_eq!(folder.check("root DIR; autoindex on;", "POST /l/"), "403");
    assert_eq!(folder.check("root DIR; autoindex on;", "GET /none/"), "404");
}

#[test]
fn folders_are_listed_for_machines() {
    let folder = Folder::new(&["l/a\"b&"]);
    let check = |format: &str, request: &str| {
        folder.check(&format!("root DIR; autoindex on; autoindex_format {format};"), request)
    };
    let list = "[\r\n{ \"name\":\"a\\\"b&\", \"type\":\"file\", \"mtime\":\"Thu, 02 Jan 2020 03:04:05 GMT\", \"size\":6 }\r\n]";
    assert_eq!(check("json", "GET /l/"), format!("200 {list}"));
    assert_eq!(check("jsonp", "GET /l/"), format!("200 {list}"));
    assert_eq!(check("jsonp", "GET /l/?callback=a.b"), format!("200 /* callback */\r\na.b({list});"));
    assert_eq!(check("jsonp", "GET /l/?callback=a-b"), "400");
    assert_eq!(check("jsonp", &format!("GET /l/?callback={}", "x".repeat(129))), "400");
    let xml = "200 <?xml version=\"1.0\"?>\r\n<list>\r\n<file mtime=\"2020-01-02T03:04:05Z\" size=\"6\">a&quot;b&amp;</file>\r\n</list>\r\n";
    assert_eq!(check("xml", "GET /l/"), xml);
}

#[test]
fn errors_are_nginx_s() {
    for (conf, want) in [
        ("root /a; root /b;", "\"root\" directive is duplicate"),
        (
            "server { location / { root /a; alias /b; } }",
            "\"alias\" directive is duplicate, \"root\" directive was specified earlier",
        ),
        (
            "server { location / { alias /a; root /b; } }",
            "\"root\" directive is duplicate, \"alias\" directive was specified earlier",
        ),
        (
            "server { location @x { alias /a; } }",
            "the \"alias\" directive cannot be used inside the named location",
        ),
        ("root $document_root/x;", "the $document_root variable cannot be used in the \"root\" directive"),
        ("root /a${realpath_root};", "the $realpath_root variable cannot be used in the \"root\" directive"),
        ("alias /a;", "\"alias\" directive is not allowed here"),
        ("index \"\";", "index \"\" in \"index\" directive is invalid"),
        ("server { try_files $uri =1000; }", "invalid code \"=1000\""),
        ("server { try_files $uri =x; }", "invalid code \"=x\""),
        ("server { try_files $uri; }", "invalid number of arguments in \"try_files\" directive"),
        ("server { try_files a b; try_files a b; }", "\"try_files\" directive is duplicate"),
        ("disable_symlinks yes;", "invalid parameter \"yes\""),
        (
            "disable_symlinks from=/x;",
            "\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter",
        ),
        ("disable_symlinks on off;", "duplicate parameters \"on off\""),
        ("disable_symlinks off from=/x;", "\"from=\" cannot be used with \"off\" parameter"),
        ("open_file_cache inactive=1s;", "\"open_file_cache\" must have the \"max\" parameter"),
        ("open_file_cache max=0;", "invalid \"open_file_cache\" parameter \"max=0\""),
        ("aio yes;", "\"aio\" directive invalid value"),
        ("aio threads=p; directio 4m; output_buffers 1 32k; open_file_cache off;", ""),
        ("directio x;", "\"directio\" directive invalid value"),
        ("output_buffers 0 1;", "\"output_buffers\" directive invalid value"),
        ("autoindex_format text;", "invalid value \"text\""),
    ] {
        assert_eq!(error(conf), want, "{conf}");
    }
    let site = Site::new("server { index /a b; location / { } }");
    assert_eq!(site.warnings, ["only the last index in \"index\" directive should be absolute"]);
}
