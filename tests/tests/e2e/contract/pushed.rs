//! What is wrong with the metrics that are pushed by OTLP: names, units, and names of attributes.

use std::collections::{BTreeMap, BTreeSet};

use watchgate_tests::protobuf::along;
use watchgate_tests::{Received, Reference};

use super::PLUGINS_OWN;

/// From a request to its metrics: resource, scope, metric.
const METRICS: [u64; 3] = [1, 2, 2];
/// Of a metric.
const NAME: u64 = 1;
const UNIT: u64 = 3;
/// From a metric to the names of attributes: the points of gauges, sums and histograms.
const KEYS: [[u64; 4]; 3] = [[5, 1, 7, 1], [7, 1, 7, 1], [9, 1, 9, 1]];

/// Compares the newest request to a collector with the reference.
pub fn complaints(reference: &Reference, requests: &[Received]) -> Vec<String> {
    let Some(newest) = requests.iter().rev().find(|request| request.head.target() == "/v1/metrics") else {
        return vec!["no metrics are pushed".to_owned()];
    };
    let of_ucum = |unit: &str| match unit {
        "seconds" => "s",
        "bytes" => "By",
        _ => "",
    };
    let rows = reference.rows("Metrics").iter();
    let mut documented: BTreeMap<&str, &str> = rows.map(|row| (row["by OTLP"].as_str(), of_ucum(&row["unit"]))).collect();
    let mut unseen: BTreeSet<&str> = reference.column("Labels", "by OTLP").into_iter().collect();
    let labels = unseen.clone();
    let mut complaints = Vec::new();
    for metric in along(&newest.body, &METRICS).unwrap() {
        let text = |number| along(metric, &[number]).unwrap().first().map_or("", |text| std::str::from_utf8(text).unwrap());
        if PLUGINS_OWN.iter().any(|own| text(NAME).starts_with(own)) {
            continue;
        }
        match documented.remove(text(NAME)) {
            Some(unit) if unit == text(UNIT) => {}
            Some(unit) => complaints.push(format!("pushed {} has the unit {:?} and not {unit:?}", text(NAME), text(UNIT))),
            None => complaints.push(format!("pushed {} is not documented, or pushed twice", text(NAME))),
        }
        for key in KEYS.iter().flat_map(|path| along(metric, path).unwrap()) {
            let key = std::str::from_utf8(key).unwrap();
            unseen.remove(key);
            if !labels.contains(key) {
                complaints.push(format!("pushed {} has the attribute {key}, which is not documented", text(NAME)));
            }
        }
    }
    complaints.extend(documented.keys().map(|name| format!("{name} is documented and not pushed")));
    complaints.extend(unseen.into_iter().map(|key| format!("the attribute {key} is documented and on no pushed metric")));
    complaints
}
