//! Status codes: the words of status lines, and the pages that explain an error, as nginx prints them.

/// nginx's own codes. They never reach a client: 494 to 497 are sent as 400.
pub const HEADER_TOO_LARGE: u16 = 494;
pub const CERTIFICATE_ERROR: u16 = 495;
pub const NO_CERTIFICATE: u16 = 496;
pub const HTTP_TO_HTTPS: u16 = 497;
pub const CLIENT_CLOSED: u16 = 499;

/// The reason phrase of a status line. Where nginx has none, the line ends after the code and a blank.
pub fn reason(code: u16) -> Option<&'static str> {
    Some(match code {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => return None,
    })
}

/// The code a client sees for one that nginx uses inside.
pub fn sent(code: u16) -> u16 {
    match code {
        HEADER_TOO_LARGE..=HTTP_TO_HTTPS => 400,
        code => code,
    }
}

/// The words of an error page behind its code: they differ from the status line's in a few places.
/// `None` for codes whose answer has no body, such as 304, 418 or 499.
pub fn title(code: u16) -> Option<&'static str> {
    Some(match code {
        302 => "302 Found",
        401 => "401 Authorization Required",
        HEADER_TOO_LARGE => "400 Request Header Or Cookie Too Large",
        CERTIFICATE_ERROR => "400 The SSL certificate error",
        NO_CERTIFICATE => "400 No required SSL certificate was sent",
        HTTP_TO_HTTPS => "400 The plain HTTP request was sent to HTTPS port",
        301 => "301 Moved Permanently",
        303 => "303 See Other",
        307 => "307 Temporary Redirect",
        308 => "308 Permanent Redirect",
        400 => "400 Bad Request",
        402 => "402 Payment Required",
        403 => "403 Forbidden",
        // A request cancelled inside nginx shows as not found.
        404 | 498 => "404 Not Found",
        405 => "405 Not Allowed",
        406 => "406 Not Acceptable",
        407 => "407 Proxy Authentication Required",
        408 => "408 Request Time-out",
        409 => "409 Conflict",
        410 => "410 Gone",
        411 => "411 Length Required",
        412 => "412 Precondition Failed",
        413 => "413 Request Entity Too Large",
        414 => "414 Request-URI Too Large",
        415 => "415 Unsupported Media Type",
        416 => "416 Requested Range Not Satisfiable",
        421 => "421 Misdirected Request",
        429 => "429 Too Many Requests",
        500 => "500 Internal Server Error",
        501 => "501 Not Implemented",
        502 => "502 Bad Gateway",
        503 => "503 Service Temporarily Unavailable",
        504 => "504 Gateway Time-out",
        505 => "505 HTTP Version Not Supported",
        507 => "507 Insufficient Storage",
        _ => return None,
    })
}

/// Appends the page for `code`, signed with the server's name at its foot; says whether there is one.
pub fn page(code: u16, signature: &str, out: &mut Vec<u8>) -> bool {
    let Some(title) = title(code) else { return false };
    let inside = (HEADER_TOO_LARGE..=HTTP_TO_HTTPS).contains(&code);
    let heading = if inside { "400 Bad Request" } else { title };
    let mut push = |parts: &[&str]| parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    push(&["<html>\r\n<head><title>", title, "</title></head>\r\n<body>\r\n"]);
    push(&["<center><h1>", heading, "</h1></center>\r\n"]);
    if inside {
        push(&["<center>", &title["400 ".len()..], "</center>\r\n"]);
    }
    push(&["<hr><center>", signature, "</center>\r\n</body>\r\n</html>\r\n"]);
    true
}

/// What `msie_padding` appends to error pages, so that browsers show them instead of their own: six such lines.
pub const PADDING: &[u8] = b"<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n\
<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_shape_that_tools_know() {
        let mut out = Vec::new();
        assert!(page(404, "nginx", &mut out));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n\
             <center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        out.clear();
        assert!(page(HTTP_TO_HTTPS, "nginx/1.31.5", &mut out));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n\
             <center><h1>400 Bad Request</h1></center>\r\n\
             <center>The plain HTTP request was sent to HTTPS port</center>\r\n\
             <hr><center>nginx/1.31.5</center>\r\n</body>\r\n</html>\r\n"
        );
        assert!(!page(304, "nginx", &mut out) && !page(418, "nginx", &mut out));
    }

    #[test]
    fn titles_and_reasons_agree_but_for_a_few() {
        for code in 300..600 {
            let same = title(code) == reason(code).map(|words| format!("{code} {words}")).as_deref();
            let apart = matches!(code, 302 | 304 | 401 | 494..=498);
            assert_eq!(same, !apart, "{code}");
        }
        assert_eq!((sent(494), sent(497), sent(499), sent(404)), (400, 400, 499, 404));
    }
}
