//! `[metrics]`: the buckets of histograms.

use watchgate_telemetry::{BucketGroup, HistogramBuckets};

use super::part::{FileReader, Part};

/// Reads `[metrics]`.
pub fn read_buckets(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> HistogramBuckets {
    let mut buckets = HistogramBuckets::default();
    let metrics = reader.part(top, "metrics");
    let Some(part) = metrics.and_then(|part| reader.part(&part, "buckets")) else { return buckets };
    for group in BucketGroup::ALL {
        let Some(bounds) = reader.rising(&part, group.as_str()) else { continue };
        if let Err(error) = buckets.set(*group, bounds) {
            reader.complain(part.at(group.as_str()), format!("`metrics.buckets.{}`: {error}", group.as_str()));
        }
    }
    buckets
}
