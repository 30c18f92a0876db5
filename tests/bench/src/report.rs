//! Figures as a table for people and as JSON for programs, from the same rows.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// One figure with the name of its column, which says its unit.
pub struct Figure {
    name: &'static str,
    value: f64,
    decimals: usize,
}

impl Figure {
    /// A number.
    pub fn number(name: &'static str, value: f64, decimals: usize) -> Self {
        Self { name, value, decimals }
    }

    /// What one time has more than another, in milliseconds; less than nothing where noise is larger than what is measured.
    pub fn added_milliseconds(name: &'static str, value: Duration, base: Duration) -> Self {
        Self { name, value: (value.as_secs_f64() - base.as_secs_f64()) * 1e3, decimals: 3 }
    }

    /// A time in milliseconds; the name ends in `_ms`.
    pub fn milliseconds(name: &'static str, value: Duration) -> Self {
        Self { name, value: value.as_secs_f64() * 1e3, decimals: 3 }
    }
}

/// A table: one scenario.
pub struct Section {
    title: String,
    rows: Vec<(String, Vec<Figure>)>,
}

impl Section {
    /// An empty one.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// Adds a row; figures with the same names make columns.
    pub fn row(&mut self, name: &str, figures: Vec<Figure>) {
        self.rows.push((name.to_owned(), figures));
    }

    /// The section as Markdown.
    pub fn table(&self) -> String {
        let columns = self.columns();
        let mut out = format!("\n### {}\n\n| |", self.title);
        let mut rule = String::from("|---|");
        for column in &columns {
            write!(out, " {} |", column.replace('_', " ")).expect("a String takes any text");
            rule.push_str("---:|");
        }
        writeln!(out, "\n{rule}").expect("a String takes any text");
        for (name, figures) in &self.rows {
            write!(out, "| {name} |").expect("a String takes any text");
            for column in &columns {
                let figure = figures.iter().find(|figure| figure.name == *column);
                let text = figure.map_or_else(|| "-".to_owned(), |figure| format!("{:.*}", figure.decimals, figure.value));
                write!(out, " {text} |").expect("a String takes any text");
            }
            out.push('\n');
        }
        out
    }

    /// Every column, in the order in which rows bring them.
    fn columns(&self) -> Vec<&'static str> {
        let mut columns = Vec::new();
        for figure in self.rows.iter().flat_map(|(_, figures)| figures) {
            if !columns.contains(&figure.name) {
                columns.push(figure.name);
            }
        }
        columns
    }

    fn json(&self) -> Value {
        let row = |(name, figures): &(String, Vec<Figure>)| {
            let mut row: Map<String, Value> = figures.iter().map(|figure| (figure.name.to_owned(), json!(figure.value))).collect();
            row.insert("name".to_owned(), json!(name));
            Value::Object(row)
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

/// All sections of one run.
pub struct Report {
    machine: Value,
    sections: Map<String, Value>,
}

impl Report {
    /// An empty one.
    pub fn new(machine: Value) -> Self {
        Self { machine, sections: Map::new() }
    }

    /// Adds a scenario.
    pub fn add(&mut self, name: &str, section: &Section) {
        self.sections.insert(name.to_owned(), section.json());
    }

    /// Writes everything as JSON.
    pub fn write(&self, file: &Path) -> Result<()> {
        let report = json!({ "machine": self.machine, "scenarios": self.sections });
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n").with_context(|| file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_different_figures_share_a_table() {
        let mut section = Section::new("Title");
        section.row("a", vec![Figure::number("rate", 12.34, 1)]);
        section.row("b", vec![Figure::milliseconds("p50_ms", Duration::from_micros(1500))]);
        assert_eq!(section.table(), "\n### Title\n\n| | rate | p50 ms |\n|---|---:|---:|\n| a | 12.3 | - |\n| b | - | 1.500 |\n");
        assert_eq!(section.json()["rows"][1]["p50_ms"], 1.5);
    }
}
