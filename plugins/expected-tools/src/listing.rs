//! Reads a server's list of tools page by page, and judges it. Pure: the question is an argument.

use core::fmt::Display;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use watchgate_plugin::{Report, Status};

/// More pages are not read: a server that gives new cursors for ever must not keep the check busy for ever.
const MAX_PAGES: usize = 100;
/// More missing tools are counted, not named: a report holds 1 KiB.
const MAX_NAMED: usize = 10;

/// The parameters of `tools/list`.
#[derive(Debug, Serialize)]
pub struct Cursor {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// The result of `tools/list`, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Page {
    tools: Vec<Tool>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    name: String,
}

/// The tools a server lists.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    names: BTreeSet<String>,
    /// There are more pages, which were not read.
    is_cut: bool,
}

/// Asks for pages until the last.
///
/// # Errors
/// The first error of `ask`.
pub fn list_tools<E>(mut ask: impl FnMut(Cursor) -> Result<Page, E>) -> Result<Listing, E> {
    let mut names = BTreeSet::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page = ask(Cursor { cursor: cursor.clone() })?;
        names.extend(page.tools.into_iter().map(|tool| tool.name));
        match page.next_cursor {
            // Some servers send an empty cursor with the last page, and a cursor that repeats leads nowhere new.
            Some(next) if !next.is_empty() && cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(Listing { names, is_cut: false }),
        }
    }
    Ok(Listing { names, is_cut: true })
}

/// What the list, or the reason why there is none, says about the server.
pub fn report(server: &str, expected: &[String], listing: Result<Listing, impl Display>) -> Report {
    let listing = match listing {
        Ok(listing) => listing,
        Err(reason) => return Report { status: Status::Failing, detail: format!("{server} does not list its tools: {reason}") },
    };
    let missing: Vec<&str> = expected.iter().map(String::as_str).filter(|name| !listing.names.contains(*name)).collect();
    if missing.is_empty() {
        let detail = format!("{server} lists {} tools, among them all {} expected", listing.names.len(), expected.len());
        return Report { status: Status::Ok, detail };
    }
    let status = if missing.len() < expected.len() { Status::Degraded } else { Status::Failing };
    let mut detail = format!("{server} lacks {} of {} expected tools: {}", missing.len(), expected.len(), named(&missing));
    if listing.is_cut {
        detail += &format!(" (only the first {MAX_PAGES} pages of its list were read)");
    }
    Report { status, detail }
}

fn named(missing: &[&str]) -> String {
    let named = missing.iter().take(MAX_NAMED).map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ");
    match missing.len().checked_sub(MAX_NAMED) {
        None | Some(0) => named,
        Some(more) => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use watchgate_plugin::Status;

    use super::{Cursor, MAX_PAGES, Page, list_tools, report};

    /// A server with these pages; the cursor is the number of the next page.
    fn serve(pages: &[&[&str]]) -> impl FnMut(Cursor) -> Result<Page, String> {
        let pages: Vec<serde_json::Value> = pages
            .iter()
            .enumerate()
            .map(|(number, names)| {
                let tools: Vec<_> = names.iter().map(|name| serde_json::json!({"name": name, "inputSchema": {}})).collect();
                let next = (number + 1 < pages.len()).then(|| (number + 1).to_string());
                serde_json::json!({"tools": tools, "nextCursor": next})
            })
            .collect();
        move |cursor| {
            let sent = serde_json::to_value(&cursor).unwrap();
            let number = sent.get("cursor").map_or(0, |cursor| cursor.as_str().unwrap().parse().unwrap());
            let page: &serde_json::Value = &pages[number];
            serde_json::from_value(page.clone()).map_err(|error| error.to_string())
        }
    }

    fn check(pages: &[&[&str]], expected: &[&str], status: Status, detail: &str) {
        let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        let report = report("web", &expected, list_tools(serve(pages)));
        assert_eq!((report.status, report.detail.as_str()), (status, detail));
    }

    #[test]
    fn says_what_is_missing() {
        check(&[&["a", "b"]], &["a"], Status::Ok, "web lists 2 tools, among them all 1 expected");
        check(&[&["a"], &["b"], &["c"]], &["a", "c"], Status::Ok, "web lists 3 tools, among them all 2 expected");
        check(&[&[]], &[], Status::Ok, "web lists 0 tools, among them all 0 expected");
        check(&[&["a", "b"]], &["a", "x", "y\n"], Status::Degraded, "web lacks 2 of 3 expected tools: x, y\\n");
        check(&[&["a"]], &["x"], Status::Failing, "web lacks 1 of 1 expected tools: x");
        let many: Vec<String> = (0..12).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(&[&["a"]], &many, Status::Failing, "web lacks 12 of 12 expected tools: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }

    #[test]
    fn fails_without_a_list() {
        let report = report("web", &[], list_tools(|_| Err("unreachable: no route")));
        assert_eq!((report.status, report.detail.as_str()), (Status::Failing, "web does not list its tools: unreachable: no route"));
    }

    #[test]
    fn ends_whatever_the_cursors_say() {
        let mut asked = 0;
        let listing = list_tools(|_| {
            asked += 1;
            serde_json::from_value::<Page>(serde_json::json!({"tools": [{"name": "a"}], "nextCursor": asked.to_string()}))
        });
        let found = report("web", &["b".to_owned()], listing);
        assert_eq!(asked, MAX_PAGES);
        assert_eq!(found.detail, "web lacks 1 of 1 expected tools: b (only the first 100 pages of its list were read)");
        for cursor in ["", "same"] {
            let mut asked = 0;
            let listing = list_tools(|_| {
                asked += 1;
                serde_json::from_value::<Page>(serde_json::json!({"tools": [], "nextCursor": cursor}))
            });
            assert!(listing.is_ok() && asked <= 2);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_sets(listed in prop::collection::btree_set("[a-d]", 0..5), expected in prop::collection::btree_set("[a-d]", 0..5), status in any::<bool>()) {
            let names: Vec<&str> = listed.iter().map(String::as_str).collect();
            let pages: Vec<&[&str]> = if status { vec![&names] } else { names.chunks(1).chain([[].as_slice()]).collect() };
            let expected: Vec<String> = expected.into_iter().collect();
            let found = report("web", &expected, list_tools(serve(&pages)));
            let missing = expected.iter().filter(|name| !listed.contains(*name)).count();
            let wanted = match missing {
                0 => Status::Ok,
                all if all == expected.len() => Status::Failing,
                _ => Status::Degraded,
            };
            prop_assert_eq!(found.status, wanted);
        }
    }
}
