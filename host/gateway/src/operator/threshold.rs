//! `--threshold 'p95(watchgate_overhead_seconds{server="a"}) > 5ms'`: read, and held against what was scraped. Pure.

use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use watchgate_admin::parse_duration;
use watchgate_telemetry::MetricName;

use super::exposition::{Histogram, Kind, Reading, SeriesName, quoted};
use super::scrapes::Change;

/// A limit. It is over the limit when the comparison holds.
#[derive(Clone, Debug)]
pub struct Threshold {
    text: String,
    function: Option<Function>,
    metric: String,
    matchers: Vec<Matcher>,
    comparison: Comparison,
    limit: f64,
}

/// What is reckoned from the series.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
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

const FUNCTIONS: [(&str, Function); 7] = [
    ("rate", Function::Rate),
    ("increase", Function::Increase),
    ("avg", Function::Mean),
    ("p50", Function::Quantile(0.5)),
    ("p90", Function::Quantile(0.9)),
    ("p95", Function::Quantile(0.95)),
    ("p99", Function::Quantile(0.99)),
];

impl Threshold {
    /// Whether it compares what happens in a time, for which there must be a window.
    pub fn needs_window(&self) -> bool {
        matches!(self.function, Some(Function::Rate | Function::Increase))
    }

    /// The value that is compared; `None` where there are no observations to reckon it from.
    ///
    /// # Errors
    /// When no metric is called so, or it cannot be compared so: a misspelt name must not look like peace.
    pub fn value(&self, change: &Change) -> Result<Option<f64>, String> {
        let (name, part) = self.part_of_histogram(change);
        let of_metric = change.series.iter().filter(|(series, _)| series.metric == name);
        let mut found = of_metric.clone().filter(|(series, _)| self.fits(series)).map(|(_, readings)| readings).peekable();
        if of_metric.count() == 0 && !MetricName::all().any(|known| known.name == name) {
            return Err(format!("--threshold: no metric is called {}; `watchgate metrics` shows those that are", self.metric));
        }
        if let (Some((Reading::Histogram(_), _)), None) = (found.peek(), part) {
            let mut all = Histogram::default();
            for (_, added) in found {
                if let Reading::Histogram(histogram) = added {
                    all = all.plus(histogram);
                }
            }
            return self.of_histogram(&all, change);
        }
        let number = |reading: &Reading| match (reading, part) {
            (Reading::Number(_, value), _) => *value,
            (Reading::Histogram(histogram), Some(Part::Sum)) => histogram.sum,
            (Reading::Histogram(histogram), _) => histogram.count,
        };
        let is_gauge = matches!(found.peek(), Some((Reading::Number(Kind::Gauge, _), _)));
        // Not `sum()`: of nothing that is -0.
        let (now, added) = found.fold((0.0, 0.0), |(now, added), (reading, since)| (now + number(reading), added + number(since)));
        match self.function {
            None => Ok(Some(now)),
            Some(Function::Rate | Function::Increase) if is_gauge => {
                Err(format!("--threshold: {} is a gauge: compare it as it is", self.metric))
            }
            Some(Function::Increase) => Ok(Some(added)),
            Some(Function::Rate) => Ok((!change.elapsed.is_zero()).then(|| added / change.elapsed.as_secs_f64())),
            Some(Function::Mean | Function::Quantile(_)) if now == 0.0 => Ok(None),
            Some(Function::Mean | Function::Quantile(_)) => {
                Err(format!("--threshold: {} is no histogram: compare it as it is", self.metric))
            }
        }
    }

    /// Whether a value is over the limit.
    #[expect(clippy::float_cmp, reason = "`==` and `!=` are meant for counts and for states that are 0 or 1")]
    pub fn is_over(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Equal => value == self.limit,
            Comparison::Different => value != self.limit,
        }
    }

    fn of_histogram(&self, histogram: &Histogram, change: &Change) -> Result<Option<f64>, String> {
        match self.function {
            Some(Function::Quantile(share)) => Ok(histogram.quantile(share)),
            Some(Function::Mean) => Ok(histogram.mean()),
            Some(Function::Increase) => Ok(Some(histogram.count)),
            Some(Function::Rate) => Ok((!change.elapsed.is_zero()).then(|| histogram.count / change.elapsed.as_secs_f64())),
            None => Err(format!("--threshold: {0} is a histogram: compare p95({0}), avg({0}) or {0}_count", self.metric)),
        }
    }

    /// `x_count` and `x_sum` of a histogram `x`.
    fn part_of_histogram(&self, change: &Change) -> (&str, Option<Part>) {
        for (suffix, part) in [("_count", Part::Count), ("_sum", Part::Sum)] {
            if let Some(base) = self.metric.strip_suffix(suffix) {
                let of_base = change.series.iter().find(|(series, _)| series.metric == base);
                if matches!(of_base, Some((_, (Reading::Histogram(_), _)))) || MetricName::all().any(|known| known.name == base) {
                    return (base, Some(part));
                }
            }
        }
        (&self.metric, None)
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
        let (metric, rest) = rest.split_at(end);
        if metric.is_empty() || metric.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!("there is no name of a metric; {SHAPE}"));
        }
        let (matchers, rest) = match rest.trim_start().strip_prefix('{') {
            Some(inner) => matchers(inner)?,
            None => (Vec::new(), rest),
        };
        let rest = match function {
            Some(_) => rest.trim_start().strip_prefix(')').ok_or_else(|| format!("a parenthesis is not closed; {SHAPE}"))?,
            None => rest,
        };
        let rest = rest.trim();
        let comparison = COMPARISONS.into_iter().find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
        let (comparison, limit) = comparison.ok_or_else(|| format!("there is no comparison; {SHAPE}"))?;
        let limit = number(limit.trim()).ok_or_else(|| format!("`{}` is no number and no duration; {SHAPE}", limit.trim()))?;
        Ok(Self { text: text.trim().to_owned(), function, metric: metric.to_owned(), matchers, comparison, limit })
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
