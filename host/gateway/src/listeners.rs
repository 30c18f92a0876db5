//! Sockets for client traffic: bound before anything else changes, announced once they are served.

use std::io::Write as _;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use watchgate_proxy::{ListenerConfig, PreparedListener, ProxyControl, ProxyError};

/// A listener that can be served: its files are read and its address is taken.
pub struct Bound {
    prepared: PreparedListener,
    socket: TcpListener,
    is_tls: bool,
}

/// Takes an address. `in_use` are those that this process has taken for traffic.
///
/// # Errors
/// One sentence that says what to do.
pub async fn bind(address: &str, what: &str, in_use: &[ListenerConfig]) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => match in_use.iter().find(|own| port(&own.address) == port(address)) {
            Some(own) => format!(
                "cannot listen for {what} on {address} while the gateway itself listens on {}: use another port, or restart it",
                own.address
            ),
            None => format!(
                "cannot listen for {what} on {address}: another process uses it (another watchgate?); choose another port, or 0 for a free one"
            ),
        },
        _ => format!("cannot listen for {what} on {address}: {error}"),
    })
}

fn port(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(_, port)| port)
}

/// Puts a listener together. The files it names are read here.
///
/// # Errors
/// When one of them cannot be used; the sentence names it.
pub fn prepare(control: &ProxyControl, config: &ListenerConfig, socket: TcpListener) -> Result<Bound, ProxyError> {
    let prepared = control.prepare_listener(config)?;
    Ok(Bound { prepared, socket, is_tls: config.tls.is_some() })
}

/// Accepts from now on, and says so.
pub fn open(control: &ProxyControl, bound: Bound) {
    let address = bound.socket.local_addr();
    control.listen(bound.prepared, bound.socket);
    if let Ok(address) = address {
        announce("traffic", if bound.is_tls { "https" } else { "http" }, address);
    }
}

/// One line a listener on stdout: the contract with whoever started the gateway on port 0.
pub fn announce(what: &str, scheme: &str, address: SocketAddr) {
    tracing::info!(%address, "{what} listening");
    let mut out = std::io::stdout().lock();
    // A closed stdout must not keep the gateway from serving.
    let _ = writeln!(out, "watchgate: {what} listening on {scheme}://{address}").and_then(|()| out.flush());
}
