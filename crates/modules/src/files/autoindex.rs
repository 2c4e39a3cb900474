//! `autoindex`: the listing of a folder. What stands in the body is nginx's to the byte, because tools read it; the
//! head has what makes it readable on a phone and at night.

use foregate_core::{Exchange, Level, Reply, log, time};
use foregate_wire::{Buf, date, uri};

use super::listing::{self, Entry};
use super::open::Kind;
use super::serve::text;
use super::Settings;

/// The values of `autoindex_format`, in the order of [`Format::numbered`].
pub(super) const FORMATS: &[&str] = &["html", "json", "jsonp", "xml"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
    Jsonp,
    Xml,
}

impl Format {
    pub(super) fn numbered(n: usize) -> Self {
        [Self::Html, Self::Json, Self::Jsonp, Self::Xml][n]
    }
}

/// How folders are listed.
pub(super) struct Style {
    pub(super) format: Format,
    pub(super) localtime: bool,
    pub(super) exact_size: bool,
}

/// Characters of a name that the HTML listing shows; a longer one is cut.
const NAME_CHARS: usize = 50;
/// On a narrow screen each name has a line of its own, and the blanks that make columns go.
const HEAD_END: &[u8] = b"</title><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
    <style>:root{color-scheme:light dark}@media(max-width:48em){pre{white-space:pre-line}\
    h1{font-size:1.3em;overflow-wrap:anywhere}\
    pre a{display:block;padding:.7em 0 .1em;font-size:1.2em;overflow-wrap:anywhere}}</style>\
    </head>\r\n<body>\r\n<h1>Index of ";
/// As nginx: a longer `callback` is refused.
const CALLBACK_BYTES_MAX: usize = 128;

/// The page for the folder that the URI names.
///
/// # Errors
/// The status to answer with; it has been logged.
pub(super) fn page(style: &Style, on: &Settings, ex: &mut Exchange) -> Result<Reply, u16> {
    let callback = match style.format {
        Format::Jsonp => callback(ex)?,
        _ => None,
    };
    let mut entries = listing::read(on, ex)?;
    entries.sort_unstable_by(|a, b| is_folder(b).cmp(&is_folder(a)).then_with(|| a.name.cmp(&b.name)));
    let (content_type, page): (&[u8], _) = match (style.format, callback) {
        (Format::Html, _) => (b"text/html", html(style, &entries, ex)),
        (Format::Xml, _) => (b"text/xml; charset=utf-8", xml(&entries)),
        (Format::Jsonp, Some(callback)) => {
            let list = json(&entries);
            (b"application/javascript", [b"/* callback */\r\n", &*callback, b"(", &*list, b");"].concat())
        }
        _ => (b"application/json", json(&entries)),
    };
    Ok(Reply::bytes(200, content_type, Buf::from_vec(page)))
}

fn is_folder(entry: &Entry) -> bool {
    entry.facts.kind == Kind::Folder
}

/// The name of the function that JSONP calls; without one the answer is plain JSON.
fn callback(ex: &Exchange) -> Result<Option<Vec<u8>>, u16> {
    let Some(name) = uri::arg(&ex.args, b"callback").filter(|it| !it.is_empty()) else { return Ok(None) };
    if name.len() > CALLBACK_BYTES_MAX {
        log!(ex, Level::Info, "client sent too long callback name: \"{}\"", text(name));
        return Err(400);
    }
    if !name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.')) {
        log!(ex, Level::Info, "client sent invalid callback name: \"{}\"", text(name));
        return Err(400);
    }
    Ok(Some(name.to_vec()))
}

