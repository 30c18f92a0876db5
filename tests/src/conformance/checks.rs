//! The results of a run of the suite as a multiset, so that two runs can be equal or say where they differ.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What the suite adds to the name of a scenario's folder.
const TIME_LENGTH: usize = "-2026-01-01T00-00-00-000Z".len();
/// How many differences are worth reading.
const SHOWN: usize = 20;

/// One check; the same one may be made several times in a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// Such as `server-sse-polling` or `auth/metadata-default`.
    pub scenario: String,
    /// Such as `sep-2575-client-populates-meta`.
    pub id: String,
    /// What it is called in reports.
    pub name: String,
    /// `SUCCESS`, `FAILURE`, `WARNING`, `SKIPPED` or `INFO`.
    pub status: String,
}

/// How often each check was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks(BTreeMap<Check, usize>);

impl Checks {
    /// Reads every `checks.json` below a folder of results.
    ///
    /// # Errors
    /// When a file or the name of its folder is not as the suite writes them.
    pub fn read(results: &Path) -> Result<Self> {
        let mut checks = Self::default();
        checks.read_folder(results, "")?;
        Ok(checks)
    }

    /// Scenarios whose names have a slash are folders in folders.
    fn read_folder(&mut self, folder: &Path, name: &str) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name() == "checks.json" {
                self.read_scenario(&path, scenario(name)?).with_context(|| path.display().to_string())?;
            } else if path.is_dir() {
                let inner = entry.file_name().into_string().ok().context("the name of a scenario is not UTF-8")?;
                self.read_folder(&path, &if name.is_empty() { inner } else { format!("{name}/{inner}") })?;
            }
        }
        Ok(())
    }

    fn read_scenario(&mut self, file: &Path, scenario: &str) -> Result<()> {
        let found: Value = serde_json::from_slice(&fs::read(file)?)?;
        for check in found.as_array().context("not an array")? {
            let text = |key: &str| check[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {check}"));
            let check = Check { scenario: scenario.to_owned(), id: text("id")?, name: text("name")?, status: text("status")? };
            self.add(check);
        }
        Ok(())
    }

    fn add(&mut self, check: Check) {
        *self.0.entry(check).or_default() += 1;
    }

    /// How many checks were made.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// How many checks had this status.
    pub fn count(&self, status: &str) -> usize {
        self.0.iter().filter(|(check, _)| check.status == status).map(|(_, count)| count).sum()
    }

    /// The checks that `is_wanted`.
    #[must_use]
    pub fn only(&self, is_wanted: impl Fn(&Check) -> bool) -> Self {
        Self(self.0.iter().filter(|(check, _)| is_wanted(check)).map(|(check, count)| (check.clone(), *count)).collect())
    }

    /// The same checks, each as `change` makes it.
    #[must_use]
    pub fn map(&self, change: impl Fn(&mut Check)) -> Self {
        let mut changed = Self::default();
        for (check, count) in &self.0 {
            let mut check = check.clone();
            change(&mut check);
            *changed.0.entry(check).or_default() += count;
        }
        changed
    }

    /// Where `gateway` differs from this direct run, as text for a person; `None` when the two are equal.
    pub fn difference(&self, gateway: &Self) -> Option<String> {
        let mut either = self.clone();
        either.0.extend(gateway.0.keys().map(|check| (check.clone(), 0)));
        let count = |checks: &Self, check: &Check| checks.0.get(check).copied().unwrap_or(0);
        let differing = either.0.into_keys().map(|check| (count(self, &check), count(gateway, &check), check));
        let rows: Vec<_> = differing.filter(|(ours, theirs, _)| ours != theirs).collect();
        if rows.is_empty() {
            return None;
        }
        let mut text = format!("{} checks directly, {} through the gateway, {} kinds differ:\n", self.total(), gateway.total(), rows.len());
        for (ours, theirs, Check { scenario, id, name, status }) in rows.iter().take(SHOWN) {
            let _ = writeln!(text, "direct: {ours}, gateway: {theirs}  {scenario} / {id} ({name}) / {status}");
        }
        Some(text)
    }
}

