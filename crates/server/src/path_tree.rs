//! The prefixes and exact paths of `location` as a radix tree: one walk along a path finds them all.

/// No entry, no node.
const NONE: u32 = u32::MAX;

/// The root's place.
const ROOT: u32 = 0;

/// A radix tree of paths. Its nodes are small and stand close together: a look-up touches few cache lines, however
/// many paths there are.
#[derive(Debug)]
pub(crate) struct PathTree {
    nodes: Vec<Node>,
    /// The first byte of each node's label: children stand in a row and are told apart by it.
    firsts: Vec<u8>,
    labels: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    label_at: u32,
    label_len: u16,
    n_children: u16,
    children_at: u32,
    /// What holds for every path that begins like this.
    prefix: u32,
    /// What holds for this very path.
    exact: u32,
}

/// What a walk has found, by the numbers given when the tree was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) exact: Option<u32>,
    /// The longest prefix.
    pub(crate) prefix: Option<u32>,
    /// The prefix that is the path with a slash behind it.
    pub(crate) with_slash: Option<u32>,
}

impl Default for PathTree {
    fn default() -> Self {
        let mut tree = Self { nodes: Vec::new(), firsts: Vec::new(), labels: Vec::new() };
        tree.push_empty();
        tree
    }
}

/// A path with what it stands for, while a tree is made.
type Entry<'a> = (&'a [u8], Kind, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Exact,
    Prefix,
}

impl PathTree {
    /// A tree of these paths. Where one stands twice as the same kind, the last one counts.
    pub(crate) fn new(mut entries: Vec<Entry<'_>>) -> Self {
        entries.sort_by_key(|(path, kind, _)| (*path, *kind));
        let mut tree = Self::default();
        tree.fill(ROOT, &entries, 0);
        tree.nodes.shrink_to_fit();
        tree.firsts.shrink_to_fit();
        tree.labels.shrink_to_fit();
        tree
    }

    fn push_empty(&mut self) -> u32 {
        let node =
            Node { label_at: 0, label_len: 0, n_children: 0, children_at: 0, prefix: NONE, exact: NONE };
        self.nodes.push(node);
        self.firsts.push(0);
        u32::try_from(self.nodes.len() - 1).expect("because a configuration has fewer locations")
    }

    /// Hangs sorted entries, alike in their first `depth` bytes, below a node that stands for those bytes.
    fn fill(&mut self, node: u32, entries: &[Entry<'_>], depth: usize) {
        let here = entries.iter().take_while(|(path, ..)| path.len() == depth).count();
        for (_, kind, value) in &entries[..here] {
            match kind {
                Kind::Exact => self.nodes[node as usize].exact = *value,
                Kind::Prefix => self.nodes[node as usize].prefix = *value,
            }
        }
        let groups: Vec<_> = entries[here..].chunk_by(|a, b| a.0[depth] == b.0[depth]).collect();
        let first = self.nodes.len() as u32;
        self.nodes[node as usize].children_at = first;
        self.nodes[node as usize].n_children = groups.len() as u16;
        for group in &groups {
            let child = self.push_empty() as usize;
            self.firsts[child] = group[0].0[depth];
        }
        for (child, group) in (first..).zip(groups) {
            let label = &group[0].0[depth..depth + common(group, depth)];
            self.nodes[child as usize].label_at = self.labels.len() as u32;
            self.nodes[child as usize].label_len = label.len() as u16;
            self.labels.extend_from_slice(label);
            self.fill(child, group, depth + label.len());
        }
    }

    /// Walks along the path, as far as there are nodes for it.
    #[inline]
    pub(crate) fn walk(&self, path: &[u8]) -> Walked {
        let mut found = Walked::default();
        let mut node = &self.nodes[ROOT as usize];
        let mut rest = path;
        loop {
            found.prefix = some(node.prefix).or(found.prefix);
            let Some(byte) = rest.first() else {
                found.exact = some(node.exact);
                found.with_slash =
                    self.child(node, b'/').filter(|it| it.label_len == 1).and_then(|it| some(it.prefix));
                return found;
            };
            let Some(child) = self.child(node, *byte) else { return found };
            let label = self.label(child);
            match rest.strip_prefix(label) {
                Some(behind) => (node, rest) = (child, behind),
                None => {
                    let ends_here = label.strip_prefix(rest) == Some(b"/");
                    found.with_slash = Some(child.prefix).filter(|it| ends_here && *it != NONE);
                    return found;
                }
            }
        }
    }

    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let range = node.children_at as usize..node.children_at as usize + usize::from(node.n_children);
        let at = self.firsts[range].iter().position(|it| *it == byte)?;
        Some(&self.nodes[node.children_at as usize + at])
    }

    #[inline]
    fn label(&self, node: &Node) -> &[u8] {
        &self.labels[node.label_at as usize..][..usize::from(node.label_len)]
    }
}

fn some(number: u32) -> Option<u32> {
    Some(number).filter(|it| *it != NONE)
}

/// How many bytes from `depth` on sorted paths have in common, as far as one label can say.
fn common(entries: &[Entry<'_>], depth: usize) -> usize {
    let (first, last) = (&entries[0].0[depth..], &entries[entries.len() - 1].0[depth..]);
    first.iter().zip(last).take_while(|(a, b)| a == b).take(usize::from(u16::MAX)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by looking at every entry.
    fn plainly(entries: &[Entry<'_>], path: &[u8]) -> Walked {
        let with_slash = [path, b"/"].concat();
        let of = |kind: Kind, fits: &dyn Fn(&[u8]) -> bool| {
            let all = entries.iter().filter(|it| it.1 == kind && fits(it.0));
            all.max_by_key(|it| it.0.len()).map(|it| it.2)
        };
        Walked {
            exact: of(Kind::Exact, &|it| it == path),
            prefix: of(Kind::Prefix, &|it| path.starts_with(it)),
            with_slash: of(Kind::Prefix, &|it| it == with_slash),
        }
    }

    #[test]
    fn a_walk_finds_what_a_search_through_all_finds() {
        let mut texts =
            vec!["/", "/a", "/a/", "/ab", "/abc/", "/abd", "/b/c/d/", "/b/c/e", "", "x", "/long/er"];
        let many: Vec<_> = (0..300).map(|n| format!("/p{n}/")).collect();
        texts.extend(many.iter().map(String::as_str));
        for skip in 0..4 {
            let paths = texts.iter().skip(skip).step_by(1 + skip).zip(0..);
            let mut entries = Vec::new();
            for (text, n) in paths {
                entries.push((text.as_bytes(), Kind::Prefix, 2 * n));
                if n % 3 == 0 {
                    entries.push((text.as_bytes(), Kind::Exact, 2 * n + 1));
                }
            }
            let tree = PathTree::new(entries.clone());
            for text in &texts {
                for end in ["", "/", "c", "zzz", "0", "/x"] {
                    for cut in 0..2.min(text.len() + 1) {
                        let path = format!("{}{end}", &text[..text.len() - cut]);
                        let want = plainly(&entries, path.as_bytes());
                        assert_eq!(tree.walk(path.as_bytes()), want, "{path} {skip}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_tree_and_a_very_long_path() {
        assert_eq!(PathTree::default().walk(b"/x"), Walked::default());
        let long = vec![b'a'; 200_000];
        let tree = PathTree::new(vec![(&long, Kind::Prefix, 7)]);
        assert_eq!(tree.walk(&long).prefix, Some(7));
        assert_eq!(tree.walk(&long[1..]).prefix, None);
    }

    #[test]
    fn a_node_is_small() {
        assert!(size_of::<Node>() <= 20);
    }
}
