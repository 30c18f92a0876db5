//! Finds the literal triggers of all policies in one pass over a message.

use aho_corasick::AhoCorasick;
use aho_corasick::packed::{Builder, Searcher};
use memchr::memchr_iter;

use crate::message::Message;

/// The longest trigger that `wit/host.wit` allows, in bytes.
const MAX_TRIGGER_BYTES: usize = 64;

/// How much of a body is lower-cased at once, on the stack. Messages are mostly shorter, and clearing the block costs too.
const BLOCK_BYTES: usize = 1024;

/// Which policies a message is to be shown to, as far as triggers decide. Policies from the 129th on are always in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicySet(u128);

impl PolicySet {
    const ALL: Self = Self(u128::MAX);

    fn one(policy: usize) -> Self {
        Self(u32::try_from(policy).ok().and_then(|bit| 1_u128.checked_shl(bit)).unwrap_or(0))
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the policy with this place in the chain is in the set.
    pub(crate) fn contains(self, policy: usize) -> bool {
        match u32::try_from(policy).ok().and_then(|bit| 1_u128.checked_shl(bit)) {
            Some(bit) => self.0 & bit != 0,
            None => true,
        }
    }
}

/// The triggers of all policies of one chain.
pub(crate) struct Triggers {
    exact: Exact,
    sieve: Option<Sieve>,
}

enum Exact {
    /// No policy has triggers: all are called.
    None,
    /// Which policies each pattern belongs to.
    Automaton { automaton: AhoCorasick, owners: Box<[PolicySet]>, all: PolicySet },
}

impl Triggers {
    /// `policies` yields each policy's triggers in the order of the chain; an empty list means that the policy needs none.
    pub(crate) fn new<'a>(policies: impl Iterator<Item = &'a [String]>) -> Self {
        let mut patterns: Vec<&str> = Vec::new();
        let mut owners = Vec::new();
        let mut all = PolicySet::default();
        for (policy, triggers) in policies.enumerate() {
            for trigger in triggers {
                patterns.push(trigger);
                owners.push(PolicySet::one(policy));
                all = all.with(PolicySet::one(policy));
            }
        }
        if patterns.is_empty() {
            return Self { exact: Exact::None, sieve: None };
        }
        match AhoCorasick::builder().ascii_case_insensitive(true).build(&patterns) {
            Ok(automaton) => {
                let sieve = Sieve::new(&patterns);
                Self { exact: Exact::Automaton { automaton, owners: owners.into(), all }, sieve }
            }
            Err(error) => {
                tracing::warn!(%error, "the triggers are too many for one automaton: every policy sees every message");
                Self { exact: Exact::None, sieve: None }
            }
        }
    }

    /// The policies one of whose triggers stands in the body or in a mirrored header. Only what it says of policies that have triggers
    /// means anything.
    pub(crate) fn find(&self, message: &Message) -> PolicySet {
        let Exact::Automaton { automaton, owners, all } = &self.exact else { return PolicySet::ALL };
        if may_hide_one(&message.body) {
            return PolicySet::ALL;
        }
        let mut found = PolicySet::default();
        let texts = message.headers.iter().map(|header| header.value.as_bytes());
        for text in std::iter::once(&*message.body).chain(texts) {
            if self.sieve.as_ref().is_some_and(|sieve| !sieve.may_hold_one(text)) {
                continue;
            }
            for hit in automaton.find_overlapping_iter(text) {
                found = found.with(owners[hit.pattern().as_usize()]);
                if found == *all {
                    return found;
                }
            }
        }
        found
    }
}

/// Whether the body holds an escape that could hide a trigger: `\u` or `\/`. They count wherever they stand, also behind another backslash:
/// what is escaped twice holds JSON inside a string, and its reader will decode it.
fn may_hide_one(body: &[u8]) -> bool {
    memchr_iter(b'\\', body).any(|at| matches!(body.get(at + 1), Some(b'u' | b'/')))
}

/// Says quickly that a text holds no pattern at all, which is so for most messages. The automaton ignores case and therefore runs byte by
/// byte; this lower-cases block by block and then searches with vector instructions.
struct Sieve(Searcher);

impl Sieve {
    /// `None` where the machine has no vector search, or the patterns are too many for it.
    fn new(patterns: &[&str]) -> Option<Self> {
        let lower: Vec<String> = patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        let fits = lower.iter().all(|pattern| (2..=MAX_TRIGGER_BYTES).contains(&pattern.len()));
        if !fits {
            return None;
        }
        Builder::new().extend(&lower).build().map(Self)
    }

