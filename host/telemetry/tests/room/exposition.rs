//! A strict reader of the Prometheus text format 0.0.4: it panics on everything a scraper could trip over.

use std::collections::{BTreeMap, HashSet};

/// Label names and values, sorted by name.
pub type Labels = BTreeMap<String, String>;

pub struct Exposition {
    /// By family name.
    pub families: BTreeMap<String, FamilyText>,
}

pub struct FamilyText {
    pub kind: String,
    pub help: String,
    pub samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    /// Reads a whole scrape.
    pub fn read(text: &str) -> Self {
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is ended");
        let mut families: BTreeMap<String, FamilyText> = BTreeMap::new();
        let mut current: Option<String> = None;
        let mut pending_help: Option<(String, String)> = None;
        for line in text.split_terminator('\n') {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("help without text: {line:?}"));
                assert!(pending_help.is_none(), "two HELP lines in a row: {line:?}");
                pending_help = Some((name.into(), unescape(help, false)));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("type without a word: {line:?}"));
                let (helped, help) = pending_help.take().unwrap_or_else(|| panic!("TYPE without HELP: {line:?}"));
                assert_eq!(helped, name, "HELP and TYPE speak of one family");
                assert!(is_name(name, true), "{name:?}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line:?}");
                let family = FamilyText { kind: kind.into(), help, samples: Vec::new() };
                assert!(families.insert(name.into(), family).is_none(), "the lines of {name} stand together");
                current = Some(name.into());
            } else {
                assert!(pending_help.is_none(), "samples follow TYPE, not HELP: {line:?}");
                let sample = sample(line);
                let name = current.as_ref().unwrap_or_else(|| panic!("a sample before any TYPE: {line:?}"));
                families.get_mut(name).unwrap().samples.push(sample);
            }
        }
        let exposition = Self { families };
        exposition.families.iter().for_each(|(name, family)| family.check(name));
        exposition
    }

    /// The value of one series, by its sample name and all or some of its labels; panics unless exactly one fits.
    pub fn value(&self, sample: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(sample, labels);
        assert_eq!(found.len(), 1, "{sample} {labels:?}: {found:?}");
        found[0].1
    }

    /// The series with this sample name and at least these labels.
    pub fn find(&self, sample: &str, labels: &[(&str, &str)]) -> Vec<(&Labels, f64)> {
        let all = self.families.values().flat_map(|family| &family.samples);
        let fits = |of: &Labels| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|known| known == value));
        all.filter(|(name, of, _)| name == sample && fits(of)).map(|(_, of, value)| (of, *value)).collect()
    }

    /// How many lines carry a value.
    pub fn samples(&self) -> usize {
        self.families.values().map(|family| family.samples.len()).sum()
    }
}

impl FamilyText {
    fn check(&self, name: &str) {
        assert!(!self.samples.is_empty(), "{name} has no sample");
        let mut seen = HashSet::new();
        for (sample, labels, value) in &self.samples {
            let suffixes: &[&str] = if self.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.iter().any(|suffix| *sample == format!("{name}{suffix}")), "{sample} stands under {name}");
            assert!(seen.insert((sample, labels)), "{sample} {labels:?} stands twice");
            assert!(self.kind == "gauge" || sample.ends_with("_sum") || *value >= 0.0, "{sample} {labels:?} is {value}");
        }
        if self.kind == "histogram" {
            self.check_buckets(name);
        }
    }

    fn check_buckets(&self, name: &str) {
        let mut by_series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (sample, labels, value) in &self.samples {
            if sample.ends_with("_bucket") && *sample == format!("{name}_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").unwrap_or_else(|| panic!("{sample} without le"));
                by_series.entry(labels).or_default().push((bound.parse().unwrap(), *value));
            }
        }
        let plain: BTreeMap<(&str, &Labels), f64> =
            self.samples.iter().map(|(sample, labels, value)| ((sample.as_str(), labels), *value)).collect();
        let (count, sum) = (format!("{name}_count"), format!("{name}_sum"));
        for (labels, buckets) in &by_series {
            assert!(buckets.is_sorted_by(|low, high| low.0 < high.0 && low.1 <= high.1), "{name} {labels:?}: {buckets:?}");
            let all = plain.get(&(count.as_str(), labels)).unwrap_or_else(|| panic!("{count} {labels:?} is missing"));
            assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, *all), "{name} {labels:?}");
            assert!(plain.contains_key(&(sum.as_str(), labels)), "{sum} {labels:?} is missing");
        }
        let counts = self.samples.iter().filter(|(sample, ..)| *sample == format!("{name}_count")).count();
        assert_eq!(counts, by_series.len(), "{name}: each series has buckets");
    }
}

/// `name{label="value",...} number`, nothing more.
fn sample(line: &str) -> (String, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line:?}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "{line:?}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line:?}"));
            assert!(is_name(label, false), "{line:?}");
            let end = closing_quote(after).unwrap_or_else(|| panic!("a label value without an end: {line:?}"));
            assert!(labels.insert(label.into(), unescape(&after[..end], true)).is_none(), "{label} twice: {line:?}");
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("{line:?}"));
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?}"));
    assert!(!number.contains(' '), "a timestamp is not expected: {line:?}");
    (name.into(), labels, number.parse().unwrap_or_else(|_| panic!("no number: {line:?}")))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str, quoted: bool) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quoted => out.push('"'),
            other => panic!("unknown escape {other:?} in {text:?}"),
        }
    }
    out
}

fn is_name(name: &str, colon: bool) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || character == '_' || (colon && character == ':');
    name.chars().all(fits) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

#[test]
fn the_reader_is_strict() {
    let good = "# HELP a A.\n# TYPE a counter\na{l=\"x\\\"\\n\\\\\"} 1\n";
    assert_eq!(Exposition::read(good).value("a", &[("l", "x\"\n\\")]), 1.0);
    let head = "# HELP a A.\n# TYPE a";
    let histogram = |lines: &str| format!("{head} histogram\n{lines}");
    for bad in [
        "a 1\n".to_owned(),
        format!("{head} counter\n"),
        format!("{head} counter\na 1"),
        format!("{head} counter\na 1\na 1\n"),
        format!("{head} counter\na -1\n"),
        format!("{head} counter\nb 1\n"),
        format!("{head} counter\na{{l=\"x}} 1\n"),
        format!("{head} counter\na{{l=\"\\t\"}} 1\n"),
        format!("{head} counter\na 1\n{head} counter\na{{l=\"x\"}} 1\n"),
        format!("{head} nonsense\na 1\n"),
        histogram("a_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n"),
        histogram("a_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n"),
        histogram("a_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n"),
        histogram("a_bucket{le=\"+Inf\"} 1\na_count 1\n"),
    ] {
        assert!(std::panic::catch_unwind(|| Exposition::read(&bad)).is_err(), "accepted: {bad}");
    }
}
