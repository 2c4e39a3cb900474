//! `fastcgi_pass`: what applications are told, how their answers read, what they say beside them; and PHP itself.

use std::time::Duration;

use foregate_testkit::{Act, Application, Asked, Backend, Php, Setup, both, check_on, since};

/// What distributions put into `fastcgi_params`, as far as applications read it.
pub(crate) const PARAMS: &str = "
    fastcgi_param QUERY_STRING $query_string;
    fastcgi_param REQUEST_METHOD $request_method;
    fastcgi_param CONTENT_TYPE $content_type;
    fastcgi_param CONTENT_LENGTH $content_length;
    fastcgi_param SCRIPT_NAME $fastcgi_script_name;
    fastcgi_param REQUEST_URI $request_uri;
    fastcgi_param DOCUMENT_URI $document_uri;
    fastcgi_param DOCUMENT_ROOT $document_root;
    fastcgi_param SERVER_PROTOCOL $server_protocol;
    fastcgi_param REQUEST_SCHEME $scheme;
    fastcgi_param HTTPS $https if_not_empty;
    fastcgi_param GATEWAY_INTERFACE CGI/1.1;
    fastcgi_param SERVER_SOFTWARE nginx/$nginx_version;
    fastcgi_param REMOTE_ADDR $remote_addr;
    fastcgi_param SERVER_PORT $server_port;
    fastcgi_param SERVER_NAME $server_name;
    fastcgi_param REDIRECT_STATUS 200;
";

/// An application that acts by the path it is asked for.
fn by_path(act: impl Fn(&str, &Asked) -> Vec<Act> + Send + Sync + 'static) -> Application {
    Application::new(move |asked| act(asked.param("DOCUMENT_URI"), asked))
}

fn site(inside: &str, app: &Application) -> Setup {
    let conf = format!(
        "{PARAMS} server {{ listen 127.0.0.1:{{port:0}}; location / {{ fastcgi_pass {{app}}; {inside} }} }}"
    );
    Setup::http(&conf).set("app", app.address())
}

