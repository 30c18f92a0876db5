//! Prometheus text, parsed so that a test can ask for one number.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
    text: String,
}

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name, with `_bucket`, `_sum` or `_count` where it has one.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Metrics {
    /// Parses the text exposition format.
    ///
    /// # Panics
    /// When a line is neither a comment nor a sample.
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}")))
            .collect();
        Self { samples, text: text.to_owned() }
    }

    /// The sum of the samples of this name that carry at least these labels; `None` without any.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self.samples(name, labels).map(|sample| sample.value).peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// As [`Metrics::find`], with 0 where there is no such sample: a counter that has not moved
    /// need not exist yet.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or(0.0)
    }

    /// The samples of this name that carry at least these labels.
    pub fn samples<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let carries = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|v| v == value);
            sample.name == name && labels.iter().all(carries)
        })
    }

    /// Every sample, in the order of the scrape.
    pub fn all(&self) -> &[Sample] {
        &self.samples
    }

    /// The families with their types, as the `# TYPE` lines name them.
    pub fn families(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
    }

    /// The whole text as it was scraped.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, labels, value) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = labels(rest)?;
            (name, labels, rest)
        }
        None => {
            let (name, value) = line.split_once(' ')?;
            (name, BTreeMap::new(), value)
        }
    };
    let value = match value.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: series.to_owned(), labels, value })
}

/// Parses `name="value",...}` and gives what stands after the brace.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        text = &rest[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, labels: &[(&str, &str)], expected: Option<f64>) {
        let metrics = Metrics::parse(line);
        assert_eq!(metrics.find("m", labels), expected, "{line}");
    }

    #[test]
    fn samples_are_found_by_any_of_their_labels() {
        check("m 3", &[], Some(3.0));
        check("m{a=\"1\",b=\"x\"} 2\nm{a=\"1\",b=\"y\"} 5\nm{a=\"2\"} 7", &[("a", "1")], Some(7.0));
        check("m{a=\"q\\\"}\\\\\"} 1e3 1700000000", &[("a", "q\"}\\")], Some(1000.0));
        check("m_count 1", &[], None);
        check("m{a=\"1\",} +Inf", &[("a", "1")], Some(f64::INFINITY));
    }
}