    fn may_hold_one(&self, text: &[u8]) -> bool {
        let mut block = [0; BLOCK_BYTES];
        let mut rest = text;
        loop {
            let length = rest.len().min(BLOCK_BYTES);
            block[..length].copy_from_slice(&rest[..length]);
            block[..length].make_ascii_lowercase();
            if self.0.find(&block[..length]).is_some() {
                return true;
            }
            if length == rest.len() {
                return false;
            }
            // Blocks overlap by what a trigger cut by their border may lose.
            rest = &rest[length - (MAX_TRIGGER_BYTES - 1)..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, MAX_TRIGGER_BYTES, PolicySet, Triggers};
    use crate::message::{Kind, Message, MirroredHeader, Surface};
    use proptest::prelude::{any, prop, proptest};
    use watchgate_mcp::Direction;

    fn message(body: &[u8], header: Option<&str>) -> Message {
        Message {
            body: body.to_vec().into(),
            kind: Kind::Request,
            direction: Direction::ClientToServer,
            surface: Surface::Wire,
            server: "weather".into(),
            method: None,
            name: None,
            headers: header.map(|value| MirroredHeader { name: "mcp-name".into(), value: value.into() }).into_iter().collect(),
        }
    }

    fn triggers(policies: &[&[&str]]) -> Triggers {
        let owned: Vec<Vec<String>> =
            policies.iter().map(|list| list.iter().map(|trigger| trigger.to_ascii_lowercase()).collect()).collect();
        Triggers::new(owned.iter().map(Vec::as_slice))
    }

    /// Policy 0 looks for `AKIA` and `KIAX`, policy 1 for `token`.
    fn check(body: &str, header: Option<&str>, expected: [bool; 2]) {
        let found = triggers(&[&["AKIA", "KIAX"], &["token"]]).find(&message(body.as_bytes(), header));
        assert_eq!([found.contains(0), found.contains(1)], expected, "{body} {header:?}");
    }

    #[test]
    fn literal_triggers_are_found_in_both_cases() {
        check(r#"{"a":"nothing here"}"#, None, [false, false]);
        check(r#"{"a":"an AKIA key"}"#, None, [true, false]);
        check(r#"{"a":"an akia key"}"#, None, [true, false]);
        check(r#"{"ToKeN":"aKiA"}"#, None, [true, true]);
        check(r#"{"a":"AKI"}"#, None, [false, false]);
        check("", None, [false, false]);
    }

    #[test]
    fn an_escape_that_could_hide_a_trigger_counts_as_all_of_them() {
        check(r#"{"a":"\u0041KIA"}"#, None, [true, true]);
        check(r#"{"a":"tok\u0065n"}"#, None, [true, true]);
        check(r#"{"a":"\ud83d\ude00"}"#, None, [true, true]);
        check(r#"{"a":"b\/c"}"#, None, [true, true]);
        check(r#"{"a":"{\"b\":\"\\u0041KIA\"}"}"#, None, [true, true]);
        check(r#"{"a":"C:\\Users\\me \n \t \" \\"}"#, None, [false, false]);
    }

    #[test]
    fn mirrored_headers_are_scanned_too() {
        check("{}", Some("AKIA1234"), [true, false]);
        check("{}", Some("my token"), [false, true]);
        check(r#"{"a":"AKIA"}"#, Some("my token"), [true, true]);
        check("{}", Some("clean"), [false, false]);
    }

    #[test]
    fn a_trigger_across_the_border_of_two_blocks_is_found() {
        let longest = "x".repeat(MAX_TRIGGER_BYTES);
        let triggers = triggers(&[&[&longest]]);
        for at in BLOCK_BYTES - 2 * MAX_TRIGGER_BYTES..BLOCK_BYTES + MAX_TRIGGER_BYTES {
            let body = [" ".repeat(at), longest.clone(), " ".repeat(3 * BLOCK_BYTES)].concat();
            assert!(triggers.find(&message(body.as_bytes(), None)).contains(0), "{at}");
        }
    }

    #[test]
    fn policies_beyond_the_set_are_always_called() {
        let many: Vec<&[&str]> = (0..200).map(|_| &["token"][..]).collect();
        let found = triggers(&many).find(&message(b"{}", None));
        assert!(!found.contains(0) && !found.contains(127));
        assert!(found.contains(128) && found.contains(199));
        assert!(!PolicySet::one(300).contains(0));
    }

    #[test]
    fn more_triggers_than_the_vector_search_takes_are_found() {
        let many: Vec<String> = (0..1000).map(|number| format!("trigger-{number:03}")).collect();
        let triggers = Triggers::new([many.as_slice()].into_iter());
        assert!(triggers.find(&message(b"a TRIGGER-999 b", None)).contains(0));
        assert!(!triggers.find(&message(b"a trigger- b", None)).contains(0));
    }

    proptest! {
        #[test]
        fn a_planted_trigger_is_found_wherever_it_stands(
            before in prop::collection::vec(any::<u8>(), 0..5000), after in prop::collection::vec(any::<u8>(), 0..200), upper: bool,
        ) {
            let trigger = if upper { "GHP_" } else { "ghp_" };
            let body = [&before[..], trigger.as_bytes(), &after[..]].concat();
            assert!(triggers(&[&["token"], &["ghp_", "AKIA"]]).find(&message(&body, None)).contains(1));
        }

        #[test]
        fn what_it_says_is_what_a_plain_search_says(body in r#"[aA kKiItTo\\u/"]{0,80}"#) {
            let lower = body.to_ascii_lowercase();
            let hidden = body.contains(r"\u") || body.contains(r"\/");
            let found = triggers(&[&["AKI"], &["to", "ki"]]).find(&message(body.as_bytes(), None));
            assert_eq!(found.contains(0), hidden || lower.contains("aki"));
            assert_eq!(found.contains(1), hidden || lower.contains("to") || lower.contains("ki"));
        }
    }
}
