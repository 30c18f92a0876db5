//! `docs/metrics.md` says what the table of metrics says, because it is written from it.

use std::fs;

use anyhow::{Context, Result};
use watchgate_telemetry::reference_markdown;

use super::{Complaint, absolute};

const PATH: &str = "docs/metrics.md";

const INTRODUCTION: &str = "\
# Metrics

What `GET /metrics` on the admin listener serves, in the Prometheus text format. Plugins add series of their own, which carry a label
`plugin` and end with the plugin. This page is written by `cargo xtask tidy --fix` from the table in `host/telemetry`.

";

/// Complains when the page is out of date, or writes it.
pub fn check(fix: bool) -> Result<Vec<Complaint>> {
    let wanted = format!("{INTRODUCTION}{}", reference_markdown());
    let path = absolute(PATH);
    if fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
        return Ok(Vec::new());
    }
    if !fix {
        return Ok(vec![Complaint::file(PATH, "out of date; run `cargo xtask tidy --fix`")]);
    }
    fs::write(&path, wanted).with_context(|| PATH.to_owned())?;
    eprintln!("{PATH}: written");
    Ok(Vec::new())
}