fn html(style: &Style, entries: &[Entry], ex: &Exchange) -> Vec<u8> {
    let mut title = Vec::new();
    uri::escape_html(&ex.uri, &mut title);
    let mut out = Vec::new();
    out.extend_from_slice(b"<html>\r\n<head><title>Index of ");
    out.extend_from_slice(&title);
    out.extend_from_slice(HEAD_END);
    out.extend_from_slice(&title);
    out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
    let offset_s = if style.localtime { local_offset_s() } else { 0 };
    for entry in entries {
        link(entry, &mut out);
        out.push(b' ');
        out.extend_from_slice(&date_of(entry.facts.mtime.saturating_add(offset_s)));
        out.extend_from_slice(size(entry, style.exact_size).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
    out
}

/// The link and the blanks behind it: names of one to fifty characters end in the same column. nginx counts the
/// bytes of a name unless `charset` says UTF-8; a name that is UTF-8 counts its characters here always, so that
/// none is cut in two.
fn link(entry: &Entry, out: &mut Vec<u8>) {
    let name = &*entry.name;
    out.extend_from_slice(b"<a href=\"");
    uri::escape(name, uri::Escape::UriComponent, out);
    if is_folder(entry) {
        out.push(b'/');
    }
    out.extend_from_slice(b"\">");
    let as_text = std::str::from_utf8(name).ok();
    let mut chars = as_text.map_or(name.len(), |it| it.chars().count());
    if chars > NAME_CHARS {
        let shown = NAME_CHARS - 3;
        let cut = as_text.and_then(|it| it.char_indices().nth(shown)).map_or(shown, |(at, _)| at);
        uri::escape_html(&name[..cut], out);
        out.extend_from_slice(b"..&gt;</a>");
        return;
    }
    uri::escape_html(name, out);
    if is_folder(entry) && chars < NAME_CHARS {
        out.push(b'/');
        chars += 1;
    }
    out.extend_from_slice(b"</a>");
    out.resize(out.len() + NAME_CHARS - chars, b' ');
}

/// `28-Sep-1970 12:00 `
fn date_of(unix_s: i64) -> Vec<u8> {
    // `Mon, 28 Sep 1970 12:00:00 GMT`
    let date = date::format(unix_s);
    [&date[5..7], b"-", &date[8..11], b"-", &date[12..16], b" ", &date[17..22], b" "].concat()
}

fn size(entry: &Entry, exact: bool) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    /// Plain bytes up to here.
    const BYTES_MAX: u64 = 9999;
    let len = entry.facts.len;
    let rounded = |unit: u64| len / unit + u64::from(len % unit >= unit / 2);
    match (is_folder(entry), exact) {
        (true, true) => format!("{:>19}", "-"),
        (true, false) => format!("{:>7}", "-"),
        (false, true) => format!("{len:>19}"),
        _ if len >= GIB => format!("{:>6}G", rounded(GIB)),
        _ if len >= MIB => format!("{:>6}M", rounded(MIB)),
        _ if len > BYTES_MAX => format!("{:>6}K", rounded(KIB)),
        _ => format!(" {len:>6}"),
    }
}

fn kind(entry: &Entry) -> &'static str {
    match entry.facts.kind {
        Kind::Folder => "directory",
        Kind::File => "file",
        Kind::Other => "other",
    }
}

fn json(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"[".to_vec();
    for (n, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"\r\n{ \"name\":\"" } else { b",\r\n{ \"name\":\"" });
        escape_json(&entry.name, &mut out);
        let date = date::format(entry.facts.mtime);
        let rest = format!("\", \"type\":\"{}\", \"mtime\":\"{}\"", kind(entry), text(&date));
        out.extend_from_slice(rest.as_bytes());
        if entry.facts.kind == Kind::File {
            out.extend_from_slice(format!(", \"size\":{}", entry.facts.len).as_bytes());
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    out
}

fn escape_json(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            _ => out.push(*byte),
        }
    }
}

fn xml(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
    for entry in entries {
        let kind = kind(entry);
        let mtime = jiff::Timestamp::from_second(entry.facts.mtime).unwrap_or_default();
        let mtime = mtime.strftime("%Y-%m-%dT%H:%M:%SZ");
        out.extend_from_slice(format!("<{kind} mtime=\"{mtime}\"").as_bytes());
        if entry.facts.kind == Kind::File {
            out.extend_from_slice(format!(" size=\"{}\"", entry.facts.len).as_bytes());
        }
        out.push(b'>');
        uri::escape_html(&entry.name, &mut out);
        out.extend_from_slice(format!("</{kind}>\r\n").as_bytes());
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

/// How far the local clock is ahead of UTC now.
fn local_offset_s() -> i64 {
    let text = time::format(time::now_s(), "%z");
    let number = |range| text.get(range).and_then(|it: &str| it.parse::<i64>().ok()).unwrap_or(0);
    let ahead_s = number(1..3) * 3600 + number(3..5) * 60;
    if text.starts_with('-') { -ahead_s } else { ahead_s }
}