#[test]
fn applications_are_told_of_the_request() {
    let app = Application::new(|asked| {
        let names = ["REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "HTTPS"];
        let http = ["HTTP_HOST", "HTTP_X_A", "HTTP_ACCEPT", "HTTP_CONTENT_TYPE", "HTTP_PROXY", "EMPTY"];
        let told: Vec<String> = names
            .iter()
            .chain(&http)
            .filter(|name| asked.params.iter().any(|it| it.0 == ***name))
            .map(|name| format!("{name}={}", asked.param(name)))
            .collect();
        Act::answer(format!("\r\n{} {}.", told.join(" "), String::from_utf8_lossy(&asked.body)))
    });
    let inside = "fastcgi_index i.php; fastcgi_split_path_info ^(.+\\.php)(.*)$; include {dir}/more;";
    let setup = site(inside, &app).file(
        "more",
        format!(
            "{PARAMS} fastcgi_param PATH_INFO $fastcgi_path_info; fastcgi_param HTTP_ACCEPT '';
                 fastcgi_param EMPTY ''; fastcgi_param HTTP_PROXY '';"
        ),
    );
    both(|subject| {
        let cases = [
            (
                "GET /a.php/b?c=d\nHost: x\nX-A: 1\nAccept: all\nProxy: evil",
                "200 | = REQUEST_METHOD=GET SCRIPT_NAME=/a.php PATH_INFO=/b QUERY_STRING=c=d CONTENT_LENGTH= HTTP_HOST=x \
                 HTTP_X_A=1 EMPTY= .",
            ),
            (
                "POST /\nHost: x\nContent-Type: t\n\nbody",
                "200 | = REQUEST_METHOD=POST SCRIPT_NAME=/i.php PATH_INFO= QUERY_STRING= CONTENT_LENGTH=4 HTTP_HOST=x \
                 HTTP_CONTENT_TYPE=t EMPTY= body.",
            ),
        ];
        check_on(&setup.start(subject), &cases);
    });
}

#[test]
fn answers_read_as_cgi() {
    let app = by_path(|path, _| match path {
        "/status" => Act::answer("Status: 404 Not Here\r\nContent-Type: t/x\r\n\r\ngone"),
        "/location" => Act::answer("Location: http://there/\r\n\r\n"),
        "/short" => Act::answer("Content-Length: 3\r\n\r\nfour"),
        "/inside" => Act::answer("X-Accel-Redirect: /status\r\n\r\n"),
        "/none" => Act::answer("Status: 204 No Content\r\n\r\n"),
        "/hidden" => {
            Act::answer("X-Powered-By: PHP\r\nStatus: 200\r\nX-Accel-Expires: 0\r\nX-Kept: y\r\n\r\nb")
        }
        "/nothing" => vec![Act::End],
        "/no-status" => Act::answer("Status: ok\r\n\r\n"),
        "/no-head" => Act::answer("no head at all\0\r\n\r\n"),
        "/no-record" => vec![Act::Raw(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())],
        "/closes" => vec![Act::Close],
        "/open" => vec![Act::Stdout(b"A: b\r\n\r\nuntil it closes".to_vec()), Act::Close],
        _ => Act::answer("Content-Type: text/html\r\n\r\nbody"),
    });
    let setup = site("fastcgi_hide_header X-Powered-By;", &app);
    both(|subject| {
        let server = setup.start(subject);
        let cases = [
            ("GET /", "200 | Content-Type: text/html | !Status | = body"),
            ("HEAD /", "200 | Content-Type: text/html"),
            ("GET /status", "404 | Content-Type: t/x | = gone"),
            ("GET /location", "302 | Location: http://there/"),
            ("GET /short", "200 | Content-Length: 3 | = fou"),
            ("GET /inside", "404 | = gone"),
            ("GET /none", "204"),
            ("GET /hidden", "200 | !X-Powered-By | !X-Accel-Expires | X-Kept: y | = b"),
            ("GET /open", "200 | = until it closes"),
            ("GET /nothing", "502"),
            ("GET /no-status", "502"),
            ("GET /no-head", "502"),
            ("GET /no-record", "502"),
            ("GET /closes", "502"),
        ];
        check_on(&server, &cases);
        for logged in [
            "upstream sent more data than specified in \"Content-Length\" header while reading upstream",
            "upstream prematurely closed FastCGI stdout while reading response header from upstream",
            "upstream sent invalid status \"ok\" while reading response header from upstream",
            "upstream sent unsupported FastCGI protocol version: 72 while reading response header from upstream",
            "upstream prematurely closed connection while reading response header from upstream",
            "upstream: \"fastcgi://127.0.0.1:",
        ] {
            server.wait_for_error(logged);
        }
    });
}

#[test]
fn what_applications_say_of_errors_is_logged() {
    let app = by_path(|path, _| match path {
        "/fatal" => vec![Act::Stderr("PHP Fatal error: x"), Act::Stdout(b"\r\nshown".to_vec()), Act::End],
        _ => vec![
            Act::Stderr("PHP message: one.\n"),
            Act::Stdout(b"Content-Ty".to_vec()),
            Act::Stdout(b"pe: a/b\r\n\r\nhello".to_vec()),
            Act::Wait(Duration::from_millis(20)),
            Act::Stderr("PHP message: two"),
            Act::Stdout(b" world".to_vec()),
            Act::End,
        ],
    });
    let setup = site("fastcgi_catch_stderr \"PHP Fatal\";", &app);
    both(|subject| {
        let server = setup.start(subject);
        let cases = [("GET /", "200 | Content-Type: a/b | = hello world"), ("GET /fatal", "502 | !~ shown")];
        check_on(&server, &cases);
        for logged in [
            "FastCGI sent in stderr: \"PHP message: one\" while reading response header from upstream",
            "FastCGI sent in stderr: \"PHP message: two\" while reading upstream",
            "FastCGI sent in stderr: \"PHP Fatal error: x\" while reading response header from upstream",
        ] {
            server.wait_for_error(logged);
        }
    });
}

#[test]
fn long_bodies_go_through_both_ways() {
    let app = Application::new(|asked| {
        Act::answer(
            [b"Content-Type: a/b\r\n\r\n", asked.param("CONTENT_LENGTH").as_bytes(), b" ", &asked.body[..]]
                .concat(),
        )
    });
    let body: String = (0..50_000).map(|n| format!("{n:07} ")).collect();
    let posted = format!("POST /\nContent-Length: {}\n\n{body}", body.len());
    for inside in
        ["", "client_body_buffer_size 1m;", "fastcgi_request_buffering off;", "fastcgi_buffering off;"]
    {
        let setup = site(&format!("client_max_body_size 0; {inside}"), &app);
        both(|subject| {
            let server = setup.start(subject);
            let got = server.ask(&posted).expect("because there is an answer");
            assert!(
                got.text() == format!("{} {body}", body.len()),
                "{subject} {inside}: {} bytes",
                got.body.len()
            );
        });
    }
}

#[test]
fn connections_are_kept_where_both_sides_agree() {
    for (keep, connections) in [("on", 1), ("off", 2)] {
        let app = Application::new(|asked| Act::answer(format!("\r\n{}", asked.body.len())));
        let conf = format!(
            "upstream app {{ server {{app}}; keepalive 1; }} fastcgi_keep_conn {keep};
             server {{ listen 127.0.0.1:{{port:0}}; location / {{ fastcgi_pass app; }} }}"
        );
        let setup = Setup::http(&conf).set("app", app.address());
        both(|subject| {
            let before = app.asked().len();
            check_on(&setup.start(subject), &[("GET /a", "200 | = 0"), ("POST /b\n\nbody", "200 | = 4")]);
            let asked = app.asked().split_off(before);
            let mut used: Vec<_> = asked.iter().map(|it| it.connection).collect();
            used.dedup();
            assert_eq!((asked.len(), used.len()), (2, connections), "{subject} {keep}");
        });
    }
}

#[test]
fn another_server_is_asked_instead() {
    let dead = Application::new(|_| vec![Act::Close]);
    let app = Application::new(|_| Act::answer("\r\nalive"));
    let conf = "upstream app { server {dead}; server {app} backup; }
                server { listen 127.0.0.1:{port:0}; location / { fastcgi_pass app; }
                         location /variable { set $to {app}; fastcgi_pass $to; } }";
    let setup = Setup::http(conf).set("app", app.address()).set("dead", dead.address());
    both(|subject| {
        check_on(&setup.start(subject), &[("GET /", "200 | = alive"), ("GET /variable", "200 | = alive")]);
    });
}

#[test]
fn an_if_passes_on_where_it_says() {
    let app = Application::new(|_| Act::answer("\r\nscript"));
    let other = Backend::named("http");
    let conf = "server { listen 127.0.0.1:{port:0};
        location /a { proxy_pass http://{other}; if ($args) { fastcgi_pass {app}; } }
        location /b { fastcgi_pass {app}; if ($args) { proxy_pass http://{other}; } }
        location /c { fastcgi_pass {app}; if ($args) { set $x 1; } } }";
    let setup = Setup::http(conf).set("app", app.address()).backend("other", &other);
    both(|subject| {
        let cases = [
            ("GET /a", "200 | = http"),
            ("GET /a?x", "200 | = script"),
            ("GET /b", "200 | = script"),
            ("GET /b?x", "200 | = http"),
            ("GET /c?x", "200 | = script"),
        ];
        check_on(&setup.start(subject), &cases);
    });
}

#[test]
fn fields_of_one_name_are_one_parameter() {
    let app = Application::new(|it| {
        Act::answer(format!("\r\n{}|{}", it.param("HTTP_X_A"), it.param("HTTP_COOKIE")))
    });
    since("1.23", |subject| {
        let cases = [("GET /\nX-A: 1\nCookie: a=1\nX-A: 2\nCookie: b=2", "200 | = 1, 2|a=1; b=2")];
        check_on(&site("", &app).start(subject), &cases);
    });
}

#[test]
fn answers_are_kept_as_wordpress_guides_say() {
    let app = by_path(|path, asked| match path {
        "/private" => Act::answer("Set-Cookie: a=b\r\n\r\nprivate"),
        _ => Act::answer(format!(
            "Status: 200 Fine\r\nX-Of: app\r\n\r\n{} {}.",
            path,
            asked.param("QUERY_STRING")
        )),
    });
    let conf = format!(
        "{PARAMS}
        fastcgi_cache_path {{dir}}/cache levels=1:2 keys_zone=WORDPRESS:1m inactive=60m;
        fastcgi_cache_key \"$scheme$request_method$host$request_uri\";
        server {{
            listen 127.0.0.1:{{port:0}};
            set $skip_cache 0;
            if ($request_method = POST) {{ set $skip_cache 1; }}
            if ($query_string != \"\") {{ set $skip_cache 1; }}
            if ($http_cookie ~* \"wordpress_logged_in\") {{ set $skip_cache 1; }}
            location / {{
                fastcgi_pass {{app}};
                fastcgi_cache WORDPRESS;
                fastcgi_cache_valid 200 60m;
                fastcgi_cache_bypass $skip_cache;
                fastcgi_no_cache $skip_cache;
                add_header X-Cache $upstream_cache_status;
            }}
        }}"
    );
    let setup = Setup::http(&conf).set("app", app.address());
    both(|subject| {
        let cases = [
            ("GET /a", "200 | X-Cache: MISS | = /a ."),
            ("GET /a", "200 | X-Cache: HIT | X-Of: app | = /a ."),
            ("GET /a?b", "200 | X-Cache: BYPASS | = /a b."),
            ("GET /a\nCookie: wordpress_logged_in=1", "200 | X-Cache: BYPASS"),
            ("GET /private", "200 | X-Cache: MISS"),
            ("GET /private", "200 | X-Cache: MISS"),
        ];
        check_on(&setup.start(subject), &cases);
    });
}

/// What a content management system does with PHP: superglobals, uploads, redirects, errors, long answers.
const INDEX_PHP: &str = r#"<?php
switch ($_GET['do'] ?? '') {
case 'post': header('X-Was: ' . $_SERVER['REQUEST_METHOD']); echo $_POST['log'], ' ', strlen(file_get_contents('php://input')); break;
case 'upload': echo $_FILES['f']['name'], ' ', $_FILES['f']['size']; break;
case 'away': header('Location: /there'); break;
case 'gone': http_response_code(410); echo 'gone'; break;
case 'long': for ($i = 0; $i < 100000; $i++) { printf("%07d ", $i); } break;
case 'flush': echo 'one '; flush(); usleep(20000); echo 'two'; break;
case 'finish': echo 'answered'; fastcgi_finish_request(); usleep(20000); break;
case 'error': error_log('something to log'); echo 'logged'; break;
default: echo $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? '', ' ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['HTTP_HOST'];
}
"#;

#[test]
fn php_runs_behind_it() {
    let Some(php) = Php::start() else { return };
    let conf = format!(
        "{PARAMS} fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        server {{
            listen 127.0.0.1:{{port:0}};
            root {{dir}}/site;
            index index.php;
            location / {{ try_files $uri $uri/ /index.php$is_args$args; }}
            location ~ [^/]\\.php(/|$) {{
                fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
                if (!-f $document_root$fastcgi_script_name) {{ return 404; }}
                fastcgi_pass {};
            }}
        }}",
        php.address()
    );
    let upload = format!(
        "POST /index.php?do=upload\nContent-Type: multipart/form-data; boundary=B\n\n\
         --B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"photo.jpg\"\r\n\r\n{}\r\n--B--\r\n",
        "j".repeat(300_000)
    );
    let setup = Setup::http(&conf).file("site/index.php", "");
    let long: String = (0..100_000).map(|n| format!("{n:07} ")).collect();
    both(|subject| {
        let server = setup.start(subject);
        server.write("site/index.php", INDEX_PHP);
        let cases = [
            ("GET /\nHost: blog.test", "200 | Content-Type~ text/html | = /index.php  / blog.test"),
            ("GET /2026/hello/?p=1\nHost: blog.test", "200 | = /index.php  /2026/hello/?p=1 blog.test"),
            (
                "GET /index.php/rest/of\nHost: blog.test",
                "200 | = /index.php /rest/of /index.php/rest/of blog.test",
            ),
            ("GET /none.php", "404"),
            (
                "POST /?do=post\nContent-Type: application/x-www-form-urlencoded\n\nlog=me",
                "200 | X-Was: POST | = me 6",
            ),
            (&upload, "200 | = photo.jpg 300000"),
            ("GET /?do=away", "302 | Location~ /there"),
            ("GET /?do=gone", "410 | = gone"),
            ("HEAD /?do=gone", "410"),
            ("GET /?do=flush", "200 | = one two"),
            ("GET /?do=finish", "200 | = answered"),
            ("GET /?do=error", "200 | = logged"),
        ];
        check_on(&server, &cases);
        assert!(server.get("/?do=long").text() == long, "{subject}");
        server.wait_for_error("FastCGI sent in stderr: \"PHP message: something to log\" while");
    });
}
