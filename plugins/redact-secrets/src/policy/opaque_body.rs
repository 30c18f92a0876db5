//! Secrets in a body that is no JSON-RPC message: other JSON, an error page, what a broken server sends.

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
    let mut edits = merged(search.in_plain_text(body));
    let joined = Flat::new(body, LineBreaks::Join);
    let findings = search.policy.detector.find(joined.text());
    let ranges: Vec<_> = findings.iter().map(|finding| finding.range.clone()).collect();
    let mut longer: Vec<Edit> = Vec::new();
    for (finding, source) in findings.into_iter().zip(joined.source_ranges(&ranges)) {
        if finding.class == Class::Email && begins_a_line(&body[source.clone()]) {
            continue;
        }
        let first = edits.partition_point(|edit| edit.range.end <= source.start);
        let Some(in_both) = edits.get(first).filter(|edit| edit.range.start < source.end) else {
            return Decision::Deny(format!("{} cut by line breaks or hidden by escapes", finding.class.name()));
        };
        // What goes on behind a line break belongs to a token. To an address it does not: there the next line's word would be taken.
        if finding.class != Class::Email {
            let range = in_both.range.start.min(source.start)..in_both.range.end.max(source.end);
            longer.push(Edit { range, replacement: in_both.replacement.clone() });
        }
    }
    if edits.is_empty() {
        return Decision::Pass;
    }
    edits.append(&mut longer);
    Decision::Replace(apply_to_text(body, &in_order(edits)))
}

/// Whether the `@` of what looks like an address begins a line: it is then an annotation or a rule of a style sheet.
fn begins_a_line(address: &[u8]) -> bool {
    address.windows(2).any(|pair| matches!(pair, b"\n@" | b"\r@"))
}

fn merged(found: Vec<Replacement>) -> Vec<Edit> {
    in_order(found.into_iter().map(|found| Edit { range: found.range, replacement: found.text }).collect())
}

/// Sorted, and those that overlap made one.
fn in_order(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut sorted: Vec<Edit> = Vec::with_capacity(edits.len());
    for edit in edits {
        match sorted.last_mut() {
            Some(last) if edit.range.start < last.range.end => last.range.end = last.range.end.max(edit.range.end),
            _ => sorted.push(edit),
        }
    }
    sorted
}
