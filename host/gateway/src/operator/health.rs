//! `watchgate health`: how the gateway stands.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use super::Failure;
use super::client::{AdminArguments, AdminClient};
use super::printable::{duration, printable, table};

/// What `watchgate health` was told.
#[derive(Clone, Debug, clap::Args)]
pub struct HealthArguments {
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Prints the document of `/health` as it is.
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints.
pub async fn run(arguments: &HealthArguments) -> Result<(), Failure> {
    let client = AdminClient::new(&arguments.admin)?;
    // Failing is answered with 503, and is told like everything else.
    let (_, body) = client.get("/health", Duration::ZERO).await?;
    let health: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(status) = health["status"].as_str() else {
        return Err(Failure::Unreachable(format!(
            "what listens on {} does not tell its health: name the admin address with --admin",
            client.address()
        )));
    };
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{health}")?,
        false => out.write_all(shown(&health).as_bytes())?,
    }
    out.flush()?;
    if status == "failing" { Err(Failure::NotMet(format!("the gateway at {} is failing", client.address()))) } else { Ok(()) }
}

fn shown(health: &Value) -> String {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let uptime = Duration::try_from_secs_f64(health["uptime_seconds"].as_f64().unwrap_or_default()).unwrap_or_default();
    let ready = if health["ready"] == true { "ready" } else { "not ready" };
    let mut shown = format!("{}, {ready}, version {}, up for {}\n", text(&health["status"]), text(&health["version"]), duration(uptime));
    for reason in health["not_ready_because"].as_array().into_iter().flatten() {
        shown.push_str(&format!("not ready: {}\n", text(reason)));
    }
    let checks = health["checks"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> =
        checks.map(|check| ["status", "kind", "name", "detail"].map(|member| text(&check[member])).to_vec()).collect();
    shown.push_str(&table(&rows));
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn health_is_a_line_and_a_table() {
        let health = json!({
            "status": "degraded", "ready": false, "version": "1.0", "uptime_seconds": 12.5, "not_ready_because": ["draining"],
            "checks": [
                { "name": "weather", "kind": "upstream", "status": "healthy", "detail": "" },
                { "name": "p", "kind": "plugin", "status": "failing", "detail": "no\u{1b}[m" },
            ],
        });
        let expected = "degraded, not ready, version 1.0, up for 12.50s\nnot ready: draining\n\
            healthy  upstream  weather\nfailing  plugin    p        no\\u{1b}[m\n";
        assert_eq!(shown(&health), expected);
    }
}
