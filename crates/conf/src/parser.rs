//! Tokens become nodes, and every `include` is replaced by what it names.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{Error, os_error};
use crate::files::{Files, Strings};
use crate::lexer::{Lexer, Token};
use crate::tree::{COMMAND_LINE, Node, Source, Span, Tree, Word};

/// Blocks inside blocks, across includes. nginx has no limit but its stack; real configurations stay under ten.
pub const BLOCKS_NESTED_MAX: usize = 200;

/// Files included by files. nginx has no limit but its file descriptors.
pub const INCLUDES_NESTED_MAX: usize = 64;

/// Files read in all, one that is included twice counted twice: ends an include that doubles at every level.
pub const INCLUDES_TOTAL_MAX: usize = 100_000;

/// The largest configuration file, in bytes; a [`Span`] holds offsets of 32 bits.
pub const SOURCE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Reads the configuration at `path`, the texts of `-g` first.
///
/// Includes are relative to the directory of `path`, which the caller has made absolute by `-p`.
///
/// # Errors
/// The first mistake, with the sources read so far for [`crate::render`].
pub fn load(path: &Path, globals: &[String], files: &dyn Files) -> Result<Tree, (Error, Vec<Source>)> {
    let mut parser = Parser::new(path, files);
    match parser.load(path, globals) {
        Ok(nodes) => Ok(Tree { nodes, sources: parser.into_sources() }),
        Err(error) => Err((error, parser.into_sources())),
    }
}

/// Reads a configuration from a text that includes nothing; its path is `nginx.conf`.
pub fn parse(text: &str) -> Result<Tree, Error> {
    let path = Path::new("nginx.conf");
    load(path, &[], &Strings::new([("nginx.conf", text)])).map_err(|(error, _)| error)
}

/// What a text may hold and how it may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Block,
    CommandLine,
}

struct Parser<'a> {
    files: &'a dyn Files,
    /// What precedes a relative include, as written: the main path up to its last slash.
    prefix: Vec<u8>,
    sources: Vec<(PathBuf, Rc<[u8]>)>,
    known: HashMap<PathBuf, u32>,
    n_blocks: usize,
    n_includes: usize,
    n_includes_total: usize,
}

impl<'a> Parser<'a> {
    fn new(path: &Path, files: &'a dyn Files) -> Parser<'a> {
        let bytes = path.as_os_str().as_bytes();
        let slash = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        Parser {
            files,
            prefix: bytes[..slash].to_vec(),
            sources: Vec::new(),
            known: HashMap::new(),
            n_blocks: 0,
            n_includes: 0,
            n_includes_total: 0,
        }
    }

    fn load(&mut self, path: &Path, globals: &[String]) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        for text in globals {
            let file = self.add_source(PathBuf::from(COMMAND_LINE), text.as_bytes().to_vec());
            self.text(file, Place::CommandLine, &mut nodes)?;
        }
        let file = self.open(path, None)?;
        self.text(file, Place::File, &mut nodes)?;
        Ok(nodes)
    }

    fn into_sources(self) -> Vec<Source> {
        self.sources.into_iter().map(|(path, text)| Source { path, text: text.to_vec() }).collect()
    }

    fn add_source(&mut self, path: PathBuf, text: Vec<u8>) -> u32 {
        self.sources.push((path, text.into()));
        (self.sources.len() - 1) as u32
    }

    /// The index of a file, read now unless it was included before.
    fn open(&mut self, path: &Path, by: Option<&Node>) -> Result<u32, Error> {
        if let Some(file) = self.known.get(path) {
            return Ok(*file);
        }
        let complain = |what: String| match by {
            Some(node) => Error::at(node.args[0].span, what),
            None => Error::plain(what),
        };
        let text = self.files.read(path).map_err(|error| complain(unreadable(path, &error)))?;
        if text.len() > SOURCE_BYTES_MAX {
            let what = format!("\"{}\" is larger than {SOURCE_BYTES_MAX} bytes", path.display());
            return Err(complain(what));
        }
        let file = self.add_source(path.to_owned(), text);
        self.known.insert(path.to_owned(), file);
        Ok(file)
    }

    fn text(&mut self, file: u32, place: Place, nodes: &mut Vec<Node>) -> Result<(), Error> {
        let text = Rc::clone(&self.sources[file as usize].1);
        self.nodes(&mut Lexer::new(&text, file), place, nodes).map(drop)
    }

