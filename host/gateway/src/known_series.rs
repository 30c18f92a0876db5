//! Whether the gateway has the metrics and labels that an operator writes; a misspelt one would look like peace for ever.

use watchgate_telemetry::{MetricDefinition, MetricKind, MetricName, label_values};

/// What the names of the gateway's own metrics begin with; plugins cannot have these.
const OWN: [&str; 3] = ["watchgate_", "mcp_", "process_"];

/// What a written name says.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// One of the gateway's own metrics.
    Own(&'static MetricDefinition),
    /// The `_count` or `_sum` of one of its histograms.
    PartOf(&'static MetricDefinition),
    /// Perhaps one of a plugin, which only a running gateway knows.
    Other,
}

impl Named {
    /// The row of the table, of the gateway's own.
    pub fn definition(self) -> Option<&'static MetricDefinition> {
        match self {
            Self::Own(row) | Self::PartOf(row) => Some(row),
            Self::Other => None,
        }
    }
}

/// Which metric is called so.
///
/// # Errors
/// When the name is one of the gateway's own by its beginning, and there is none: with the nearest.
pub fn metric(name: &str) -> Result<Named, String> {
    let row = |wanted: &str| MetricName::all().find(|row| row.name == wanted);
    if let Some(own) = row(name) {
        return Ok(Named::Own(own));
    }
    let base = ["_count", "_sum"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
    if let Some(whole) = base.and_then(row).filter(|row| row.kind == MetricKind::Histogram) {
        return Ok(Named::PartOf(whole));
    }
    if !OWN.iter().any(|own| name.starts_with(own)) {
        return Ok(Named::Other);
    }
    Err(format!("no metric is called {name}; did you mean {}?", nearest(name, MetricName::all().map(|row| row.name))))
}

/// Whether a metric of the gateway's own has this label, and, where `value` is one of a closed set, that value.
///
/// # Errors
/// When it has not: with the nearest.
pub fn label(row: &MetricDefinition, name: &str, value: Option<&str>) -> Result<(), String> {
    let Some(label) = row.labels.iter().find(|label| label.as_str() == name) else {
        let labels = row.labels.iter().map(|label| label.as_str());
        return Err(match labels.clone().next() {
            Some(_) => format!("{} has no label {name}; did you mean {}?", row.name, nearest(name, labels)),
            None => format!("{} has no labels", row.name),
        });
    };
    match (value, label_values(row.id, *label)) {
        // Series without the label have the empty value.
        (Some(value), Some(known)) if !value.is_empty() && !known.contains(&value) => {
            Err(format!("{name} is never {value:?}; did you mean {:?}?", nearest(value, known.iter().copied())))
        }
        _ => Ok(()),
    }
}

/// The name that differs least.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known.min_by_key(|candidate| strsim::damerau_levenshtein(name, candidate)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_table() {
        let check = |name: &str, expected: Result<Option<&str>, &str>| {
            let found = metric(name).map(|named| named.definition().map(|row| row.name));
            assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected, "{name}");
        };
        check("watchgate_server_up", Ok(Some("watchgate_server_up")));
        check("watchgate_overhead_seconds_count", Ok(Some("watchgate_overhead_seconds")));
        check("process_open_fds", Ok(Some("process_open_fds")));
        check("tokens_spent_total", Ok(None));
        check("watchgate_sever_up", Err("no metric is called watchgate_sever_up; did you mean watchgate_server_up?"));
        check("watchgate_server_up_count", Err("no metric is called watchgate_server_up_count; did you mean watchgate_server_up?"));
    }

    #[test]
    fn labels_are_those_of_the_metric() {
        let check = |name: &str, value: Option<&str>, expected: Result<(), &str>| {
            let found = label(MetricName::HttpRequests.definition(), name, value);
            assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected, "{name}={value:?}");
        };
        check("server", Some("anything"), Ok(()));
        check("outcome", Some("timeout"), Ok(()));
        check("outcome", Some(""), Ok(()));
        check("outcome", None, Ok(()));
        check("outcome", Some("tiemout"), Err("outcome is never \"tiemout\"; did you mean \"timeout\"?"));
        check("sever", None, Err("watchgate_http_requests_total has no label sever; did you mean server?"));
        let bare = label(MetricName::Uptime.definition(), "server", None);
        assert_eq!(bare.unwrap_err(), "watchgate_uptime_seconds has no labels");
    }
}
