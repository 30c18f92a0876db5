//! The unused connections of one server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::upstream_connection::UpstreamConnection;

/// A dead peer behind a silent stream is noticed after about this long plus three probes.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// Last in, first out: the connection used last is the one least likely to have been closed.
pub(crate) struct Pool {
    idle: Mutex<Vec<UpstreamConnection>>,
    max_idle: usize,
    idle_timeout: Duration,
}

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The name did not resolve, or no address answered.
    #[error("{0}")]
    Failed(std::io::Error),
    /// No answer in time.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// HTTP could not begin on it.
    #[error("{0}")]
    Handshake(hyper::Error),
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(max_idle: usize, idle_timeout: Duration) -> Self {
        Self { idle: Mutex::new(Vec::new()), max_idle, idle_timeout }
    }

    /// An open, unused connection, if there is one.
    pub(crate) fn take(&self) -> Option<UpstreamConnection> {
        loop {
            let mut connection = self.idle.lock().pop()?;
            if connection.idle_since.elapsed() < connection.idle_limit.min(self.idle_timeout) && connection.is_reusable() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over, if it can carry another.
    pub(crate) fn put(&self, mut connection: UpstreamConnection) {
        if !connection.is_reusable() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock();
        if idle.len() < self.max_idle {
            idle.push(connection);
        }
    }

    /// Drops connections that are too old or were closed by the server. Called every second or so.
    pub(crate) fn sweep(&self) {
        let mut kept = std::mem::take(&mut *self.idle.lock());
        kept.retain_mut(|connection| {
            connection.idle_since.elapsed() < connection.idle_limit.min(self.idle_timeout) && connection.is_reusable()
        });
        if !kept.is_empty() {
            // Oldest first, as before; those put back meanwhile are younger.
            let mut idle = self.idle.lock();
            kept.append(&mut idle);
            kept.truncate(self.max_idle);
            *idle = kept;
        }
    }
}

/// Opens a connection.
pub(crate) async fn connect(host: &str, port: u16, deadline: Duration) -> Result<UpstreamConnection, ConnectError> {
    let stream = connect_tcp(host, port, deadline).await?;
    UpstreamConnection::open(stream).await.map_err(ConnectError::Handshake)
}

/// Opens the TCP connection alone.
pub(crate) async fn connect_tcp(host: &str, port: u16, deadline: Duration) -> Result<TcpStream, ConnectError> {
    let connecting = async {
        match host.parse::<std::net::IpAddr>() {
            Ok(address) => TcpStream::connect(SocketAddr::new(address, port)).await,
            Err(_) => TcpStream::connect((host, port)).await,
        }
    };
    let stream =
        tokio::time::timeout(deadline, connecting).await.map_err(|_| ConnectError::Timeout(deadline))?.map_err(ConnectError::Failed)?;
    // Both are refinements: a connection without them still works.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE));
    Ok(stream)
}
