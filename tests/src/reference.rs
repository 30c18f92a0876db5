//! The tables of a page of `docs/`, read back, so that a test can hold the product against them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One row: its cells by the heading of their column, without the marks of code.
pub type Row = BTreeMap<String, String>;

/// The tables of a page, by the heading they stand under.
pub struct Reference {
    tables: BTreeMap<String, Vec<Row>>,
}

impl Reference {
    /// Reads a page of `docs/`.
    ///
    /// # Panics
    /// When there is no such page.
    #[track_caller]
    pub fn of_page(page: &str) -> Self {
        let path = workspace().join("docs").join(page);
        Self::parse(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn parse(text: &str) -> Self {
        let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        let (mut heading, mut columns) = (String::new(), Vec::new());
        for line in text.lines() {
            if let Some(found) = line.strip_prefix('#') {
                heading = found.trim_start_matches('#').trim().to_owned();
            }
            match cells(line) {
                None => columns.clear(),
                Some(cells) if columns.is_empty() => columns = cells,
                Some(cells) if cells.iter().all(|cell| cell.starts_with("--")) => {}
                Some(cells) => tables.entry(heading.clone()).or_default().push(columns.iter().cloned().zip(cells).collect()),
            }
        }
        Self { tables }
    }

    /// The rows under a heading.
    ///
    /// # Panics
    /// When there are none.
    #[track_caller]
    pub fn rows(&self, heading: &str) -> &[Row] {
        match self.tables.get(heading) {
            Some(rows) => rows,
            None => panic!("no table under {heading:?}"),
        }
    }

    /// The cells of one column under a heading.
    ///
    /// # Panics
    /// When there is no such table, or it has no such column.
    #[track_caller]
    pub fn column(&self, heading: &str, column: &str) -> Vec<&str> {
        let cell = |row: &'_ Row| row.contains_key(column);
        assert!(self.rows(heading).iter().all(cell), "the table under {heading:?} has no column {column:?}");
        self.rows(heading).iter().map(|row| row[column].as_str()).collect()
    }
}

/// The folder that holds `docs/` and `examples/`.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace").to_path_buf()
}

/// The cells of a line of a table, without the marks of code; `None` for any other line.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let inner = inner.replace("\\|", "\u{0}");
    Some(inner.split('|').map(|cell| cell.trim().replace('`', "").replace('\u{0}', "|")).collect())
}

#[cfg(test)]
mod tests {
    use super::Reference;

    #[test]
    fn tables_are_found_by_their_heading_and_column() {
        let text =
            "# A\n\n| name | why |\n|---|---|\n| `x` | a \\| b |\n| `y` |  |\n\ntext | no table\n\n## B\n\n| other |\n|---|\n| 1 |\n";
        let reference = Reference::parse(text);
        assert_eq!(reference.column("A", "name"), ["x", "y"]);
        assert_eq!(reference.column("A", "why"), ["a | b", ""]);
        assert_eq!(reference.column("B", "other"), ["1"]);
    }
}
