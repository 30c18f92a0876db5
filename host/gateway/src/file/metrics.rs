//! `[metrics]`: where they are read and pushed to, and the buckets of histograms.

use watchgate_telemetry::{BucketGroup, HistogramBuckets, MetricsPushConfig};

use super::otlp::{self, OtlpSettings};
use super::part::{FileReader, Part};

/// What `[metrics]` says, with defaults for what it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsSettings {
    /// Where the admin listener has them.
    pub path: String,
    /// Of histograms.
    pub buckets: HistogramBuckets,
    /// Where they are pushed to.
    pub otlp: OtlpSettings<MetricsPushConfig>,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { path: "/metrics".to_owned(), buckets: HistogramBuckets::default(), otlp: OtlpSettings::default() }
    }
}

/// Reads `[metrics]`.
pub fn read(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> MetricsSettings {
    let mut metrics = MetricsSettings::default();
    let Some(part) = reader.part(top, "metrics") else { return metrics };
    metrics.path = reader.parsed(&part, "path", path).unwrap_or(metrics.path);
    metrics.otlp = otlp::read_metrics(reader, &part);
    if let Some(part) = reader.part(&part, "buckets") {
        read_buckets(reader, &part, &mut metrics.buckets);
    }
    metrics
}

fn read_buckets(reader: &mut FileReader<'_>, part: &Part<'_, '_>, buckets: &mut HistogramBuckets) {
    for group in BucketGroup::ALL {
        let Some(bounds) = reader.rising(part, group.as_str()) else { continue };
        if let Err(error) = buckets.set(*group, bounds) {
            reader.complain(part.at(group.as_str()), format!("`metrics.buckets.{}`: {error}", group.as_str()));
        }
    }
}

/// A path that nothing else is at.
fn path(text: &str) -> Result<String, String> {
    let is_path = text.len() > 1 && text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%".contains(&byte));
    if !is_path {
        return Err(format!("must be a path such as /metrics, not \"{text}\""));
    }
    if text != "/metrics" && watchgate_admin::is_taken(text) {
        return Err(format!("must be another path: the admin listener has something else at {text}"));
    }
    Ok(text.to_owned())
}
