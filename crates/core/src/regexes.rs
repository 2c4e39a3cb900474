//! Many patterns tried on one subject, the first that matches wins: as far as possible in one pass over the subject.

use fancy_regex::{Assertion, Expr};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::hybrid::{CacheError, LazyStateID};
use regex_automata::nfa::thompson;
use regex_automata::util::{pool::Pool, syntax};
use regex_automata::{Input, MatchError, MatchKind};

use crate::exchange::Exchange;
use crate::regex::{Regex, TooHard};

/// Fewer patterns than this are tried one by one.
const TOGETHER_MIN: usize = 8;
/// Bytes that the automaton of all patterns together may take; more, and they are tried one by one.
const TOGETHER_BYTES_MAX: usize = 16 << 20;
/// Bytes of states that a thread keeps; when they are full, it forgets them and begins anew. There may be one such
/// automaton for each of a thousand servers, so that one of few patterns has less.
const STATES_BYTES_MIN: usize = 256 << 10;
const STATES_BYTES_PER_PATTERN: usize = 8 << 10;
const STATES_BYTES_MAX: usize = 4 << 20;
/// After forgetting its states so often in one subject, the automaton gives up on it.
const CLEARS_MAX: usize = 3;

/// Patterns in the order in which they count, each with what it stands for.
pub struct Regexes<V> {
    all: Vec<(Regex, V)>,
    together: Option<Together>,
}

/// Those of the patterns that have no need to backtrack, as one automaton whose states are made when they are needed.
struct Together {
    dfa: DFA,
    caches: Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>,
    /// Which pattern of all each of the automaton's is.
    members: Box<[u32]>,
    /// The patterns that are not in it.
    others: Box<[u32]>,
}

impl<V> Default for Regexes<V> {
    fn default() -> Self {
        Self { all: Vec::new(), together: None }
    }
}

