//! What documentation says of telemetry and settings is what their tables say, because it is written from them.

use std::fs;

use anyhow::{Context, Result};

use super::{Complaint, absolute};

const TELEMETRY: &str = "docs/telemetry.md";
const TELEMETRY_INTRODUCTION: &str = "\
# Telemetry

Every metric, label, span, attribute and log member of the gateway: names, types, units, and when they are emitted. This page is written by
`cargo xtask tidy --fix` from the closed sets in `host/telemetry`.

";

const SETTINGS: &str = "docs/proxying.md";
/// Everything from this line on is written; what stands above it is not touched.
const SETTINGS_INTRODUCTION: &str = "\
## Every key of the configuration file

Written by `cargo xtask tidy --fix` from the table in `host/settings`. Durations are `\"200ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"`; sizes `\"64KiB\"`,
`\"16MiB\"`. Paths of files and folders are relative to the configuration file. Unknown keys are refused with the nearest known name, and all
mistakes are named at once.

";

/// Complains about every page that is out of date, or writes it.
pub fn check(fix: bool) -> Result<Vec<Complaint>> {
    let telemetry = |_: &str| Some(format!("{TELEMETRY_INTRODUCTION}{}", watchgate_telemetry::reference_markdown()));
    let settings = |page: &str| with_settings(page, &watchgate_settings::reference_markdown());
    let mut complaints = page(TELEMETRY, fix, telemetry)?;
    complaints.extend(page(SETTINGS, fix, settings)?);
    Ok(complaints)
}

/// Holds a page against what it should be, which may follow from what it is.
fn page(path: &str, fix: bool, wanted: impl Fn(&str) -> Option<String>) -> Result<Vec<Complaint>> {
    let file = absolute(path);
    let found = fs::read_to_string(&file).unwrap_or_default();
    let Some(wanted) = wanted(&found) else {
        return Ok(vec![Complaint::file(path, "the heading is gone from which on it is written")]);
    };
    if found == wanted {
        return Ok(Vec::new());
    }
    if !fix {
        return Ok(vec![Complaint::file(path, "out of date; run `cargo xtask tidy --fix`")]);
    }
    fs::write(&file, wanted).with_context(|| path.to_owned())?;
    eprintln!("{path}: written");
    Ok(Vec::new())
}

/// The page with its last part written anew; `None` when it has no such part.
fn with_settings(page: &str, reference: &str) -> Option<String> {
    let heading = SETTINGS_INTRODUCTION.lines().next()?;
    let by_hand = page.split_once(heading)?.0;
    Some(format!("{by_hand}{SETTINGS_INTRODUCTION}{reference}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_below_the_heading_is_written() {
        let page = with_settings("# Proxying\n\nBy hand.\n\n## Every key of the configuration file\n\nstale words\n", "new\n").unwrap();
        assert!(
            page.starts_with("# Proxying\n\nBy hand.\n\n## Every key") && page.ends_with("\n\nnew\n") && !page.contains("stale"),
            "{page}"
        );
        assert_eq!(with_settings("# Proxying\n", "new\n"), None);
    }
}
