//! A real Prometheus that scrapes what its configuration names.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::http1::{Connection, request};
use crate::process::Process;

/// A running Prometheus; dropping it kills it.
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts `program` on a port that the system chooses.
    ///
    /// # Errors
    /// When it does not come up; the message has its output.
    pub fn start(program: &Path, config: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg("--web.listen-address=127.0.0.1:0");
        let mut process = Process::start("prometheus", &mut command, directory.path())?;
        let address = process.announced("msg=\"Listening on\" address=")?.parse()?;
        Ok(Self { address, _process: process, _directory: directory })
    }

    /// The values of an instant query's result, one a series.
    ///
    /// # Errors
    /// When it does not answer, or refuses the query.
    pub fn query(&self, query: &str) -> Result<Vec<f64>> {
        let body = format!("query={}", percent_encoded(query));
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let mut connection = Connection::open(self.address)?;
        connection.send(&request("POST", "/api/v1/query", &headers, body.as_bytes()))?;
        let answer = connection.reply()?.json()?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        let series = answer["data"]["result"].as_array().with_context(|| format!("{query}: {answer}"))?;
        let value = |series: &Value| series["value"][1].as_str().and_then(|text| text.parse().ok()).with_context(|| series.to_string());
        series.iter().map(value).collect()
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes any text");
        }
        encoded
    })
}
