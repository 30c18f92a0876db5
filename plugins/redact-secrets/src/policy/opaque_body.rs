//! Secrets in a body that is no JSON-RPC message: other JSON, an error page, what a broken server sends.

use core::ops::Range;

use watchgate_mcp::json;
use watchgate_plugin::matching::{Edit, apply_to_text};

use super::{Decision, Replacement, Search, json_body};
use crate::class::Class;
use crate::flat::{Flat, LineBreaks};

/// Searches the raw text, and once more with its escapes resolved and its line breaks left out. What only the second search finds cannot be
/// replaced where it stands, and the message is denied.
pub fn search(search: &mut Search<'_>, body: &[u8]) -> Decision {
    if json::validate(body).is_ok() {
        return match json_body::find(search, body) {
            Ok(found) if found.edits.is_empty() && found.numbers.is_empty() => Decision::Pass,
            Ok(found) => Decision::Replace(found.applied_to(body)),
            Err(reason) => Decision::Deny(reason),
        };
    }
    let mut found = search.in_plain_text(body);
    let joined = Flat::new(body, LineBreaks::Join);
    for finding in search.policy.detector.find(joined.text()) {
        let source = joined.source_range(&finding.range);
        if finding.class == Class::Email && begins_a_line(&body[source.clone()]) {
            continue;
        }
        let Some(in_both) = found.iter_mut().find(|raw| overlap(&raw.range, &source)) else {
            return Decision::Deny(format!("{} cut by line breaks or hidden by escapes", finding.class.name()));
        };
        // What goes on behind a line break belongs to a token. To an address it does not: there the next line's word would be taken.
        if finding.class != Class::Email {
            in_both.range = in_both.range.start.min(source.start)..in_both.range.end.max(source.end);
        }
    }
    if found.is_empty() {
        return Decision::Pass;
    }
    Decision::Replace(apply_to_text(body, &merged(found)))
}

/// Whether the `@` of what looks like an address begins a line: it is then an annotation or a rule of a style sheet.
fn begins_a_line(address: &[u8]) -> bool {
    address.windows(2).any(|pair| matches!(pair, b"\n@" | b"\r@"))
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

fn merged(mut found: Vec<Replacement>) -> Vec<Edit> {
    found.sort_unstable_by_key(|found| (found.range.start, found.range.end));
    let mut edits: Vec<Edit> = Vec::new();
    for Replacement { range, text, .. } in found {
        match edits.last_mut() {
            Some(last) if range.start < last.range.end => last.range.end = last.range.end.max(range.end),
            _ => edits.push(Edit { range, replacement: text }),
        }
    }
    edits
}