    /// Directives up to the end of the file or the block; gives the place of that end.
    fn nodes(&mut self, lexer: &mut Lexer<'_>, place: Place, nodes: &mut Vec<Node>) -> Result<Span, Error> {
        let mut words = Vec::new();
        loop {
            match lexer.next(!words.is_empty()).map_err(|error| reworded(error, place))? {
                Token::Word(word) => words.push(word),
                Token::Comment(_) => {}
                Token::Semicolon(end) => {
                    let node = head(std::mem::take(&mut words), end);
                    self.keep(node, nodes)?;
                }
                Token::Open(brace) => {
                    let mut node = head(std::mem::take(&mut words), brace);
                    if place == Place::CommandLine {
                        let what = "block directives are not supported in -g option";
                        return Err(Error::at(brace, what));
                    }
                    self.block(lexer, &mut node)?;
                    self.keep(node, nodes)?;
                }
                Token::Close(brace) if place == Place::Block => return Ok(brace),
                Token::Close(brace) => return Err(Error::at(brace, "unexpected \"}\"")),
                Token::End(_) if !words.is_empty() => return Err(reworded(lexer.unexpected_end(), place)),
                Token::End(end) if place == Place::Block => {
                    return Err(Error::at(end, "unexpected end of file, expecting \"}\""));
                }
                Token::End(end) => return Ok(end),
            }
        }
    }

    /// The body of a block, its brace just read.
    fn block(&mut self, lexer: &mut Lexer<'_>, node: &mut Node) -> Result<(), Error> {
        let mut children = Vec::new();
        if is_lua_block(&node.name) {
            let (code, close) = lexer.lua_block()?;
            (node.code, node.close) = (Some(code), close);
        } else {
            if self.n_blocks == BLOCKS_NESTED_MAX {
                let what = format!("blocks are nested deeper than {BLOCKS_NESTED_MAX}");
                return Err(Error::at(node.span, what));
            }
            self.n_blocks += 1;
            let advice =
                format!("the block \"{}\" opened in line {} is never closed", node.name, node.span.line);
            let closed = self.nodes(lexer, Place::Block, &mut children);
            node.close = closed.map_err(|error| advise_unclosed(error, advice))?;
            self.n_blocks -= 1;
        }
        node.children = Some(children);
        Ok(())
    }

    /// Adds a node, or in place of an `include` what it names.
    fn keep(&mut self, node: Node, nodes: &mut Vec<Node>) -> Result<(), Error> {
        if node.name != "include" {
            nodes.push(node);
            return Ok(());
        }
        if node.is_block() {
            return Err(Error::not_terminated(&node));
        }
        let [pattern] = node.args.as_slice() else {
            return Err(Error::arity(&node));
        };
        let pattern = self.full_name(pattern.bytes());
        let paths = if pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            self.matching(&pattern, &node)?
        } else {
            vec![PathBuf::from(OsString::from_vec(pattern))]
        };
        for path in paths {
            self.include(&path, &node, nodes)?;
        }
        Ok(())
    }

    fn include(&mut self, path: &Path, node: &Node, nodes: &mut Vec<Node>) -> Result<(), Error> {
        self.n_includes_total += 1;
        if self.n_includes == INCLUDES_NESTED_MAX {
            let what = format!("includes are nested deeper than {INCLUDES_NESTED_MAX} files");
            let advice = format!("does \"{}\" include itself?", path.display());
            return Err(Error::at(node.span, what).advise(advice));
        }
        if self.n_includes_total > INCLUDES_TOTAL_MAX {
            let what = format!("more than {INCLUDES_TOTAL_MAX} files are included");
            return Err(Error::at(node.span, what));
        }
        let file = self.open(path, Some(node))?;
        self.n_includes += 1;
        self.text(file, Place::File, nodes)?;
        self.n_includes -= 1;
        Ok(())
    }

    fn matching(&self, pattern: &[u8], node: &Node) -> Result<Vec<PathBuf>, Error> {
        let shown = String::from_utf8_lossy(pattern);
        self.files.glob(&shown).map_err(|error| {
            let what = format!("glob() \"{shown}\" failed{}", os_error(&error));
            Error::at(node.args[0].span, what)
        })
    }

    fn full_name(&self, name: &[u8]) -> Vec<u8> {
        if name.starts_with(b"/") { name.to_vec() } else { [&self.prefix, name].concat() }
    }
}

/// A node without a body. All its places get the line on which the head ends, the one that nginx names.
fn head(words: Vec<Word>, end: Span) -> Node {
    let on_line = |mut word: Word| {
        word.span.line = end.line;
        word
    };
    let mut words = words.into_iter().map(on_line);
    let name = words.next().unwrap_or_default();
    let args: Vec<Word> = words.collect();
    let last = args.last().unwrap_or(&name).span;
    Node { span: name.span.to(last), name, args, children: None, close: end, code: None }
}

