//! Stands between the clients and the gateway and keeps every byte that clients are sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::loopback;

/// The bytes of one connection.
type Bytes = Arc<Mutex<Vec<u8>>>;

/// A running recorder.
pub struct Recorder {
    /// Where clients connect.
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Bytes>>>,
}

impl Recorder {
    /// Starts one in front of `behind`.
    pub async fn start(behind: SocketAddr) -> Result<Self> {
        let (listener, address) = loopback::listen().await?;
        let connections = Arc::<Mutex<Vec<Bytes>>>::default();
        let recorded = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let bytes = Bytes::default();
                recorded.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&bytes));
                tokio::spawn(relay(client, behind, bytes));
            }
        });
        Ok(Self { address, connections })
    }

    /// What clients were sent so far, one connection after the other.
    pub fn sent_to_clients(&self) -> Vec<u8> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = connections.iter().map(|bytes| bytes.lock().unwrap_or_else(PoisonError::into_inner).clone());
        bytes.collect::<Vec<_>>().concat()
    }
}

async fn relay(client: TcpStream, behind: SocketAddr, bytes: Bytes) {
    let Ok(gateway) = TcpStream::connect(behind).await else { return };
    let (mut from_client, to_client) = client.into_split();
    let (from_gateway, mut to_gateway) = gateway.into_split();
    let requests = async {
        // Either side may leave at any time; the other then hears of it.
        let _ = copy(&mut from_client, &mut to_gateway).await;
        let _ = to_gateway.shutdown().await;
    };
    tokio::join!(requests, record(from_gateway, to_client, bytes));
}

async fn record(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, bytes: Bytes) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    // Fails only when the client has left already.
    let _ = to.shutdown().await;
}
