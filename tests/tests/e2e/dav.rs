//! WebDAV's methods: what is there afterwards.

use foregate_testkit::{Setup, check};

fn site(inside: &str) -> Setup {
    Setup::http(&format!(
        "server {{ listen 127.0.0.1:{{port:0}}; root {{dir}}; absolute_redirect off;
           dav_methods PUT DELETE MKCOL COPY MOVE; {inside} }}"
    ))
    .file("index.html", "index")
}

#[test]
fn files_are_put_read_and_deleted() {
    check(
        site("location /limited { client_max_body_size 4; } location /full/ { create_full_put_path on; }"),
        &[
            ("PUT /a%20b\n\nbody", "201 | Location: /a%20b | Content-Length: 0 | ="),
            ("GET /a%20b", "200 | = body"),
            ("PUT /a%20b\n\nother", "204 | !Content-Length | !Location"),
            ("GET /a%20b", "200 | = other"),
            ("PUT /c\nDate: Thu, 01 Jan 2026 00:00:00 GMT\n\nx", "201"),
            ("GET /c", "200 | Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"),
            ("PUT /folder/\n\nx", "409"),
            ("PUT /no/such\n\nx", "500"),
            ("PUT /full/no/such\n\nx", "201"),
            ("GET /full/no/such", "200 | = x"),
            ("PUT /c\nContent-Range: bytes 0-0/1\n\nx", "501"),
            ("PUT /limited\n\nlarge", "413"),
            ("GET /limited", "404"),
            ("DELETE /c", "204 | !Content-Length"),
            ("DELETE /c", "404"),
            ("DELETE /full/no/", "204"),
            ("DELETE /full", "409"),
            ("GET /index.html", "200 | = index"),
            ("PROPFIND /", "405"),
        ],
    );
}

#[test]
fn folders_are_made_copied_and_moved() {
    check(
        site("location /min/ { min_delete_depth 3; } location /al/ { alias {dir}/; }"),
        &[
            ("MKCOL /one/", "201 | Location: /one/"),
            ("MKCOL /one/", "405"),
            ("MKCOL /two", "409"),
            ("MKCOL /no/such/", "409"),
            ("MKCOL /x/\n\nbody", "415"),
            ("PUT /one/f\n\n1", "201"),
            ("COPY /one/\nDestination: /two/", "201"),
            ("GET /two/f", "200 | = 1"),
            ("MOVE /two/\nDestination: /three/", "201"),
            ("GET /two/f", "404"),
            ("GET /three/f", "200 | = 1"),
            ("COPY /one/f\nDestination: http://localhost/one/g%20h", "204"),
            ("GET /one/g%20h", "200 | = 1"),
            ("COPY /one/f\nDestination: http://elsewhere/g", "400"),
            ("COPY /one/f\nDestination: /one", "409"),
            ("COPY /one/f\nDestination: /three/f\nOverwrite: F", "412"),
            ("COPY /one/f", "400"),
            ("MOVE /al/one/f\nDestination: /al/moved", "204"),
            ("GET /moved", "200 | = 1"),
            ("MOVE /al/moved\nDestination: /al", "400"),
            ("MKCOL /min/", "201"),
            ("PUT /min/a\n\n1", "201"),
            ("DELETE /min/a", "409"),
        ],
    );
}
