//! A listener on a free loopback port, and HTTP/1.1 served on it.

use std::net::SocketAddr;

use anyhow::Result;
use hyper::body::{Body, Incoming};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Listens on a port that the system chooses.
pub async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves every connection until the process ends.
pub async fn serve<S>(listener: TcpListener, service: S)
where
    S: HttpService<
            Incoming,
            Error: std::error::Error + Send + Sync,
            ResBody: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = service.clone();
        tokio::spawn(async move {
            // A client that goes away in the middle is an error here and nobody's problem.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
