//! `--threshold 'p95(watchgate_overhead_seconds{server="a"}) > 5ms'`: read, and held against what was scraped. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use watchgate_admin::parse_duration;
use watchgate_telemetry::{MetricKind, MetricName};

use super::exposition::{Histogram, Kind, Reading, SeriesName, quoted};
use super::scrapes::Change;
use crate::known_series::{self, Named};

/// A limit. It is over the limit when the comparison holds.
#[derive(Clone, Debug)]
pub struct Threshold {
    text: String,
    function: Option<Function>,
    /// The metric with its labels, as written.
    selector: String,
    /// The same with the function, if there is one.
    reckoned: String,
    metric: String,
    matchers: Vec<Matcher>,
    comparison: Comparison,
    limit: f64,
}

/// What is reckoned from the series.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Sum,
    Rate,
    Increase,
    Mean,
    Quantile(f64),
}

#[derive(Clone, Debug)]
enum Matcher {
    Is { label: String, value: String, wanted: bool },
    Fits { label: String, pattern: Regex, wanted: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
    Equal,
    Different,
}

/// Longer ones first: `>` is the beginning of `>=`.
const COMPARISONS: [(&str, Comparison); 6] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    ("==", Comparison::Equal),
    ("!=", Comparison::Different),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

const FUNCTIONS: [(&str, Function); 8] = [
    ("sum", Function::Sum),
    ("rate", Function::Rate),
    ("increase", Function::Increase),
    ("avg", Function::Mean),
    ("p50", Function::Quantile(0.5)),
    ("p90", Function::Quantile(0.9)),
    ("p95", Function::Quantile(0.95)),
    ("p99", Function::Quantile(0.99)),
];

/// A value that is held against the limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Of what: one series, or what was written where several become one value.
    pub of: String,
    /// The value.
    pub value: f64,
    /// Whether it is over the limit.
    pub over: bool,
}

impl Threshold {
    /// Whether it compares what happens in a time, for which there must be a window.
    pub fn needs_window(&self) -> bool {
        matches!(self.function, Some(Function::Rate | Function::Increase))
    }

    /// Of the gateway's own metrics it is known without asking it what they are called, and whether they have these labels.
    ///
    /// # Errors
    /// When there is none called so: with the nearest.
    pub fn check_names(&self) -> Result<(), String> {
        let Some(row) = known_series::metric(&self.metric)?.definition() else { return Ok(()) };
        self.matchers.iter().try_for_each(|matcher| known_series::label(row, matcher.label(), matcher.wanted().map(String::as_str)))
    }

    /// What is compared: each series of a gauge by itself, since a sum would hide the one that is down; else one value. None
    /// where there are no observations to reckon it from.
    ///
    /// # Errors
    /// When there is no such metric, label, server or series of a gauge, or it cannot be compared so: what is not there must not
    /// look like peace.
    pub fn compare(&self, change: &Change) -> Result<Vec<Compared>, String> {
        let (name, part) = self.part_of_histogram(change);
        let of_metric: Vec<_> = change.series.iter().filter(|(series, _)| series.metric == name).collect();
        let definition = MetricName::all().find(|known| known.name == name);
        if of_metric.is_empty() && definition.is_none() {
            return Err(format!("--threshold: no metric is called {}; `watchgate metrics` shows those that are", self.metric));
        }
        self.complain_of_matchers(change, definition.is_some(), &of_metric)?;
        let found: Vec<_> = of_metric.iter().filter(|(series, _)| self.fits(series)).collect();
        let kind = match (definition, of_metric.first()) {
            (Some(row), _) => row.kind,
            (None, Some((_, (Reading::Histogram(_), _)))) => MetricKind::Histogram,
            (None, Some((_, (Reading::Number(Kind::Counter, _), _)))) => MetricKind::Counter,
            (None, _) => MetricKind::Gauge,
        };
        if kind == MetricKind::Gauge && found.is_empty() {
            return Err(format!("--threshold: no series fits {}: nothing was observed", self.selector));
        }
        if kind == MetricKind::Gauge && self.function.is_none() {
            return Ok(found.into_iter().map(|(series, (now, _))| self.compared(series.text(), part_of(now, part))).collect());
        }
        let value = if kind == MetricKind::Histogram && part.is_none() {
            let added = found.iter().filter_map(|(_, (_, added))| if let Reading::Histogram(added) = added { Some(added) } else { None });
            self.of_histogram(&added.fold(Histogram::default(), |all, one| all.plus(one)), change)?
        } else {
            // Not `sum()`: of nothing that is -0.
            let (now, added) = found
                .iter()
                .fold((0.0, 0.0), |(now, added), (_, (reading, since))| (now + part_of(reading, part), added + part_of(since, part)));
            self.of_number(kind, now, added, change)?
        };
        Ok(value.map(|value| self.compared(self.reckoned.clone(), value)).into_iter().collect())
    }