impl<V> Regexes<V> {
    pub fn push(&mut self, regex: Regex, value: V) {
        self.all.push((regex, value));
        self.together = None;
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, in the order in which they count.
    pub fn all(&self) -> impl Iterator<Item = (&Regex, &V)> {
        self.all.iter().map(|(regex, value)| (regex, value))
    }

    /// Called once, when all are in.
    pub fn finish(&mut self) {
        self.together = Together::new(self.all.iter().map(|(regex, _)| regex));
    }

    /// The patterns that may match, in order: the first that does, wins.
    pub fn candidates(&self, subject: &[u8]) -> impl Iterator<Item = (&Regex, &V)> {
        let found = self.together.as_ref().and_then(|it| it.first(subject));
        let all = if found.is_none() { &self.all[..] } else { &[] };
        let (first, others) = found.unwrap_or_default();
        let before = others.iter().copied().take_while(move |at| first.is_none_or(|first| *at < first));
        let few = before.chain(first).map(|at| &self.all[at as usize]);
        all.iter().chain(few).map(|(regex, value)| (regex, value))
    }

    /// The first pattern that matches. Sets `$1`…`$9` and the named groups of the exchange.
    pub fn matches(&self, ex: &mut Exchange, subject: &[u8]) -> Result<Option<&V>, TooHard> {
        for (regex, value) in self.candidates(subject) {
            if regex.matches(ex, subject)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

impl Together {
    /// `None`: there are too few patterns, or too large ones.
    fn new<'a>(all: impl Iterator<Item = &'a Regex>) -> Option<Self> {
        let (mut members, mut others, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
        for (at, regex) in all.enumerate() {
            match plain(&regex.spelling(), regex.is_caseless()) {
                Some(pattern) => {
                    members.push(at as u32);
                    patterns.push(pattern);
                }
                None => others.push(at as u32),
            }
        }
        if members.len() < TOGETHER_MIN {
            return None;
        }
        let states_bytes =
            (STATES_BYTES_MIN + STATES_BYTES_PER_PATTERN * patterns.len()).min(STATES_BYTES_MAX);
        let dfa = DFA::builder()
            .configure(
                DFA::config()
                    .match_kind(MatchKind::All)
                    .cache_capacity(states_bytes)
                    .minimum_cache_clear_count(Some(CLEARS_MAX)),
            )
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(TOGETHER_BYTES_MAX)))
            .syntax(syntax::Config::new().utf8(false).unicode(false))
            .build_many(&patterns)
            .ok()?;
        let made_by = dfa.clone();
        let caches: Box<dyn Fn() -> Cache + Send + Sync> = Box::new(move || made_by.create_cache());
        Some(Self { dfa, caches: Pool::new(caches), members: members.into(), others: others.into() })
    }

    /// The first of its patterns that matches, and those that must be tried besides. `None`: nobody knows.
    fn first(&self, subject: &[u8]) -> Option<(Option<u32>, &[u32])> {
        let mut cache = self.caches.get();
        let first = self.walk(&mut cache, subject).ok()?;
        Some((first.map(|at| self.members[at]), &self.others))
    }

    fn walk(&self, cache: &mut Cache, subject: &[u8]) -> Result<Option<usize>, MatchError> {
        let give_up = |at: usize| move |_: CacheError| MatchError::gave_up(at);
        let mut state = self.dfa.start_state_forward(cache, &Input::new(subject))?;
        let mut first = None;
        // A state that loops reports the same patterns again and again: it is looked at once.
        let mut seen = None;
        for (at, byte) in subject.iter().enumerate() {
            state = self.dfa.next_state(cache, state, *byte).map_err(give_up(at))?;
            if state.is_tagged() {
                if state.is_dead() {
                    return Ok(first);
                }
                if state.is_quit() {
                    return Err(MatchError::quit(*byte, at));
                }
                let now = (state, cache.clear_count());
                if state.is_match() && seen.replace(now) != Some(now) {
                    first = self.lowest(cache, state, first);
                }
                if first == Some(0) {
                    return Ok(first);
                }
            }
        }
        state = self.dfa.next_eoi_state(cache, state).map_err(give_up(subject.len()))?;
        Ok(if state.is_match() { self.lowest(cache, state, first) } else { first })
    }

    fn lowest(&self, cache: &Cache, state: LazyStateID, first: Option<usize>) -> Option<usize> {
        let here = (0..self.dfa.match_len(cache, state)).map(|n| self.dfa.match_pattern(cache, state, n));
        here.map(|it| it.as_usize()).chain(first).min()
    }
}

/// The pattern as the automaton reads it, where it has nothing in it that only backtracking can match.
fn plain(spelling: &str, caseless: bool) -> Option<String> {
    if caseless && !spelling.is_ascii() {
        return None;
    }
    let flags = if caseless { "(?i)" } else { "" };
    let tree = Expr::parse_tree_with_flags(&format!("{flags}{spelling}"), 0).ok()?;
    let mut text = String::new();
    is_plain(&tree.expr).then(|| tree.expr.to_str(&mut text, 0))?;
    Some(text)
}

fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Empty | Expr::Any { .. } | Expr::Literal { .. } | Expr::Delegate { .. } => true,
        Expr::Assertion(it) => matches!(
            it,
            Assertion::StartText
                | Assertion::EndText
                | Assertion::StartLine { .. }
                | Assertion::EndLine { .. }
                | Assertion::WordBoundary
                | Assertion::NotWordBoundary
        ),
        Expr::Concat(inside) | Expr::Alt(inside) => inside.iter().all(is_plain),
        Expr::Group(inside) => is_plain(inside),
        Expr::Repeat { child, .. } => is_plain(child),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variable::Variables;
    use foregate_conf::{Span, Word};

    fn table(patterns: &[&str]) -> Regexes<usize> {
        let mut variables = Variables::new(|_| None, |_| None);
        let mut all = Regexes::default();
        for (at, text) in patterns.iter().enumerate() {
            let (caseless, pattern) = match text.strip_prefix('*') {
                Some(pattern) => (true, pattern),
                None => (false, *text),
            };
            let word = Word::new(pattern.as_bytes().to_vec(), Span::default(), false);
            all.push(Regex::compile(&word, pattern, caseless, &mut variables).unwrap(), at);
        }
        all
    }

    fn winner(all: &Regexes<usize>, subject: &[u8]) -> Option<usize> {
        let mut candidates = all.candidates(subject);
        candidates.find(|(regex, _)| regex.is_match(subject).unwrap()).map(|it| *it.1)
    }

    const PATTERNS: [&str; 16] = [
        r"^/r1/[0-9a-z]+$",
        r"^/r12/[0-9a-z]+$",
        r"*\.PHP$",
        r"^/(?!admin)a",
        r"^/a",
        r"(\d)\1",
        r"x++y",
        r"[[:upper:]]\w+\b",
        r"/(?:b|c){2,3}/?$",
        r"\Qa.b\E",
        r"^$",
        r"(?i:zz)\x7e",
        r"(?<year>\d{4})-\d\d",
        r"(?m)^q$",
        r"é+",
        r"\.[^.]*$",
    ];

    #[test]
    fn together_or_one_by_one_the_same_pattern_wins() {
        let one_by_one = table(&PATTERNS);
        let mut together = table(&PATTERNS);
        together.finish();
        assert_eq!(together.together.as_ref().unwrap().others[..], [3, 5, 6]);
        let pieces = [
            "", "/r1/", "/r12/", "x", "y", "a", "/a", "admin", ".php", ".PHP", "11", "Ab", "bc", "a.b", "zZ~",
        ];
        let more = ["2020-01", "\nq", "q", "é", "/", "\u{ff}", " ", ".", "bcb", "0"];
        let all: Vec<_> = pieces.iter().chain(&more).collect();
        for one in &all {
            for two in &all {
                for three in &all {
                    let mut subject = format!("{one}{two}{three}").into_bytes();
                    subject.extend_from_slice(if one.is_empty() { b"\xff" } else { b"" });
                    let text = String::from_utf8_lossy(&subject);
                    assert_eq!(winner(&together, &subject), winner(&one_by_one, &subject), "{text}");
                }
            }
        }
    }

    #[test]
    fn few_patterns_are_tried_one_by_one() {
        let mut few = table(&["a", "b"]);
        few.finish();
        assert!(few.together.is_none());
        assert_eq!(winner(&few, b"xb"), Some(1));
    }

    #[test]
    fn states_that_do_not_fit_are_no_wrong_answer() {
        let patterns: Vec<_> = (0..40).map(|n| format!("a[ab]{{{n}}}c")).collect();
        let mut all = table(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        let mut subject = Vec::new();
        let mut seed = 1_u32;
        for _ in 0..10_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            subject.push(if seed >> 31 == 0 { b'a' } else { b'b' });
        }
        let want = winner(&all, &subject);
        all.finish();
        assert_eq!(winner(&all, &subject), want);
    }
}
