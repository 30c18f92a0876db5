//! Reads the tables of a settings file and collects every complaint with its line, so that one look at the status
//! names all mistakes at once.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::{Parsed, wanted};

/// One mistake in a settings file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong there, without the line.
    pub text: String,
}

/// The text being read and what was found wrong with it so far.
pub struct Reader<'a> {
    text: &'a str,
    complaints: Vec<Complaint>,
}

/// One table of the file with the prefix of its keys (`limits.`).
#[derive(Clone, Copy)]
pub struct Section<'a, 'i> {
    /// The keys.
    pub table: &'a DeTable<'i>,
    /// What stands before a key's name in complaints.
    pub prefix: &'a str,
}

impl<'a> Reader<'a> {
    /// A reader of this text.
    pub fn new(text: &'a str) -> Self {
        Self { text, complaints: Vec::new() }
    }

    /// Notes a mistake at this place of the text.
    pub fn complain(&mut self, at: Range<usize>, text: String) {
        let before = self.text.as_bytes().get(..at.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        self.complaints.push(Complaint { line, text });
    }

    /// Complains about every key that is not known, naming the nearest one.
    pub fn refuse_unknown(&mut self, section: Section<'_, '_>, known: &[&str]) {
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let nearest = known.iter().min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate));
                let hint = nearest.map(|nearest| format!("; did you mean `{}{nearest}`?", section.prefix)).unwrap_or_default();
                self.complain(key.span(), format!("unknown key `{}{name}`{hint}", section.prefix));
            }
        }
    }

    /// The value of `key`, if it is there and sound.
    pub fn read<T>(&mut self, section: Section<'_, '_>, key: &str, parse: impl Fn(&DeValue<'_>) -> Parsed<T>) -> Option<T> {
        let value = section.table.get(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                self.complain(value.span(), format!("`{}{key}` {problem}", section.prefix));
                None
            }
        }
    }

    /// The table `key` of the root, if it is there.
    pub fn section<'t, 'i>(&mut self, root: &'t DeTable<'i>, key: &str, prefix: &'static str) -> Option<Section<'t, 'i>> {
        let value: &Spanned<DeValue<'i>> = root.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.complain(value.span(), format!("`{key}` {}", wanted("a table", value.get_ref())));
        }
        table.map(|table| Section { table, prefix })
    }

    /// Every complaint, in the order of the lines.
    pub fn into_complaints(mut self) -> Vec<Complaint> {
        self.complaints.sort_by_key(|complaint| complaint.line);
        self.complaints
    }
}
