//! Runs an MCP client against a server through a gateway of its own: what the conformance suite takes for the client under test.
//!
//! ```text
//! conformance-client direct|name|public PLUGINS SOCKET URL
//! ```
//!
//! The suite adds URL, that of its mock server. `direct` lets the client talk to it. The others put a gateway between the two: with `name` it has
//! taken over the server's name, so that the client keeps URL and reaches the gateway there; with `public` it has a URL of its own, which both are
//! told. PLUGINS is a folder, or `-`. The client runs where peers/clients.py listens on SOCKET, when it is its turn; nothing is started before.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use watchgate_tests::conformance::{Passage, WRAPPER_COMPLAINT};
use watchgate_tests::{Gateway, GatewayOptions};

/// With the next one shorter than the suite's own: when that is over it ends this program, which then could not end the gateway.
const TURN_TIMEOUT: Duration = Duration::from_secs(90);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(75);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{WRAPPER_COMPLAINT}{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<u8> {
    let [route, plugins, socket, url] = *words else { bail!("usage: conformance-client direct|name|public PLUGINS SOCKET URL") };
    let (origin, path) = split(url)?;
    let plugins = if plugins == "-" { Vec::new() } else { vec!["--plugins", plugins] };
    let turn = take_turn(socket)?;
    match route {
        "direct" => client(turn, url, None),
        "name" => {
            let gateway = Gateway::try_start(&[&["--upstream", origin], plugins.as_slice()].concat(), &GatewayOptions::default())?;
            let port = origin.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).with_context(|| format!("no port in {origin}"))?;
            let code = client(turn, url, Some([port, gateway.traffic.port()]))?;
            let requests = gateway.metrics().metric("watchgate_http_requests_total", &[]);
            ensure!(requests > 0.0, "the client did not come to the gateway");
            Ok(code)
        }
        "public" => {
            let passage = Passage::new()?;
            let public = format!("http://localhost:{}", passage.port());
            let config = format!("[servers.default]\nurl = \"{origin}\"\nmount = \"root\"\npublic_url = \"{public}\"\n");
            let gateway = Gateway::try_start(&plugins, &GatewayOptions::config(&config))?;
            passage.lead_to(gateway.traffic);
            client(turn, &(public + path), None)
        }
        other => bail!("no route {other:?}"),
    }
}

/// The origin of a URL, and the rest.
fn split(url: &str) -> Result<(&str, &str)> {
    let authority = url.find("://").with_context(|| format!("not a URL: {url}"))? + "://".len();
    Ok(url[authority..].find('/').map_or((url, ""), |path| url.split_at(authority + path)))
}

/// Waits until a client may run.
fn take_turn(socket: &str) -> Result<BufReader<UnixStream>> {
    let connection = UnixStream::connect(socket).context("nobody takes orders for clients")?;
    connection.set_read_timeout(Some(TURN_TIMEOUT))?;
    let mut turn = BufReader::new(connection);
    let mut word = String::new();
    turn.read_line(&mut word).context("the clients before this one do not end")?;
    ensure!(word == "turn\n", "told {word:?} and not that it is the turn of this client");
    Ok(turn)
}

/// Runs the client and gives its exit code; its output is this program's. What is `moved` is a port, and the one that it finds there.
fn client(mut turn: BufReader<UnixStream>, url: &str, moved: Option<[u16; 2]>) -> Result<u8> {
    let directory = TempDir::new()?;
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| directory.path().join(name));
    let of_the_suite = env::vars().filter(|(name, _)| name.starts_with("MCP_CONFORMANCE_"));
    let environment: Map<String, Value> = of_the_suite.map(|(name, value)| (name, value.into())).collect();
    let order = json!({"url": url, "environment": environment, "stdout": stdout, "stderr": stderr, "moved": moved});
    turn.get_mut().set_read_timeout(Some(CLIENT_TIMEOUT))?;
    turn.get_mut().write_all(format!("{order}\n").as_bytes())?;
    let mut code = String::new();
    turn.read_to_string(&mut code).context("the client does not end")?;
    io::stdout().write_all(&fs::read(stdout)?)?;
    io::stderr().write_all(&fs::read(stderr)?)?;
    code.parse().with_context(|| format!("the client ended with {code:?}"))
}
