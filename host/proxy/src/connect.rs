//! Opening connections to an endpoint: TCP, TLS where its URL says so, HTTP.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use watchgate_telemetry::{UpstreamCause, UpstreamConnected};

use crate::cause;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::server::{Server, Shared};
use crate::tls::stream::{MaybeTls, UpstreamStream};
use crate::upstream_connection::{Carrier, UpstreamConnection};

/// A dead peer behind a silent stream is noticed after about this long plus three probes.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The name did not resolve.
    #[error("{0}")]
    Dns(std::io::Error),
    /// No address of it let the gateway in.
    #[error("{0}")]
    Tcp(std::io::Error),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    /// No answer in time.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// HTTP could not begin on it.
    #[error("{0}")]
    Handshake(hyper::Error),
}

impl ConnectError {
    /// What clients are told.
    pub(crate) fn fault(&self) -> Fault {
        if matches!(self, Self::Timeout(_)) { Fault::ConnectTimeout } else { Fault::Unreachable }
    }

    /// What operators are told.
    pub(crate) fn cause(&self) -> UpstreamCause {
        match self {
            Self::Dns(_) => UpstreamCause::Dns,
            Self::Tcp(error) => cause::of_io(error),
            Self::Tls(error) => cause::of_tls(error),
            Self::Timeout(_) => UpstreamCause::Timeout,
            Self::Handshake(error) => cause::of_http(error),
        }
    }
}

/// A fresh connection, counted.
pub(crate) async fn connect(shared: &Shared, server: &Server, endpoint: &Endpoint, patience: Duration) -> Result<Carrier, ConnectError> {
    let begun = Instant::now();
    let result = open(shared, server, endpoint, patience).await;
    shared.telemetry.emit(UpstreamConnected { server: &server.metrics, duration: begun.elapsed(), ok: result.is_ok() });
    result
}

async fn open(shared: &Shared, server: &Server, endpoint: &Endpoint, patience: Duration) -> Result<Carrier, ConnectError> {
    let stream = open_stream(endpoint, patience).await?;
    if server.config.http2 && (stream.is_http2() || !stream.is_tls()) {
        return endpoint.http2.open(stream).await.map(Carrier::Http2).map_err(ConnectError::Handshake);
    }
    let preserves_case = shared.plan.load().config.preserves_header_case;
    UpstreamConnection::open(stream, preserves_case).await.map(Carrier::Http1).map_err(ConnectError::Handshake)
}

/// Opens the connection below HTTP.
pub(crate) async fn open_stream(endpoint: &Endpoint, patience: Duration) -> Result<UpstreamStream, ConnectError> {
    let connecting = async {
        let stream = connect_tcp(&endpoint.config.host, endpoint.config.port).await?;
        match &endpoint.tls {
            None => Ok(MaybeTls::Tcp(stream)),
            Some(tls) => {
                let name = tls.server_name(&endpoint.config.host).map_err(|error| ConnectError::Tls(std::io::Error::other(error)))?;
                tls.connect(name, stream).await.map_err(ConnectError::Tls)
            }
        }
    };
    tokio::time::timeout(patience, connecting).await.map_err(|_| ConnectError::Timeout(patience))?
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let stream = match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect(SocketAddr::new(address, port)).await,
        Err(_) => {
            let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(ConnectError::Dns)?.collect();
            if addresses.is_empty() {
                return Err(ConnectError::Dns(std::io::Error::other("the name has no address")));
            }
            TcpStream::connect(addresses.as_slice()).await
        }
    }
    .map_err(ConnectError::Tcp)?;
    // Both are refinements: a connection without them still works.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE));
    Ok(stream)
}
