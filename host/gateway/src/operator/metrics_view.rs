//! Metrics as a table and as JSON.

use std::fmt::Write;

use regex_lite::Regex;
use serde_json::{Value, json};

use super::exposition::{Kind, Reading, SeriesName};
use super::printable::{self, printable};
use super::scrapes::Change;
use super::threshold::{Compared, Threshold};

/// Series named in one sentence; more are counted.
const MOST_SAID: usize = 10;

/// One line for each series that fits; with what changed in the window, if one was watched.
pub fn table(change: &Change, filter: Option<&Regex>, windowed: bool) -> String {
    let mut head = vec!["METRIC", "LABELS", "VALUE"];
    if windowed {
        head.extend(["CHANGE", "PER SECOND"]);
    }
    let mut rows = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for (name, (now, added)) in fitting(change, filter) {
        let mut row = vec![name.metric.clone(), printable(&name.label_text())];
        row.push(match if windowed { added } else { now } {
            Reading::Number(..) => number(value_of(now)),
            Reading::Histogram(histogram) => {
                let quantile = |share| histogram.quantile(share).map_or_else(|| "-".to_owned(), number);
                let mean = histogram.mean().map_or_else(|| "-".to_owned(), number);
                format!("{} avg={mean} p50={} p95={} p99={}", number(value_of(now)), quantile(0.5), quantile(0.95), quantile(0.99))
            }
        });
        if windowed && has_rate(now) {
            row.push(number(value_of(added)));
            row.push(per_second(added, change).map_or_else(|| "-".to_owned(), number));
        }
        rows.push(row);
    }
    printable::table(&rows)
}

/// The same as a document.
pub fn document(change: &Change, filter: Option<&Regex>, windowed: bool) -> Value {
    let series = fitting(change, filter).map(|(name, (now, added))| {
        let mut shown = json!({ "name": name.metric, "labels": name.labels });
        match now {
            Reading::Number(kind, value) => {
                shown["type"] = if *kind == Kind::Counter { "counter" } else { "gauge" }.into();
                shown["value"] = json!(value);
            }
            Reading::Histogram(histogram) => {
                shown["type"] = "histogram".into();
                shown["count"] = json!(histogram.count);
                shown["sum"] = json!(histogram.sum);
            }
        }
        if let Reading::Histogram(histogram) = if windowed { added } else { now } {
            for (member, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
                shown[member] = json!(histogram.quantile(share));
            }
        }
        if windowed && has_rate(now) {
            shown["change"] = json!(value_of(added));
            shown["per_second"] = json!(per_second(added, change));
        }
        shown
    });
    let mut document = json!({ "series": series.collect::<Vec<_>>() });
    if windowed {
        document["window_seconds"] = json!(change.elapsed.as_secs_f64());
    }
    document
}

/// What was held against a threshold, as a document.
pub fn threshold(threshold: &Threshold, compared: &[Compared]) -> Value {
    let values = compared.iter().map(|compared| json!({ "of": compared.of, "value": compared.value, "over": compared.over }));
    json!({
        "expression": threshold.to_string(),
        "over": compared.iter().any(|compared| compared.over),
        "values": values.collect::<Vec<_>>(),
    })
}

/// The same as the end of a sentence.
pub fn values(compared: &[Compared]) -> String {
    if compared.is_empty() {
        return "nothing was observed".to_owned();
    }
    let value = |compared: &Compared| format!("{} is {}", printable(&compared.of), compared.value);
    let mut said = compared.iter().take(MOST_SAID).map(value).collect::<Vec<_>>().join(", ");
    if compared.len() > MOST_SAID {
        let _ = write!(said, " and {} more", compared.len() - MOST_SAID);
    }
    said
}

fn fitting<'a>(change: &'a Change, filter: Option<&'a Regex>) -> impl Iterator<Item = (&'a SeriesName, &'a (Reading, Reading))> {
    change.series.iter().filter(move |(name, _)| filter.is_none_or(|filter| filter.is_match(&name.text())))
}

/// Of a histogram how many observations.
fn value_of(reading: &Reading) -> f64 {
    match reading {
        Reading::Number(_, value) => *value,
        Reading::Histogram(histogram) => histogram.count,
    }
}

fn has_rate(reading: &Reading) -> bool {
    !matches!(reading, Reading::Number(Kind::Gauge, _))
}

fn per_second(added: &Reading, change: &Change) -> Option<f64> {
    (!change.elapsed.is_zero()).then(|| value_of(added) / change.elapsed.as_secs_f64())
}

/// Whole numbers as they are, others with four significant digits.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let digits = 3.0 - value.abs().log10().floor();
    match digits {
        0.0..=9.0 => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 9")]
            let digits = digits as usize;
            format!("{value:.digits$}")
        }
        _ if value.is_finite() => format!("{value:.3e}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operator::exposition::Scrape;
    use crate::operator::scrapes::Scrapes;

    const BEFORE: &str = "# TYPE c counter\nc{t=\"a\"} 1\n# TYPE g gauge\ng 1.25\n# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 0\n\
        h_sum 0\nh_count 0\n";
    const NOW: &str = "# TYPE c counter\nc{t=\"a\"} 6\n# TYPE g gauge\ng 0.00012346\n# TYPE h histogram\nh_bucket{le=\"1\"} 4\n\
        h_bucket{le=\"+Inf\"} 4\nh_sum 2\nh_count 4\n";

    fn change(texts: &[&str]) -> Change {
        let mut scrapes = Scrapes::new(Duration::from_secs(2));
        for (text, at) in texts.iter().zip([0, 2]) {
            scrapes.add(Duration::from_secs(at), Scrape::parse(text).unwrap());
        }
        scrapes.change()
    }

    #[test]
    fn series_are_lines() {
        let plain = "METRIC  LABELS  VALUE\nc       t=\"a\"   6\ng               0.0001235\nh               4 avg=0.5000 p50=0.5000 p95=0.9500 p99=0.9900\n";
        assert_eq!(table(&change(&[NOW]), None, false), plain);
        let windowed = "METRIC  LABELS  VALUE  CHANGE  PER SECOND\nc       t=\"a\"   6      5       2.500\n";
        assert_eq!(table(&change(&[BEFORE, NOW]), Some(&Regex::new("^c\\{t=\"a").unwrap()), true), windowed);
    }

    #[test]
    fn series_are_members() {
        let expected = json!({
            "series": [
                { "name": "c", "labels": { "t": "a" }, "type": "counter", "value": 6.0, "change": 5.0, "per_second": 2.5 },
                { "name": "g", "labels": {}, "type": "gauge", "value": 0.00012346 },
                { "name": "h", "labels": {}, "type": "histogram", "count": 4.0, "sum": 2.0, "p50": 0.5, "p95": 0.95, "p99": 0.99,
                  "change": 4.0, "per_second": 2.0 },
            ],
            "window_seconds": 2.0,
        });
        assert_eq!(document(&change(&[BEFORE, NOW]), None, true), expected);
    }

    #[test]
    fn numbers_have_four_digits() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected);
        check(0.0, "0");
        check(-3.0, "-3");
        check(1_700_000_000.0, "1700000000");
        check(1234.56, "1235");
        check(1.23456, "1.235");
        check(1.5e-12, "1.500e-12");
        check(f64::INFINITY, "inf");
        check(f64::NAN, "NaN");
    }
}
