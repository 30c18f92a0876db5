//! `[[alerts.rule]]`: one alert rule of the file.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;
use watchgate_alerts::{Operator, Rule, RuleKind};
use watchgate_catalog::manifest::{Reader, Section, values};

use crate::file::text;

const KEYS: [&str; 10] = ["name", "metric", "labels", "rate_over", "op", "threshold", "for", "severity", "extra_labels", "summary"];
const SPAN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

/// Reads one rule; complains and answers nothing when it is wrong. What only makes sense together with the other rules is
/// checked by `watchgate-alerts`.
pub fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Rule> {
    let Some(table) = value.get_ref().as_table() else {
        reader.complain(value.span(), format!("an alert rule {}", values::wanted("a table", value.get_ref())));
        return None;
    };
    let section = Section { table, prefix: "alerts.rule." };
    reader.refuse_unknown(section, &KEYS);
    for key in ["name", "metric", "op", "threshold"] {
        if !table.contains_key(key) {
            reader.complain(value.span(), format!("the alert rule has no `{key}`"));
        }
    }
    let span = |value: &DeValue<'_>| values::duration(value, SPAN);
    let kind = match reader.read(section, "rate_over", span) {
        Some(window) => RuleKind::Rate { window },
        None => RuleKind::Value,
    };
    let labels = reader.read(section, "labels", labels).unwrap_or_default();
    let for_ = reader.read(section, "for", span).unwrap_or_default();
    let severity = reader.read(section, "severity", text).unwrap_or_else(|| "warning".to_owned());
    let extra_labels = reader.read(section, "extra_labels", self::labels).unwrap_or_default();
    let summary = reader.read(section, "summary", text).unwrap_or_default();
    let name = reader.read(section, "name", text);
    let metric = reader.read(section, "metric", text);
    let op = reader.read(section, "op", operator);
    let threshold = reader.read(section, "threshold", number);
    Some(Rule { name: name?, metric: metric?, labels, kind, op: op?, threshold: threshold?, for_, severity, extra_labels, summary })
}

fn labels(value: &DeValue<'_>) -> values::Parsed<BTreeMap<String, String>> {
    let table = value.as_table().ok_or_else(|| values::wanted("a table of texts", value))?;
    table.iter().map(|(name, value)| Ok((name.get_ref().to_string(), text(value.get_ref())?))).collect()
}

fn operator(value: &DeValue<'_>) -> values::Parsed<Operator> {
    let found = text(value)?;
    Operator::parse(&found).ok_or_else(|| format!("must be one of >, >=, <, <=, not \"{found}\""))
}

fn number(value: &DeValue<'_>) -> values::Parsed<f64> {
    let wanted = || values::wanted("a number", value);
    let digits = match (value.as_float(), value.as_integer()) {
        (Some(float), _) => float.as_str().to_owned(),
        (None, Some(integer)) => i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| wanted())?.to_string(),
        (None, None) => return Err(wanted()),
    };
    digits.parse().map_err(|_| wanted())
}