/// The name of a folder without the time.
fn scenario(folder: &str) -> Result<&str> {
    match folder.len().checked_sub(TIME_LENGTH).and_then(|end| folder.split_at_checked(end)) {
        Some((scenario, time)) if time.starts_with("-20") && time.ends_with('Z') => Ok(scenario),
        _ => bail!("{folder:?} is not the folder of a scenario"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(scenarios: &[(&str, &str)]) -> Result<Checks> {
        let directory = tempfile::tempdir().unwrap();
        for (folder, text) in scenarios {
            fs::create_dir_all(directory.path().join(folder)).unwrap();
            fs::write(directory.path().join(folder).join("checks.json"), text).unwrap();
            fs::write(directory.path().join(folder).join("stdout.txt"), "not a result").unwrap();
        }
        Checks::read(directory.path())
    }

    fn check_difference(direct: &[(&str, &str)], gateway: &[(&str, &str)], expected: &[&str]) {
        let difference = results(direct).unwrap().difference(&results(gateway).unwrap());
        let rows: Vec<&str> = difference.as_deref().unwrap_or("").lines().filter(|line| line.starts_with("direct:")).collect();
        assert_eq!(rows, expected, "{difference:?}");
    }

    const ONE: &str = r#"[{"id":"a","name":"A","status":"SUCCESS"}]"#;
    const TWO: &str = r#"[{"id":"a","name":"A","status":"SUCCESS"},{"id":"a","name":"A","status":"SUCCESS"}]"#;
    const FAILED: &str = r#"[{"id":"a","name":"A","status":"FAILURE"}]"#;

    #[test]
    fn runs_differ_in_what_was_checked_and_not_in_when() {
        let early = "json-schema-2020-12-2026-11-20T16-08-37-017Z";
        let late = "json-schema-2020-12-2027-01-01T00-00-00-000Z";
        check_difference(&[(early, ONE)], &[(late, ONE)], &[]);
        check_difference(&[(early, TWO)], &[(late, ONE)], &["direct: 2, gateway: 1  json-schema-2020-12 / a (A) / SUCCESS"]);
        check_difference(
            &[("auth/x-2026-11-20T16-08-37-017Z", ONE)],
            &[("auth/x-2026-11-20T16-08-37-017Z", FAILED)],
            &["direct: 0, gateway: 1  auth/x / a (A) / FAILURE", "direct: 1, gateway: 0  auth/x / a (A) / SUCCESS"],
        );
        check_difference(&[(early, ONE)], &[], &["direct: 1, gateway: 0  json-schema-2020-12 / a (A) / SUCCESS"]);
        let many: String = (0..30).map(|id| format!(r#"{{"id":"{id:02}","name":"","status":"INFO"}},"#)).collect();
        let many = format!("[{}]", many.trim_end_matches(','));
        let rows: Vec<String> = (0..20).map(|id| format!("direct: 0, gateway: 1  json-schema-2020-12 / {id:02} () / INFO")).collect();
        check_difference(&[], &[(early, &many)], &rows.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn checks_are_counted_and_chosen() {
        let all = results(&[("a-2026-11-20T16-08-37-017Z", TWO), ("b-2026-11-20T16-08-37-017Z", FAILED)]).unwrap();
        assert_eq!((all.total(), all.count("SUCCESS"), all.count("FAILURE")), (3, 2, 1));
        assert_eq!(all.only(|check| check.scenario == "b").total(), 1);
        let same = all.map(|check| check.status = "SUCCESS".to_owned());
        assert_eq!((same.total(), same.count("SUCCESS")), (3, 3));
    }

    #[test]
    fn what_the_suite_does_not_write_is_refused() {
        for (folder, text) in [("a", ONE), ("a-2026-11-20T16-08-37-017Z", "[{}]"), ("a-2026-11-20T16-08-37-017Z", "{}"), ("é", ONE)] {
            results(&[(folder, text)]).unwrap_err();
        }
    }
}
