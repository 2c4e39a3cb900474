//! Any bytes as a URI: the normal form has no dot segments and is its own normal form; escaping can be undone.
#![no_main]

use foregate_wire::uri::{
    Escape, Unescape, arg, escape, escape_html, escaped_count, extension, normalise, split_args,
    split_foreign, unescape,
};
use foregate_wire::{date, host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&switches, text)) = data.split_first() else { return };
    let merge_slashes = switches & 1 == 0;
    if matches!(text.first(), Some(b'/' | b'?')) {
        stays_normal(text, merge_slashes);
    }
    let _ = normalise(text, merge_slashes, &mut Vec::new());

    for kind in [Escape::Uri, Escape::Args, Escape::UriComponent, Escape::Html] {
        let mut escaped = Vec::new();
        escape(text, kind, &mut escaped);
        assert_eq!(escaped.len(), text.len() + 2 * escaped_count(text, kind));
        let mut back = Vec::new();
        assert_eq!(unescape(&escaped, Unescape::All, &mut back), escaped.len());
        assert_eq!(back, text);
    }
    for kind in [Unescape::All, Unescape::Uri, Unescape::Redirect] {
        let mut out = Vec::new();
        assert!(unescape(text, kind, &mut out) <= text.len() && out.len() <= text.len());
    }
    escape_html(text, &mut Vec::new());

    let (path, args) = split_args(text);
    let _ = (extension(path), arg(args, b"a"));
    if let Ok((path, _)) = split_foreign(text) {
        assert!(!path.contains(&0) && !path.split(|&byte| byte == b'/').any(|segment| segment == b".."));
    }
    if let Ok(parts) = host::validate(text) {
        assert!((1..=text.len()).contains(&parts.name_len));
        assert!(host::validate(&text[..parts.name_len]).is_ok());
    }
    if let Some(seconds) = date::parse(text) {
        assert_eq!(date::parse(&date::format(seconds)), Some(seconds));
    }
});

fn stays_normal(raw: &[u8], merge_slashes: bool) {
    let mut path = Vec::new();
    let Ok(parts) = normalise(raw, merge_slashes, &mut path) else { return };
    assert!(parts.args.end <= raw.len());
    assert!(path.starts_with(b"/") && !path.contains(&0));
    assert!(!path.split(|&byte| byte == b'/').any(|segment| segment == b"." || segment == b".."));
    assert!(!merge_slashes || !path.windows(2).any(|pair| pair == b"//"));

    let mut escaped = Vec::new();
    escape(&path, Escape::Uri, &mut escaped);
    let mut again = Vec::new();
    assert!(normalise(&escaped, merge_slashes, &mut again).is_ok());
    assert_eq!(path, again);
}
