//! Any bytes as a configuration: loading never panics, and laying it out anew neither changes a word nor a second time.
#![no_main]

use std::path::Path;

use foregate_conf::{Node, Strings, format, load, location_args, parse_condition, render, value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let files = Strings::new([("/nginx.conf", text), ("/half.conf", &text[..text.len() / 2])]);
    let tree = match load(Path::new("/nginx.conf"), &[], &files) {
        Ok(tree) => tree,
        Err((error, sources)) => {
            assert!(!render(&error, &sources, true).is_empty());
            return;
        }
    };
    tree.nodes.iter().for_each(read);
    let once = format(text).expect("because it was just parsed");
    let again = format(&once).expect("because a layout keeps the grammar");
    assert_eq!(once, again, "a second layout changes nothing");
    let files = Strings::new([("/nginx.conf", &*once), ("/half.conf", &text[..text.len() / 2])]);
    let laid_out = load(Path::new("/nginx.conf"), &[], &files).map_err(|(error, _)| error);
    let laid_out = laid_out.expect("because a layout keeps the grammar");
    same(&tree.nodes, &laid_out.nodes);
});

fn read(node: &Node) {
    let _ = (location_args(node), parse_condition(node));
    for arg in &node.args {
        let _ = (value::size(arg), value::offset(arg), value::time_ms(arg), value::time_s(arg));
    }
    node.body().iter().for_each(read);
}

fn same(before: &[Node], after: &[Node]) {
    assert_eq!(before.len(), after.len());
    for (one, other) in before.iter().zip(after) {
        assert_eq!(one.name.bytes(), other.name.bytes());
        assert!(one.args.iter().map(|word| word.bytes()).eq(other.args.iter().map(|word| word.bytes())));
        assert_eq!(one.is_block(), other.is_block());
        same(one.body(), other.body());
    }
}
