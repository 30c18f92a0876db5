//! The reference of the configuration file, written from the table.

use std::fmt::Write as _;

use crate::section::{Absent, Key};
use crate::table::SECTIONS;

/// Every table of the file with its keys, as Markdown.
pub fn reference_markdown() -> String {
    let mut out = String::new();
    for (index, section) in SECTIONS.iter().enumerate() {
        let title = section.header().map_or_else(|| "The top of the file".to_owned(), |header| format!("`{header}`"));
        let gap = if index == 0 { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = write!(out, "{gap}### {title}\n\n{}\n", section.meaning);
        if !section.keys.is_empty() {
            out.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
        }
        for key in section.keys {
            let _ = writeln!(out, "| `{}` | {} | {} | {} |", key.name, key.form.words(), default(key), meaning(key));
        }
    }
    out
}

fn default(key: &Key) -> String {
    match key.default {
        Absent::Is(toml) => format!("`{toml}`"),
        Absent::Said(words) => words.to_owned(),
        Absent::Required => "must be set".to_owned(),
    }
}

fn meaning(key: &Key) -> String {
    if key.needs_restart { format!("{} (read at the start only)", key.meaning) } else { key.meaning.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_row() {
        let text = reference_markdown();
        for row in [
            "| `connect_timeout` | 1ms to 24h | `\"5s\"` |",
            "### `[servers.NAME]`",
            "### `[[alerts.rule]]`",
            "| `name` | a text | must be set |",
        ] {
            assert!(text.contains(row), "{row}");
        }
    }
}