fn is_lua_block(name: &str) -> bool {
    name.ends_with("_by_lua_block")
}

/// nginx calls a file what `-g` calls a parameter.
fn reworded(mut error: Error, place: Place) -> Error {
    if place == Place::CommandLine && error.what.starts_with("unexpected end of file") {
        error.what = "unexpected end of parameter, expecting \";\"".into();
    }
    error
}

/// The innermost open block is the one to name.
fn advise_unclosed(error: Error, advice: String) -> Error {
    let unclosed = error.advice.is_none() && error.what == "unexpected end of file, expecting \"}\"";
    if unclosed { error.advise(advice) } else { error }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    // A directory can be opened, only not read.
    let call = if error.kind() == io::ErrorKind::IsADirectory { "pread" } else { "open" };
    format!("{call}() \"{}\" failed{}", path.display(), os_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render;

    /// Names and arguments with `|` between them, blocks in braces.
    fn shape(nodes: &[Node]) -> String {
        let one = |node: &Node| {
            let words: Vec<&str> =
                std::iter::once(&node.name).chain(&node.args).map(|word| &**word).collect();
            let body = node.children.as_ref().map_or(";".into(), |nodes| format!("{{{}}}", shape(nodes)));
            words.join("|") + &body
        };
        nodes.iter().map(one).collect()
    }

    fn first_line(files: &[(&str, &str)]) -> String {
        match load(Path::new("/etc/nginx.conf"), &[], &Strings::new(files.iter().copied())) {
            Ok(tree) => shape(&tree.nodes),
            Err((error, sources)) => {
                render(&error, &sources, false).lines().next().unwrap_or_default().into()
            }
        }
    }

    #[test]
    fn words_are_what_nginx_reads() {
        let cases = [
            ("a b;c {d;}", "a|b;c{d;}"),
            ("a\tb\r\n c ;", "a|b|c;"),
            ("a 'b \"c' \"d 'e\" \"\";", "a|b \"c|d 'e|;"),
            (r#"a "\"\'\\\t\x" '\'';"#, "a|\"'\\\t\\x|';"),
            (r"a \t\n\r\d\;\{\ b;", "a|\t\n\r\\d\\;\\{\\ b;"),
            (r#"a \";"#, "a|\";"),
            (r"a \.php$ \$;", r"a|\.php$|\$;"),
            ("a ${b}c $d{e;}", "a|${b}c|$d{e;}"),
            ("a ${{b {}", "a|${{b{}"),
            ("a \"${b}\"{}", "a|${b}{}"),
            ("a #b;{\n c#d # e}\n;", "a|c#d;"),
            ("# a {\n#}\nb;", "b;"),
            ("a b} c}d;", "a|b}|c}d;"),
            ("if ($a = \"b\"){}", "if|($a|=|b|){}"),
            ("a 'b'{}", "a|b{}"),
            ("a 'b\nc';", "a|b\nc;"),
            ("", ""),
            (
                "a_by_lua_block { local x = \"}\" -- }\n --[[ } ]] y = [==[ }]]]==] { '\\'}' } }b;",
                "a_by_lua_block{}b;",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|tree| shape(&tree.nodes)), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_as_in_nginx() {
        let cases = [
            ("a", "unexpected end of file, expecting \";\" or \"}\" in /etc/nginx.conf:1"),
            ("a 'b\n;\n", "unexpected end of file, expecting \";\" or \"}\" in /etc/nginx.conf:3"),
            ("a {\nb;\n", "unexpected end of file, expecting \"}\" in /etc/nginx.conf:3"),
            ("a;\n}", "unexpected \"}\" in /etc/nginx.conf:2"),
            ("a }", "unexpected \"}\" in /etc/nginx.conf:1"),
            (";", "unexpected \";\" in /etc/nginx.conf:1"),
            ("a {{", "unexpected \"{\" in /etc/nginx.conf:1"),
            ("a 'b'c;", "unexpected \"c\" in /etc/nginx.conf:1"),
            ("a 'b'}", "unexpected \"}\" in /etc/nginx.conf:1"),
            ("a 'b'#c", "unexpected \"#\" in /etc/nginx.conf:1"),
            ("include a b;", "invalid number of arguments in \"include\" directive in /etc/nginx.conf:1"),
            ("include a {}", "directive \"include\" is not terminated by \";\" in /etc/nginx.conf:1"),
            (
                "\ninclude\na\n;",
                "open() \"/etc/a\" failed (2: No such file or directory) in /etc/nginx.conf:4",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(first_line(&[("/etc/nginx.conf", text)]), expected, "{text}");
        }
        assert_eq!(first_line(&[]), "open() \"/etc/nginx.conf\" failed (2: No such file or directory)");
    }

    #[test]
    fn a_word_fits_into_nginx_s_buffer() {
        let word = |n: usize| "x".repeat(n);
        assert!(parse(&format!("a {};", word(4095))).is_ok());
        assert!(parse(&format!("a '{}';", word(4095))).is_ok());
        let too_long = |text: String| parse(&text).unwrap_err().what;
        let plain = "too long parameter \"xxxxxxxxxx...\" started";
        assert_eq!(too_long(format!("a {};", word(4096))), plain);
        let quoted = "too long parameter, probably missing terminating \"'\" character";
        assert_eq!(too_long(format!("a '{}';", word(4096))), quoted);
        assert_eq!(too_long(format!("a '{};", word(5000))), quoted);
        assert!(parse(&format!("#{}\na;", word(5000))).is_ok());
    }

    #[test]
    fn includes_stand_in_place() {
        let files = [
            ("/etc/nginx.conf", "a; include b/*.conf; c { include d; } include none/*;"),
            ("/etc/b/2.conf", "two;"),
            ("/etc/b/1.conf", "one { include b/x; }"),
            ("/etc/b/x", "x;"),
            ("/etc/d", "include /abs;"),
            ("/abs", "d 'e';"),
        ];
        assert_eq!(first_line(&files), "a;one{x;}two;c{d|e;}");
        let wrong = |text| first_line(&[("/etc/nginx.conf", "a {\ninclude b;\n}"), ("/etc/b", text)]);
        assert_eq!(wrong("b;\n}"), "unexpected \"}\" in /etc/b:2");
        assert_eq!(wrong("b {"), "unexpected end of file, expecting \"}\" in /etc/b:1");
        assert_eq!(wrong("include b;"), "includes are nested deeper than 64 files in /etc/b:1");
    }

    #[test]
    fn a_file_included_twice_is_one_source() {
        let files = Strings::new([("/n", "include a; include a;"), ("/a", "b;")]);
        let tree = load(Path::new("/n"), &[], &files).unwrap();
        assert_eq!((tree.sources.len(), shape(&tree.nodes)), (2, "b;b;".into()));
    }

    #[test]
    fn includes_that_double_come_to_an_end() {
        let mut files = Strings::default();
        for level in 0..40 {
            let next = level + 1;
            files.insert(format!("/{level}"), format!("include {next}; include {next};"));
        }
        files.insert("/40", "");
        let (error, _) = load(Path::new("/0"), &[], &files).unwrap_err();
        assert_eq!(error.what, "more than 100000 files are included");
    }

    #[test]
    fn the_command_line_comes_first() {
        let line = |text: &str| {
            let files = Strings::new([("/n", "b;")]);
            load(Path::new("/n"), &[text.to_owned()], &files).map_err(|(error, _)| error.what)
        };
        assert_eq!(line("a 'c';").map(|tree| shape(&tree.nodes)), Ok("a|c;b;".into()));
        assert_eq!(line("").map(|tree| shape(&tree.nodes)), Ok("b;".into()));
        for (text, what) in [
            ("a", "unexpected end of parameter, expecting \";\""),
            ("a 'b", "unexpected end of parameter, expecting \";\""),
            ("a {}", "block directives are not supported in -g option"),
            ("}", "unexpected \"}\""),
        ] {
            assert_eq!(line(text).unwrap_err(), what, "{text}");
        }
    }

    #[test]
    fn blocks_nest_to_a_limit() {
        let nested =
            |n: usize| parse(&("a{".repeat(n) + &"}".repeat(n))).map(|_| ()).map_err(|error| error.what);
        assert_eq!(nested(BLOCKS_NESTED_MAX), Ok(()));
        assert_eq!(nested(BLOCKS_NESTED_MAX + 1), Err("blocks are nested deeper than 200".into()));
    }

    #[test]
    fn places_are_kept() {
        let tree = parse("a {\n  bc 'd'\n  e;\n}").unwrap();
        let node = &tree.nodes[0].body()[0];
        let place = |span: Span| (span.line, span.start, span.end);
        assert_eq!(place(node.name.span), (3, 6, 8));
        assert_eq!(place(node.args[0].span), (3, 9, 12));
        assert_eq!(place(node.span), (3, 6, 16));
        assert_eq!(place(node.close), (3, 16, 17));
        assert_eq!(place(tree.nodes[0].close), (4, 18, 19));
    }
}