    fn compared(&self, of: String, value: f64) -> Compared {
        Compared { of, value, over: self.is_over(value) }
    }

    /// Whether a value is over the limit.
    #[expect(clippy::float_cmp, reason = "`==` and `!=` are meant for counts and for states that are 0 or 1")]
    fn is_over(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Equal => value == self.limit,
            Comparison::Different => value != self.limit,
        }
    }

    fn of_number(&self, kind: MetricKind, now: f64, added: f64, change: &Change) -> Result<Option<f64>, String> {
        match self.function {
            None | Some(Function::Sum) => Ok(Some(now)),
            Some(Function::Rate | Function::Increase) if kind == MetricKind::Gauge => {
                Err(format!("--threshold: {} is a gauge: compare it as it is", self.metric))
            }
            Some(Function::Increase) => Ok(Some(added)),
            Some(Function::Rate) => Ok((!change.elapsed.is_zero()).then(|| added / change.elapsed.as_secs_f64())),
            Some(Function::Mean | Function::Quantile(_)) => {
                Err(format!("--threshold: {} is no histogram: compare it as it is", self.metric))
            }
        }
    }

    fn of_histogram(&self, histogram: &Histogram, change: &Change) -> Result<Option<f64>, String> {
        match self.function {
            Some(Function::Quantile(share)) => Ok(histogram.quantile(share)),
            Some(Function::Mean) => Ok(histogram.mean()),
            Some(Function::Increase) => Ok(Some(histogram.count)),
            Some(Function::Rate) => Ok((!change.elapsed.is_zero()).then(|| histogram.count / change.elapsed.as_secs_f64())),
            None | Some(Function::Sum) => {
                Err(format!("--threshold: {0} is a histogram: compare p95({0}), avg({0}) or {0}_count", self.metric))
            }
        }
    }

    /// `x_count` and `x_sum` of a histogram `x`.
    fn part_of_histogram(&self, change: &Change) -> (&str, Option<Part>) {
        for (suffix, part) in [("_count", Part::Count), ("_sum", Part::Sum)] {
            if let Some(base) = self.metric.strip_suffix(suffix) {
                let of_base = change.series.iter().find(|(series, _)| series.metric == base);
                let is_own = matches!(known_series::metric(&self.metric), Ok(Named::PartOf(_)));
                if is_own || matches!(of_base, Some((_, (Reading::Histogram(_), _)))) {
                    return (base, Some(part));
                }
            }
        }
        (&self.metric, None)
    }

    /// What only the running gateway can tell of the labels: those of plugins' metrics, and the servers. The others are looked at
    /// by [`Self::check_names`].
    fn complain_of_matchers(&self, change: &Change, is_own: bool, of_metric: &[(&SeriesName, &(Reading, Reading))]) -> Result<(), String> {
        for matcher in &self.matchers {
            let label = matcher.label();
            if !is_own && !of_metric.iter().any(|(series, _)| series.labels.contains_key(label)) {
                return Err(format!("--threshold: {} has no label {label}", self.metric));
            }
            if let (true, "server", Some(wanted)) = (is_own, label, matcher.wanted()) {
                let servers: BTreeSet<&String> = change.series.keys().filter_map(|series| series.labels.get("server")).collect();
                if !servers.iter().any(|server| *server == wanted) {
                    let known = servers.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    return Err(format!("--threshold: no server is called {wanted}; there are {known}"));
                }
            }
        }
        Ok(())
    }

    fn fits(&self, series: &SeriesName) -> bool {
        let value = |label: &str| series.labels.get(label).map_or("", String::as_str);
        self.matchers.iter().all(|matcher| match matcher {
            Matcher::Is { label, value: expected, wanted } => (value(label) == expected) == *wanted,
            Matcher::Fits { label, pattern, wanted } => pattern.is_match(value(label)) == *wanted,
        })
    }
}

