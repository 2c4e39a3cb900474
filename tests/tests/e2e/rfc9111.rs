//! Caching by RFC 9111 (`proxy_cache_rfc`), seen from outside: `docs/rfc9111.md` names these tests row by row.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foregate_testkit::{Backend, Case, Reply, Server, Setup, check_on, foregate_only};

/// A server whose upstream does as it is told, and the upstream.
fn with(inside: &str, test: impl Fn(&Server, &Backend)) {
    foregate_only(|subject| {
        let app = obedient();
        let server = Setup::http(
            "proxy_cache_path {dir}/cache levels=1:2 keys_zone=one:1m;
             add_header X-Cache $upstream_cache_status;
             server {
                 listen 127.0.0.1:{port:0};
                 proxy_cache one;
                 proxy_cache_rfc on;
                 INSIDE
                 location / { proxy_pass http://{app}; }
                 location /set/ { proxy_pass http://{app}; }
                 location /gone { proxy_pass http://127.0.0.1:1; proxy_cache_key /a; }
             }"
            .replace("INSIDE", inside)
            .as_str(),
        )
        .backend("app", &app)
        .allow_log("upstream")
        .start(subject);
        test(&server, &app);
    });
}

/// The table on a server of its own.
fn check(cases: &[Case<'_>]) {
    with("", |server, _| check_on(server, cases));
}

/// Answers what the target says: `/path?FIRST|SECOND|…`, one for each request of that path, the last one ever after.
/// An answer is `STATUS!Name:+value;Name:+value`; `@N` in it is the date of N seconds from now. Its body tells how many
/// requests there have been.
fn obedient() -> Backend {
    let asked: Mutex<HashMap<String, usize>> = Mutex::default();
    Backend::new(move |seen| {
        let (path, said) = seen.target.split_once('?').unwrap_or((&seen.target, "200!"));
        let n = {
            let mut asked = asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let n = asked.entry(path.to_owned()).or_default();
            *n += 1;
            *n
        };
        let answers: Vec<&str> = said.split('|').collect();
        let answer = answers[(n - 1).min(answers.len() - 1)];
        let (status, lines) = answer.split_once('!').unwrap_or(("200", answer));
        let lines: String = lines.split(';').filter(|it| !it.is_empty()).map(line).collect();
        match status {
            "304" => Reply::raw(format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n")),
            "close" => Reply::close_at_once(),
            "cut" => Reply::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n{lines}\r\npart")).close(),
            status => Reply::status(status.parse().unwrap_or(200), &lines, format!("answer {n}")),
        }
    })
}

fn line(text: &str) -> String {
    let text = text.replace('+', " ");
    let (name, value) = text.split_once(": ").unwrap_or((&text, ""));
    match value.strip_prefix('@').and_then(|it| it.parse::<i64>().ok()) {
        Some(seconds) => format!("{name}: {}\r\n", http_date(seconds)),
        None => format!("{name}: {value}\r\n"),
    }
}

/// The date of so many seconds from now (RFC 9110, section 5.6.7).
fn http_date(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let at = now.cast_signed() + seconds;
    let (days, second) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    // Days since the first of March of the year 0, by Howard Hinnant's algorithm.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let week = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{week}, {day:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", months[month as usize])
}

/// What is asked twice: whether the second answer comes from the cache.
fn twice(rows: &[(&str, bool)]) {
    with("", |server, _| {
        for (n, (asked, kept)) in rows.iter().enumerate() {
            let request = asked.replacen("/a", &format!("/{n}"), 1);
            let first = server.ask(&request).map(|it| it.text());
            let second = server.ask(&request).map(|it| it.text());
            assert_eq!(first == second, *kept, "{request}: {first:?}, {second:?}");
        }
    });
}

#[test]
fn only_what_may_be_stored_is() {
    twice(&[
        ("GET /a?200!Cache-Control:+max-age=60", true),
        ("GET /a?200!Cache-Control:+no-store,max-age=60", false),
        ("GET /a?200!Cache-Control:+private,max-age=60", false),
        ("GET /a?200!Cache-Control:+PRIVATE,max-age=60", false),
        ("GET /a?200!Cache-Control:+x-no-store,max-age=60", true),
        ("GET /a?200!Cache-Control:+max-age=60\nCache-Control: no-store", false),
        ("GET /a?200!", false),
        ("GET /a?200!Expires:+@60", true),
        ("GET /a?200!Expires:+@-60", false),
        ("GET /a?200!Expires:+0", false),
        ("GET /a?200!Cache-Control:+s-maxage=60,max-age=0", true),
        ("GET /a?200!Cache-Control:+s-maxage=0,max-age=60", false),
        ("GET /a?200!Cache-Control:+max-age=60;Expires:+@-60", true),
        ("GET /a?599!Cache-Control:+max-age=60", true),
        ("GET /a?599!Cache-Control:+must-understand,max-age=60", false),
        ("GET /a?200!Cache-Control:+must-understand,no-store,max-age=60", true),
        ("GET /a?404!Cache-Control:+max-age=60", true),
        ("GET /a?206!Cache-Control:+max-age=60;Content-Range:+bytes+0-7/8", false),
        ("POST /a?200!Cache-Control:+max-age=60;Content-Location:+/a\n\nx", false),
        ("PUT /a?200!Cache-Control:+max-age=60\n\nx", false),
        ("GET /a?200!Cache-Control:+max-age=60,immutable", true),
    ]);
}

#[test]
fn answers_to_authorization_are_stored_only_if_allowed() {
    let ask = |said: &str| format!("GET /a?200!Cache-Control:+max-age=60{said}\nAuthorization: Basic eDp5");
    twice(&[
        (&ask(""), false),
        (&ask(",public"), true),
        (&ask(",must-revalidate"), true),
        (&ask(",s-maxage=60"), true),
        (&ask(",proxy-revalidate"), false),
    ]);
}

#[test]
fn cookies_are_stored_only_if_allowed() {
    twice(&[
        ("GET /a?200!Cache-Control:+max-age=60;Set-Cookie:+a=b", false),
        ("GET /a?200!Cache-Control:+max-age=60,public;Set-Cookie:+a=b", true),
        ("GET /a?200!Cache-Control:+max-age=60,private=\"set-cookie\";Set-Cookie:+a=b", true),
        ("GET /a?200!Last-Modified:+@-100000", true),
        ("GET /a?200!Last-Modified:+@-100000\nCookie: a=b", false),
        ("GET /a?200!Cache-Control:+max-age=60\nCookie: a=b", true),
    ]);
    check(&[
        (
            "GET /a?200!Cache-Control:+max-age=60,no-cache=\"Set-Cookie,X-A\";Set-Cookie:+a=b;X-A:+1;X-B:+2",
            "200 | = answer 1 | Set-Cookie: a=b | X-A: 1",
        ),
        (
            "GET /a?200!Cache-Control:+max-age=60,no-cache=\"Set-Cookie,X-A\";Set-Cookie:+a=b;X-A:+1;X-B:+2",
            "200 | = answer 1 | !Set-Cookie | !X-A | X-B: 2",
        ),
    ]);
}

#[test]
fn what_belongs_to_one_hop_is_not_stored_over_sockets() {
    let ask = "GET /a?200!Cache-Control:+max-age=60;Connection:+X-Hop;X-Hop:+1;Proxy-Authenticate:+Basic;Warning:+110+-+x;X-B:+2";
    check(&[
        (ask, "200 | = answer 1 | X-Cache: MISS"),
        (ask, "200 | = answer 1 | X-Cache: HIT | !X-Hop | !Proxy-Authenticate | !Warning | X-B: 2"),
    ]);
}

#[test]
fn what_was_cut_short_is_not_stored() {
    check(&[
        ("GET /a?cut!Cache-Control:+max-age=60|200!Cache-Control:+max-age=60", "200 | cut"),
        ("GET /a?cut!Cache-Control:+max-age=60|200!Cache-Control:+max-age=60", "200 | = answer 2"),
        ("GET /a?cut!Cache-Control:+max-age=60|200!Cache-Control:+max-age=60", "200 | = answer 2"),
    ]);
}

#[test]
fn parts_are_fetched_whole_and_served_from_the_whole() {
    let ask = "GET /a?200!Cache-Control:+max-age=60;Accept-Ranges:+bytes;ETag:+\"e\"";
    with("", |server, app| {
        check_on(
            server,
            &[
                (&format!("{ask}\nRange: bytes=0-2"), "206 | = ans | Content-Range: bytes 0-2/8"),
                (&format!("{ask}\nRange: bytes=7-"), "206 | = 1 | X-Cache: HIT"),
                (&format!("{ask}\nRange: bytes=7-\nIf-Range: \"e\""), "206 | = 1"),
                (&format!("{ask}\nRange: bytes=7-\nIf-Range: \"f\""), "200 | = answer 1"),
                (&format!("{ask}\nRange: bytes=7-\nIf-Range: W/\"e\""), "200 | = answer 1"),
                (&format!("{ask}\nRange: bytes=90-"), "416"),
            ],
        );
        let requests = app.requests();
        assert_eq!((requests.len(), requests[0].header("Range")), (1, None));
    });
}

#[test]
fn age_and_date_are_told() {
    with("", |server, _| {
        let fresh = "/a?200!Cache-Control:+max-age=60;Age:+20";
        let first = server.get(fresh);
        assert_eq!(first.header("Age"), Some("20"), "the upstream's own is passed on");
        let hit = server.get(fresh);
        assert!(matches!(hit.header("Age"), Some("20" | "21")), "{:?}", hit.header("Age"));
        assert!(hit.header("Date").is_some());
        let dated = "/b?200!Cache-Control:+max-age=60;Date:+@-15";
        let first = server.get(dated).header("Date").map(str::to_owned);
        let hit = server.get(dated);
        assert_eq!(hit.header("Date").map(str::to_owned), first);
        assert!(matches!(hit.header("Age"), Some("15" | "16")), "{:?}", hit.header("Age"));
    });
    check(&[
        ("GET /c?200!Cache-Control:+max-age=60;Age:+60", "200 | = answer 1"),
        ("GET /c?200!Cache-Control:+max-age=60;Age:+60", "200 | = answer 2"),
        ("GET /d?200!Cache-Control:+max-age=60;Date:+@-90", "200 | = answer 1"),
        ("GET /d?200!Cache-Control:+max-age=60;Date:+@-90", "200 | = answer 2"),
        ("GET /e?200!Expires:+@60;Date:+@55;Age:+10", "200 | = answer 1"),
        ("GET /e?200!Expires:+@60;Date:+@55;Age:+10", "200 | = answer 2"),
        ("GET /f?200!Cache-Control:+max-age=60;Age:+99,5", "200 | = answer 1"),
        ("GET /f?200!Cache-Control:+max-age=60;Age:+99,5", "200 | = answer 2"),
        ("GET /g?200!Cache-Control:+max-age=60;Age:+nonsense", "200 | = answer 1"),
        ("GET /g?200!Cache-Control:+max-age=60;Age:+nonsense", "200 | = answer 1"),
    ]);
}

#[test]
fn what_is_not_said_is_guessed() {
    twice(&[
        ("GET /a?200!Last-Modified:+@-100000", true),
        ("GET /a?200!Last-Modified:+@-5", false),
        ("GET /a?302!Last-Modified:+@-100000;Location:+/x", false),
        ("GET /a?302!Last-Modified:+@-100000;Location:+/x;Cache-Control:+public", true),
        ("GET /a?200!Last-Modified:+@-100000;Cache-Control:+max-age=0", false),
    ]);
}

#[test]
fn requests_say_what_they_want() {
    let ask = "GET /a?200!Cache-Control:+max-age=60;Age:+20";
    check(&[
        (ask, "200 | = answer 1"),
        (&format!("{ask}\nCache-Control: max-age=60"), "200 | = answer 1 | X-Cache: HIT"),
        (&format!("{ask}\nCache-Control: min-fresh=30"), "200 | = answer 1"),
        (&format!("{ask}\nCache-Control: only-if-cached"), "200 | = answer 1"),
        (&format!("{ask}\nCache-Control: max-age=5"), "200 | = answer 2"),
        (&format!("{ask}\nCache-Control: min-fresh=50"), "200 | = answer 3"),
        (&format!("{ask}\nCache-Control: no-cache"), "200 | = answer 4"),
        (&format!("{ask}\nPragma: no-cache"), "200 | = answer 5"),
        (&format!("{ask}\nPragma: no-cache\nCache-Control: max-age=60"), "200 | = answer 5"),
        (ask, "200 | = answer 5 | X-Cache: HIT"),
        ("GET /b\nCache-Control: only-if-cached", "504"),
    ]);
    let stale = "GET /c?200!Cache-Control:+max-age=60;Age:+80;ETag:+\"e\"|200!Cache-Control:+max-age=60";
    check(&[
        (stale, "200 | = answer 1"),
        (&format!("{stale}\nCache-Control: max-stale=90"), "200 | = answer 1 | X-Cache: HIT"),
        (&format!("{stale}\nCache-Control: max-stale"), "200 | = answer 1"),
        (&format!("{stale}\nCache-Control: max-stale=5"), "200 | = answer 2"),
    ]);
    let never = "GET /d?200!Cache-Control:+max-age=60,must-revalidate;Age:+80;ETag:+\"e\"|200!";
    check(&[
        (never, "200 | = answer 1"),
        (&format!("{never}\nCache-Control: max-stale"), "200 | = answer 2"),
    ]);
}

#[test]
fn a_cache_may_be_deaf_to_requests() {
    foregate_only(|subject| {
        let app = obedient();
        let server = Setup::http(
            "proxy_cache_path {dir}/cache keys_zone=one:1m;
             server { listen 127.0.0.1:{port:0}; proxy_cache one; proxy_cache_rfc responses;
                 location / { proxy_pass http://{app}; } }",
        )
        .backend("app", &app)
        .start(subject);
        let ask = "GET /a?200!Cache-Control:+max-age=60\nCache-Control: no-cache, no-store";
        check_on(&server, &[(ask, "200 | = answer 1"), (ask, "200 | = answer 1")]);
    });
}

#[test]
fn requests_that_are_alike_share_an_answer() {
    let ask = "GET /a?200!Cache-Control:+max-age=60;Vary:+Accept-Encoding,+X-Kind";
    check(&[
        (&format!("{ask}\nAccept-Encoding: gzip, br"), "200 | = answer 1"),
        (&format!("{ask}\nAccept-Encoding: BR,gzip;q=1.0"), "200 | = answer 1 | X-Cache: HIT"),
        (&format!("{ask}\nAccept-Encoding: gzip"), "200 | = answer 2"),
        (ask, "200 | = answer 3"),
        (&format!("{ask}\nX-Kind: a"), "200 | = answer 4"),
        (&format!("{ask}\nX-Kind: A"), "200 | = answer 5"),
        (&format!("{ask}\nX-Kind:   a"), "200 | = answer 4 | X-Cache: HIT"),
        ("GET /b?200!Cache-Control:+max-age=60;Vary:+*", "200 | = answer 1"),
        ("GET /b?200!Cache-Control:+max-age=60;Vary:+*", "200 | = answer 2"),
        ("GET /c?200!Cache-Control:+max-age=60;Vary:+X-Kind;Vary:+*", "200 | = answer 1"),
        ("GET /c?200!Cache-Control:+max-age=60;Vary:+X-Kind;Vary:+*", "200 | = answer 2"),
    ]);
}

#[test]
fn what_is_stale_is_validated() {
    let ask = "GET /a?200!Cache-Control:+max-age=0;ETag:+\"e\";X-A:+1;X-B:+1|304!Cache-Control:+max-age=60;ETag:+\"e\";X-A:+2|200!";
    with("", |server, app| {
        check_on(
            server,
            &[
                (ask, "200 | = answer 1 | X-A: 1"),
                (
                    ask,
                    "200 | = answer 1 | X-A: 2 | X-B: 1 | X-Cache: REVALIDATED | Cache-Control: max-age=60",
                ),
                (ask, "200 | = answer 1 | X-A: 2 | X-B: 1 | X-Cache: HIT | Content-Length: 8"),
            ],
        );
        assert_eq!(app.last().header("If-None-Match"), Some("\"e\""));
    });
    let none = "GET /a?200!Cache-Control:+no-cache;ETag:+\"e\"|304!|304!|200!";
    check(&[
        (none, "200 | = answer 1"),
        (none, "200 | = answer 1 | X-Cache: REVALIDATED"),
        (none, "200 | = answer 1 | X-Cache: REVALIDATED"),
        (none, "200 | = answer 4"),
    ]);
    let modified = "GET /a?200!Cache-Control:+max-age=0;Last-Modified:+@-100|200!";
    with("", |server, app| {
        check_on(server, &[(modified, "200 | = answer 1"), (modified, "200 | = answer 2")]);
        assert!(app.last().header("If-Modified-Since").is_some());
    });
}

#[test]
fn a_304_that_means_something_else_changes_nothing() {
    let ask = "GET /a?200!Cache-Control:+max-age=0;ETag:+\"e\";X-A:+1|304!ETag:+\"f\";X-A:+2;Cache-Control:+max-age=60|200!";
    check(&[(ask, "200 | = answer 1"), (ask, "200 | X-A: 1"), (ask, "200 | = answer 3")]);
    let ends = "GET /b?200!Cache-Control:+max-age=0;ETag:+\"e\"|304!Cache-Control:+no-store|200!";
    check(&[(ends, "200 | = answer 1"), (ends, "200 | = answer 1"), (ends, "200 | = answer 3")]);
}

#[test]
fn head_freshens_what_get_has_brought() {
    let inside = "proxy_cache_convert_head off;";
    let same =
        "/a?200!Cache-Control:+max-age=0;ETag:+\"e\"|200!Cache-Control:+max-age=60;ETag:+\"e\";X-A:+2|200!";
    with(inside, |server, app| {
        check_on(
            server,
            &[
                (&format!("GET {same}"), "200 | = answer 1"),
                (&format!("HEAD {same}"), "200 | X-A: 2 | Content-Length: 8"),
                (&format!("GET {same}"), "200 | = answer 1 | X-A: 2 | X-Cache: HIT"),
            ],
        );
        assert_eq!((app.requests().len(), &*app.last().method), (2, "HEAD"));
    });
    let other = "/a?200!Cache-Control:+max-age=0;ETag:+\"e\"|200!Cache-Control:+max-age=60;ETag:+\"f\"|200!";
    with(inside, |server, _| {
        check_on(
            server,
            &[
                (&format!("GET {other}"), "200 | = answer 1"),
                (&format!("HEAD {other}"), "200 | ETag: \"f\""),
                (&format!("GET {other}"), "200 | = answer 3"),
            ],
        );
    });
}

#[test]
fn head_is_answered_by_what_get_has_brought() {
    check(&[
        ("GET /a?200!Cache-Control:+max-age=60", "200 | = answer 1"),
        ("HEAD /a?200!Cache-Control:+max-age=60", "200 | Content-Length: 8 | X-Cache: HIT"),
    ]);
}

#[test]
fn conditions_are_answered_from_what_is_stored() {
    let ask =
        "GET /a?200!Cache-Control:+max-age=60;ETag:+\"e\";Last-Modified:+@-100;Content-Type:+text/plain";
    let (before, after) = (http_date(-3600), http_date(0));
    check(&[
        (&format!("{ask}\nIf-None-Match: \"e\""), "304 | X-Cache: MISS | ETag: \"e\""),
        (&format!("{ask}\nIf-None-Match: \"e\""), "304 | X-Cache: HIT | Age: | !Content-Type"),
        (&format!("{ask}\nIf-None-Match: W/\"e\""), "304"),
        (&format!("{ask}\nIf-None-Match: \"x\", \"e\""), "304"),
        (&format!("{ask}\nIf-None-Match: *"), "304"),
        (&format!("{ask}\nIf-None-Match: \"x\""), "200 | = answer 1"),
        (&format!("{ask}\nIf-None-Match: \"x\"\nIf-Modified-Since: {after}"), "200 | = answer 1"),
        (&format!("{ask}\nIf-None-Match: \"e\"\nIf-Modified-Since: {before}"), "304"),
        (&format!("{ask}\nIf-Modified-Since: {after}"), "304"),
        (&format!("{ask}\nIf-Modified-Since: {before}"), "200 | = answer 1"),
        (&format!("{ask}\nIf-Modified-Since: nonsense"), "200 | = answer 1"),
        (&format!("{ask}\nIf-Match: \"e\""), "200 | = answer 2 | X-Cache: BYPASS"),
        (&format!("{ask}\nIf-Unmodified-Since: {after}"), "200 | = answer 3 | X-Cache: BYPASS"),
        (ask, "200 | = answer 1"),
    ]);
    let undated = "GET /b?200!Cache-Control:+max-age=60;Date:+@-10";
    check(&[
        (undated, "200 | = answer 1"),
        (&format!("{undated}\nIf-Modified-Since: {after}"), "304"),
        (&format!("{undated}\nIf-Modified-Since: {before}"), "200 | = answer 1"),
    ]);
}

#[test]
fn what_requests_change_is_not_served_any_more() {
    let long = "200!Cache-Control:+max-age=60";
    let get = format!("GET /a?{long}");
    let ask = |method: &str, path: &str, said: &str| format!("{method} {path}?{said}\n\nx");
    with("proxy_cache_key $uri;", |server, _| {
        check_on(
            server,
            &[
                (&get, "200 | = answer 1"),
                (&ask("POST", "/a", "500!"), "500"),
                (&get, "200 | = answer 1"),
                (&ask("OPTIONS", "/a", "200!"), "200"),
                (&get, "200 | = answer 1"),
                (&ask("POST", "/a", "200!"), "200 | = answer 4"),
                (&get, "200 | = answer 5"),
                (&ask("DELETE", "/a", "302!Location:+/x"), "302"),
                (&get, "200 | = answer 7"),
                (&ask("FROB", "/a", "200!"), "200"),
                (&get, "200 | = answer 9"),
                (&ask("POST", "/b", "201!Location:+/a"), "201"),
                (&get, "200 | = answer 10"),
                (&ask("POST", "/b", "200!Content-Location:+http://localhost/a"), "200"),
                (&get, "200 | = answer 11"),
                (&ask("POST", "/b", "200!Content-Location:+a"), "200"),
                (&get, "200 | = answer 12"),
                (&ask("POST", "/b", "200!Location:+http://example.com/a"), "200"),
                (&get, "200 | = answer 12"),
                (&ask("POST", "/b", "500!Location:+/a"), "500"),
                (&get, "200 | = answer 12"),
            ],
        );
    });
}

#[test]
fn staleness_is_served_only_where_it_is_allowed() {
    let ask = |said: &str, then: &str| format!("GET /a?200!Cache-Control:+max-age=60{said};Age:+70|{then}");
    for (said, then, want) in [
        (",stale-if-error=60", "503!", "200 | = answer 1 | X-Cache: STALE"),
        (",stale-if-error=60", "close!", "200 | = answer 1 | X-Cache: STALE"),
        (",stale-if-error=60", "404!", "404"),
        (",stale-if-error=5", "503!", "503"),
        (",stale-if-error=60;ETag:+\"e\"", "500!", "200 | = answer 1"),
        (";ETag:+\"e\"", "close!", "502"),
        (",must-revalidate,stale-if-error=60;ETag:+\"e\"", "close!", "504"),
        (",proxy-revalidate,stale-if-error=60;ETag:+\"e\"", "close!", "504"),
        (",s-maxage=60;ETag:+\"e\"", "close!", "504"),
        (",must-revalidate,stale-if-error=60;ETag:+\"e\"", "503!", "503"),
    ] {
        let request = ask(said, then);
        with("", |server, _| check_on(server, &[(&request, "200 | = answer 1"), (&request, want)]));
    }
    let patient = ask(";ETag:+\"e\"", "503!");
    check(&[
        (&patient, "200 | = answer 1"),
        (&format!("{patient}\nCache-Control: stale-if-error=60"), "200 | = answer 1 | X-Cache: STALE"),
    ]);
    let configured = ask(",must-revalidate;ETag:+\"e\"", "503!");
    with("proxy_cache_use_stale error http_503 updating;", |server, _| {
        check_on(server, &[(&configured, "200 | = answer 1"), (&configured, "503")]);
    });
    let unasked = ask(",no-cache;ETag:+\"e\"", "503!");
    with("proxy_cache_use_stale error http_503 updating;", |server, _| {
        check_on(server, &[(&unasked, "200 | = answer 1"), (&unasked, "503")]);
    });
}

#[test]
fn nobody_waits_while_it_is_fetched_anew() {
    let ask =
        "/a?200!Cache-Control:+max-age=60,stale-while-revalidate=60;Age:+70|200!Cache-Control:+max-age=60";
    with("", |server, _| {
        assert_eq!(server.get(ask).text(), "answer 1");
        let stale = server.get(ask);
        assert_eq!((&*stale.text(), stale.header("X-Cache")), ("answer 1", Some("STALE")));
        server.eventually(|server| server.get(ask).text() == "answer 2");
        assert_eq!(server.get(ask).header("X-Cache"), Some("HIT"));
    });
    let late = "GET /b?200!Cache-Control:+max-age=60,stale-while-revalidate=5;Age:+70|200!";
    check(&[(late, "200 | = answer 1"), (late, "200 | = answer 2")]);
    let never = "GET /c?200!Cache-Control:+max-age=60,must-revalidate,stale-while-revalidate=60;Age:+70;ETag:+\"e\"|200!";
    check(&[(never, "200 | = answer 1"), (never, "200 | = answer 2")]);
}

#[test]
fn a_targeted_field_goes_before_all_others() {
    twice(&[
        ("GET /a?200!CDN-Cache-Control:+max-age=60;Cache-Control:+no-store", true),
        ("GET /a?200!CDN-Cache-Control:+no-store;Cache-Control:+max-age=60", false),
        ("GET /a?200!CDN-Cache-Control:+max-age=60;Expires:+0", true),
        ("GET /a?200!CDN-Cache-Control:+Bad=;Cache-Control:+max-age=60", true),
        ("GET /a?200!CDN-Cache-Control:+max-age=0;Expires:+@60", false),
    ]);
    check(&[(
        "GET /a?200!CDN-Cache-Control:+max-age=60;Cache-Control:+no-store",
        "200 | CDN-Cache-Control: max-age=60 | Cache-Control: no-store",
    )]);
}

#[test]
fn what_was_done_is_told() {
    let ask = "GET /a?200!Cache-Control:+max-age=0;ETag:+\"e\";Cache-Status:+Origin;+hit|304!Cache-Control:+max-age=60|200!";
    let ask = ask.replace("Origin;+hit", "Origin");
    check(&[
        (&ask, "200 | Cache-Status: Origin | Cache-Status: Foregate; fwd=miss; fwd-status=200; stored"),
        (&ask, "200 | Cache-Status~ Foregate; fwd=stale; fwd-status=304; ttl="),
        (&ask, "200 | Cache-Status~ Foregate; hit; ttl="),
        (
            &format!("{ask}\nCache-Control: no-cache"),
            "200 | Cache-Status~ Foregate; fwd=request; fwd-status=200",
        ),
        ("POST /b?200!\n\nx", "200 | Cache-Status: Foregate; fwd=method; fwd-status=200"),
    ]);
    with("proxy_cache_bypass $arg_x; proxy_hide_header X-A;", |server, _| {
        check_on(server, &[("GET /a?200!X-A:+1&x=1", "200 | Cache-Status~ fwd=bypass")]);
    });
    with("proxy_hide_header Cache-Status;", |server, _| {
        check_on(server, &[("GET /a?200!", "200 | !Cache-Status")]);
    });
}

#[test]
fn nobody_changes_what_is_to_stay_as_it_is() {
    with("gzip on; gzip_min_length 1; gzip_proxied any;", |server, _| {
        let ask = |path: &str, said: &str| {
            format!(
                "GET {path}?200!Content-Type:+text/html;Cache-Control:+max-age=60{said}\nAccept-Encoding: gzip"
            )
        };
        check_on(
            server,
            &[
                (&ask("/a", ""), "200 | Content-Encoding: gzip"),
                (&ask("/b", ",no-transform"), "200 | !Content-Encoding | = answer 1"),
                (&ask("/b", ",no-transform"), "200 | !Content-Encoding | = answer 1 | X-Cache: HIT"),
                (&format!("{}\nCache-Control: no-transform", ask("/a", "")), "200 | !Content-Encoding"),
            ],
        );
    });
}

#[test]
fn what_is_new_takes_the_place_of_what_was() {
    let ask = "GET /a?200!Cache-Control:+max-age=0;ETag:+\"e\";X-New-Field:+1|200!Cache-Control:+max-age=60;ETag:+\"f\";X-New-Field:+2|200!";
    check(&[
        (ask, "200 | = answer 1 | X-New-Field: 1"),
        (ask, "200 | = answer 2 | X-New-Field: 2 | X-Cache: EXPIRED"),
        (ask, "200 | = answer 2 | X-New-Field: 2 | ETag: \"f\" | X-Cache: HIT"),
    ]);
    let ends =
        "GET /b?200!Cache-Control:+max-age=0,stale-if-error=60;ETag:+\"e\"|200!Cache-Control:+no-store|503!";
    check(&[(ends, "200 | = answer 1"), (ends, "200 | = answer 2"), (ends, "503")]);
}

#[test]
fn lifetimes_end() {
    let ask = "GET /a?200!Cache-Control:+max-age=2|200!";
    with("", |server, _| {
        check_on(server, &[(ask, "200 | = answer 1"), (ask, "200 | = answer 1 | X-Cache: HIT")]);
        thread::sleep(Duration::from_millis(2200));
        check_on(server, &[(ask, "200 | = answer 2")]);
    });
}

#[test]
fn a_cache_is_one_line() {
    foregate_only(|subject| {
        let app = obedient();
        let server = Setup::http(
            "server { listen 127.0.0.1:{port:0}; proxy_cache auto;
                 add_header X-Cache $upstream_cache_status;
                 location / { proxy_pass http://{app}; }
                 location /plain { proxy_pass http://{app}; proxy_cache_rfc off; } }",
        )
        .backend("app", &app)
        .start(subject);
        let ask = "GET /a?200!Cache-Control:+max-age=60";
        check_on(
            &server,
            &[
                (ask, "200 | = answer 1 | X-Cache: MISS"),
                (ask, "200 | = answer 1 | X-Cache: HIT | Age:"),
                (&format!("{ask}\nHost: other"), "200 | = answer 2 | X-Cache: MISS"),
                ("GET /plain?200!Cache-Control:+max-age=60", "200 | X-Cache: MISS | !Cache-Status"),
            ],
        );
    });
}
