//! `fastcgi_pass` as written, and what a script is told.

use crate::testing::{Site, error};

#[test]
fn a_uri_is_split_into_script_and_path_info() {
    let site = Site::new("fastcgi_split_path_info ^(.+?\\.php)(/.*)$; fastcgi_index index.php;");
    for (uri, script, info) in
        [("/a.php/b/c", "/a.php", "/b/c"), ("/a.php", "/a.php", ""), ("/d/", "/d/index.php", "")]
    {
        let mut ex = site.exchange(&format!("GET {uri}"));
        let mut got = |name: &str| {
            let mut out = Vec::new();
            let get = crate::variable(name).expect("because it is declared").get;
            get(&mut ex, &mut out);
            String::from_utf8(out).expect("because it is ASCII")
        };
        assert_eq!((got("fastcgi_script_name"), got("fastcgi_path_info")), (script.into(), info.into()));
    }
}

#[test]
fn mistakes_are_named_as_nginx_names_them() {
    for (inside, want) in [
        ("fastcgi_pass 127.0.0.1:9000;", ""),
        ("fastcgi_pass unix:/run/php.sock;", ""),
        ("fastcgi_pass $name;", "unknown \"name\" variable"),
        ("fastcgi_pass 127.0.0.1;", "no port in upstream \"127.0.0.1\""),
        ("fastcgi_pass unix:;", "no path in the unix domain socket in upstream \"unix:\""),
        ("fastcgi_pass 127.0.0.1:9000/x;", "invalid host in upstream \"127.0.0.1:9000/x\""),
        ("fastcgi_split_path_info ^(.+)$;", "pattern \"^(.+)$\" must have 2 captures"),
        ("fastcgi_param A b c;", "invalid parameter \"c\""),
        ("fastcgi_param A;", "invalid number of arguments in \"fastcgi_param\" directive"),
        ("fastcgi_buffers 1 4k;", "there must be at least 2 \"fastcgi_buffers\""),
        ("fastcgi_buffers 4 x;", "\"fastcgi_buffers\" directive invalid value"),
        ("fastcgi_limit_rate x; fastcgi_pass a:1;", "\"fastcgi_limit_rate\" directive invalid value"),
    ] {
        assert_eq!(error(&format!("server {{ location / {{ {inside} }} }}")), want, "{inside}");
    }
}

/// The parameters of a request, `NAME=value` each.
fn told(conf: &str, request: &str) -> Vec<String> {
    let site = Site::new(&format!("server {{ location / {{ fastcgi_pass 127.0.0.1:1; {conf} }} }}"));
    let mut ex = site.exchange(request);
    let passing = site.settings().fastcgi.as_ref().and_then(|it| it.passing.as_ref());
    let params = &passing.expect("because it passes on").params;
    let mut told = Vec::new();
    params.each(&mut ex, |name, value| {
        told.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
    });
    told
}

#[test]
fn scripts_are_told_what_the_configuration_and_the_client_say() {
    let request = "GET /a HTTP/1.1\nHost: site\nX-Forwarded-For: 1\nCookie: a=b\nx-forwarded-for: 2\ncookie: c=d\nX_U: u";
    assert_eq!(
        told("fastcgi_param SCRIPT $uri; fastcgi_param QUERY $args; fastcgi_param NO $args if_not_empty;", request),
        ["SCRIPT=/a", "QUERY=", "HTTP_HOST=site", "HTTP_X_FORWARDED_FOR=1, 2", "HTTP_COOKIE=a=b; c=d", "HTTP_X_U=u"]
    );
    assert_eq!(
        told("fastcgi_param HTTP_HOST other; fastcgi_param HTTP_COOKIE ''; fastcgi_param HTTP_X_U x;", request),
        ["HTTP_HOST=other", "HTTP_X_U=x", "HTTP_X_FORWARDED_FOR=1, 2"]
    );
    assert_eq!(told("fastcgi_pass_request_headers off; fastcgi_param A b;", request), ["A=b", "HTTP_HOST=site"]);
}

#[test]
fn an_if_passes_on_where_its_location_does() {
    let site = Site::new("server { location /a/ { fastcgi_pass 127.0.0.1:1; if ($uri) { set $x 1; } } }");
    assert!(site.settings().fastcgi.as_ref().is_some_and(|it| it.passing.is_some()));
}
