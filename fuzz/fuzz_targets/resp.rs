//! Any bytes as Redis's replies: what is read does not depend on how it is split, and is bounded.
#![no_main]

use foregate_wire::resp::{Reply, command, parse};
use libfuzzer_sys::fuzz_target;

fn depth(reply: &Reply) -> usize {
    match reply {
        Reply::List(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    let split = (0..=data.len()).step_by(1 + data.len() / 64).chain([data.len()]);
    let first = split.map(|end| parse(&data[..end])).find(|it| *it != Ok(None)).unwrap_or(Ok(None));
    assert_eq!(whole, first);
    if let Ok(Some((reply, n))) = whole {
        assert!(n <= data.len() && depth(&reply) <= foregate_wire::resp::DEPTH_MAX);
    }
    // A command is a reply too: a list of strings.
    let args: Vec<&[u8]> = data.split(|b| *b == 0).collect();
    let mut out = Vec::new();
    command(&args, &mut out);
    if args.len() <= foregate_wire::resp::LIST_LEN_MAX && data.len() <= foregate_wire::resp::BULK_BYTES_MAX {
        let strings = args.iter().map(|it| Reply::Bytes(it.to_vec())).collect();
        assert_eq!(parse(&out), Ok(Some((Reply::List(strings), out.len()))));
    }
});
