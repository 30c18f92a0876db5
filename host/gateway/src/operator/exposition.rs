//! The Prometheus text format, read: what `/metrics` says at one moment.

use std::collections::BTreeMap;

/// What a series is called and the values of its labels, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesName {
    /// The metric; of histograms without `_bucket`, `_count` and `_sum`.
    pub metric: String,
    /// Labels and their values.
    pub labels: BTreeMap<String, String>,
}

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    Number(Kind, f64),
    Histogram(Histogram),
}

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds and how many observations are up to each, rising; the last bound is infinite.
    pub buckets: Vec<(f64, f64)>,
    pub count: f64,
    pub sum: f64,
}

/// Every series at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    pub series: BTreeMap<SeriesName, Reading>,
}

impl Scrape {
    /// Reads a scrape; `None` when a line is neither a comment nor a sample.
    pub fn parse(text: &str) -> Option<Self> {
        let mut scrape = Self::default();
        let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix('#') {
                if let Some((name, kind)) = comment.trim_start().strip_prefix("TYPE ").and_then(|rest| rest.split_once(' ')) {
                    kinds.insert(name, kind);
                }
                continue;
            }
            let (name, labels, value) = sample(line)?;
            scrape.add(&kinds, name, labels, value);
        }
        Some(scrape)
    }

    fn add(&mut self, kinds: &BTreeMap<&str, &str>, name: &str, mut labels: BTreeMap<String, String>, value: f64) {
        let of_histogram = ["_bucket", "_count", "_sum"]
            .into_iter()
            .find_map(|suffix| name.strip_suffix(suffix).filter(|base| kinds.get(base) == Some(&"histogram")).map(|base| (base, suffix)));
        let Some((base, suffix)) = of_histogram else {
            let kind = if kinds.get(name) == Some(&"counter") { Kind::Counter } else { Kind::Gauge };
            self.series.insert(SeriesName { metric: name.to_owned(), labels }, Reading::Number(kind, value));
            return;
        };
        let bound = if suffix == "_bucket" { labels.remove("le").and_then(|bound| number(&bound)) } else { None };
        let series = SeriesName { metric: base.to_owned(), labels };
        let Reading::Histogram(histogram) = self.series.entry(series).or_insert_with(|| Reading::Histogram(Histogram::default())) else {
            return;
        };
        match (suffix, bound) {
            ("_count", _) => histogram.count = value,
            ("_sum", _) => histogram.sum = value,
            (_, Some(bound)) => histogram.buckets.push((bound, value)),
            (_, None) => {}
        }
    }
}

impl SeriesName {
    /// `name{label="value"}`, as filters see it.
    pub fn text(&self) -> String {
        if self.labels.is_empty() {
            return self.metric.clone();
        }
        format!("{}{{{}}}", self.metric, self.label_text())
    }

    /// `label="value",...`
    pub fn label_text(&self) -> String {
        self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
    }
}

impl Reading {
    /// What was added since `before`. Gauges are as they are; counters that fell began anew in between.
    pub fn since(&self, before: Option<&Self>) -> Self {
        match (self, before) {
            (Self::Number(Kind::Counter, now), Some(Self::Number(Kind::Counter, before))) if now >= before => {
                Self::Number(Kind::Counter, now - before)
            }
            (Self::Histogram(now), Some(Self::Histogram(before))) if now.count >= before.count => Self::Histogram(now.since(before)),
            _ => self.clone(),
        }
    }
}

impl Histogram {
    fn since(&self, before: &Self) -> Self {
        let known: BTreeMap<u64, f64> = before.buckets.iter().map(|(bound, count)| (bound.to_bits(), *count)).collect();
        let rest = |(bound, count): &(f64, f64)| (*bound, count - known.get(&bound.to_bits()).unwrap_or(&0.0));
        Self { buckets: self.buckets.iter().map(rest).collect(), count: self.count - before.count, sum: self.sum - before.sum }
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        if self.buckets.is_empty() {
            return other.clone();
        }
        let both = self.buckets.iter().zip(&other.buckets);
        Self {
            buckets: both.map(|((bound, left), (_, right))| (*bound, left + right)).collect(),
            count: self.count + other.count,
            sum: self.sum + other.sum,
        }
    }