#[derive(Clone, Copy)]
enum Part {
    Count,
    Sum,
}

impl Matcher {
    fn label(&self) -> &str {
        match self {
            Self::Is { label, .. } | Self::Fits { label, .. } => label,
        }
    }

    /// The one value that fits.
    fn wanted(&self) -> Option<&String> {
        match self {
            Self::Is { value, wanted: true, .. } => Some(value),
            _ => None,
        }
    }
}

fn part_of(reading: &Reading, part: Option<Part>) -> f64 {
    match (reading, part) {
        (Reading::Number(_, value), _) => *value,
        (Reading::Histogram(histogram), Some(Part::Sum)) => histogram.sum,
        (Reading::Histogram(histogram), _) => histogram.count,
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "write it like 'watchgate_http_requests_in_flight > 100' or 'p95(NAME{label=\"value\"}) > 5ms'";
        let (function, rest) = function(text.trim());
        let end =
            rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_' && character != ':').unwrap_or(rest.len());
        let written = rest;
        let (metric, rest) = rest.split_at(end);
        if metric.is_empty() || metric.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("there is no name of a metric; {SHAPE}"));
        }
        let (matchers, rest) = match rest.trim_start().strip_prefix('{') {
            Some(inner) => matchers(inner)?,
            None => (Vec::new(), rest),
        };
        if rest.trim_start().starts_with('[') {
            return Err("a range in brackets is PromQL: the time is said by --window, for example --window 5m".to_owned());
        }
        let selector = written[..written.len() - rest.len()].trim_end().to_owned();
        let rest = match function {
            Some(_) => rest.trim_start().strip_prefix(')').ok_or_else(|| format!("a parenthesis is not closed; {SHAPE}"))?,
            None => rest,
        };
        let reckoned = text.trim();
        let reckoned = reckoned[..reckoned.len() - rest.trim_end().len()].trim_end().to_owned();
        let rest = rest.trim();
        let comparison = COMPARISONS.into_iter().find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
        let (comparison, limit) = comparison.ok_or_else(|| format!("there is no comparison; {SHAPE}"))?;
        let limit = number(limit.trim()).ok_or_else(|| format!("`{}` is no number and no duration; {SHAPE}", limit.trim()))?;
        Ok(Self { text: text.trim().to_owned(), function, selector, reckoned, metric: metric.to_owned(), matchers, comparison, limit })
    }
}

/// A duration is compared in seconds, as metrics count them.
fn number(text: &str) -> Option<f64> {
    let plain = text.parse().ok().filter(|number: &f64| number.is_finite());
    plain.or_else(|| parse_duration(text).ok().map(|duration| duration.as_secs_f64()))
}

fn function(text: &str) -> (Option<Function>, &str) {
    let called = FUNCTIONS.into_iter().find_map(|(name, function)| {
        let rest = text.strip_prefix(name)?.trim_start().strip_prefix('(')?;
        Some((Some(function), rest.trim_start()))
    });
    called.unwrap_or((None, text))
}

/// Reads `label="value",...}` and gives what stands after the brace.
fn matchers(mut text: &str) -> Result<(Vec<Matcher>, &str), String> {
    let mut matchers = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Ok((matchers, rest));
        }
        let wrong = || "labels are written {label=\"value\",other!=\"value\",more=~\"REGEX\",yet!~\"REGEX\"}".to_owned();
        let end = text.find(['=', '!']).ok_or_else(wrong)?;
        let (label, rest) = text.split_at(end);
        let label = label.trim().to_owned();
        let sign = ["=~", "!~", "!=", "="].into_iter().find(|sign| rest.starts_with(sign)).ok_or_else(wrong)?;
        let (value, rest) = quoted(&rest[sign.len()..]).ok_or_else(wrong)?;
        let wanted = sign.starts_with('=');
        matchers.push(match sign.ends_with('~') {
            true => {
                let pattern =
                    Regex::new(&format!("^(?:{value})$")).map_err(|error| format!("`{value}` is no regular expression: {error}"))?;
                Matcher::Fits { label, pattern, wanted }
            }
            false => Matcher::Is { label, value, wanted },
        });
        text = rest;
    }
}

#[cfg(test)]
mod tests;
