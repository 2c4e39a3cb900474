//! What `-T` prints.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::tree::{COMMAND_LINE, Source};

/// nginx's format: each file once, a comment with its path above it and an empty line behind it.
pub fn dump(sources: &[Source]) -> Vec<u8> {
    let mut out = Vec::new();
    for source in sources.iter().filter(|source| source.path != Path::new(COMMAND_LINE)) {
        out.extend_from_slice(b"# configuration file ");
        out.extend_from_slice(source.path.as_os_str().as_bytes());
        out.extend_from_slice(b":\n");
        out.extend_from_slice(&source.text);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_below_their_path_and_the_command_line_is_left_out() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [source(COMMAND_LINE, "daemon off;"), source("/a", "x;\n"), source("/b", "")];
        let expected = "# configuration file /a:\nx;\n\n# configuration file /b:\n\n";
        assert_eq!(String::from_utf8(dump(&sources)).unwrap(), expected);
    }
}