    /// The mean; `None` without observations.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// The value below which a share of the observations is, reckoned as Prometheus does: evenly spread within a bucket, and the highest finite
    /// bound beyond it. `None` without observations.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.buckets.last()?.1;
        if total <= 0.0 {
            return None;
        }
        let rank = share * total;
        let place = self.buckets.iter().position(|(_, count)| *count >= rank)?;
        let (from, before) = if place == 0 { (0.0, 0.0) } else { self.buckets[place - 1] };
        let (to, up_to) = self.buckets[place];
        if to.is_infinite() {
            return Some(from);
        }
        Some(from + (to - from) * if up_to > before { (rank - before) / (up_to - before) } else { 1.0 })
    }
}

fn sample(line: &str) -> Option<(&str, BTreeMap<String, String>, f64)> {
    let (name, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = label_pairs(rest)?;
            (name, labels, rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            (name, BTreeMap::new(), rest)
        }
    };
    let name = name.trim();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
    is_name.then_some((name, labels, number(rest.split_whitespace().next()?)?))
}

/// Reads `name="value",...}` and gives what stands after the brace.
pub fn label_pairs(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = quoted(rest)?;
        labels.insert(name.trim().to_owned(), value);
        text = rest;
    }
}

/// Reads a text in quotes and gives what stands after it.
pub fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.trim_start().strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// Rust reads `+Inf`, `-Inf` and `NaN` as the format writes them.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP c Things.\n# TYPE c counter\nc{a=\"x\\\"}\\n\",b=\"\"} 3\nc{a=\"y\"} 1e3 1700000000\n\n# TYPE h histogram\n\
        h_bucket{s=\"1\",le=\"0.1\"} 2\nh_bucket{s=\"1\",le=\"1\"} 4\nh_bucket{s=\"1\",le=\"+Inf\"} 5\nh_sum{s=\"1\"} 9.5\nh_count{s=\"1\"} 5\n\
        # TYPE g gauge\ng -2.5\nh_count_of_nothing 7\n";

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn histogram() -> Histogram {
        Histogram { buckets: vec![(0.1, 2.0), (1.0, 4.0), (f64::INFINITY, 5.0)], count: 5.0, sum: 9.5 }
    }

    #[test]
    fn text_becomes_series() {
        let scrape = Scrape::parse(TEXT).unwrap();
        let check = |metric: &str, pairs: &[(&str, &str)], expected: Reading| {
            let name = SeriesName { metric: metric.to_owned(), labels: labels(pairs) };
            assert_eq!(scrape.series.get(&name), Some(&expected), "{metric}");
        };
        assert_eq!(scrape.series.len(), 5);
        check("c", &[("a", "x\"}\n"), ("b", "")], Reading::Number(Kind::Counter, 3.0));
        check("c", &[("a", "y")], Reading::Number(Kind::Counter, 1000.0));
        check("g", &[], Reading::Number(Kind::Gauge, -2.5));
        check("h", &[("s", "1")], Reading::Histogram(histogram()));
        check("h_count_of_nothing", &[], Reading::Number(Kind::Gauge, 7.0));
        for wrong in ["<html>", "{}", "a", "a{b=\"c} 1", "a{b=c} 1", "a x", "a b 1"] {
            assert_eq!(Scrape::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn quantiles_are_reckoned_within_buckets() {
        let check = |share: f64, expected: Option<f64>| assert_eq!(histogram().quantile(share), expected, "{share}");
        check(0.2, Some(0.05));
        check(0.4, Some(0.1));
        check(0.6, Some(0.55));
        check(0.99, Some(1.0));
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram { buckets: vec![(f64::INFINITY, 0.0)], ..Histogram::default() }.quantile(0.5), None);
        assert_eq!(histogram().mean(), Some(1.9));
    }

    #[test]
    fn counters_that_fell_began_anew() {
        let check = |now: Reading, before: Option<Reading>, expected: Reading| assert_eq!(now.since(before.as_ref()), expected);
        let counter = |value| Reading::Number(Kind::Counter, value);
        check(counter(5.0), Some(counter(3.0)), counter(2.0));
        check(counter(1.0), Some(counter(3.0)), counter(1.0));
        check(counter(1.0), None, counter(1.0));
        check(Reading::Number(Kind::Gauge, 1.0), Some(Reading::Number(Kind::Gauge, 3.0)), Reading::Number(Kind::Gauge, 1.0));
        let before = Histogram { buckets: vec![(0.1, 1.0), (1.0, 1.0), (f64::INFINITY, 1.0)], count: 1.0, sum: 0.5 };
        let rest = Histogram { buckets: vec![(0.1, 1.0), (1.0, 3.0), (f64::INFINITY, 4.0)], count: 4.0, sum: 9.0 };
        check(Reading::Histogram(histogram()), Some(Reading::Histogram(before)), Reading::Histogram(rest));
    }
}
