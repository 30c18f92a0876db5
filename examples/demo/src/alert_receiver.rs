//! Where alerts arrive: a web hook that keeps what it is sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};

use crate::loopback;

/// A running receiver.
pub struct AlertReceiver {
    /// Where it listens.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
}

impl AlertReceiver {
    /// Starts it.
    pub async fn start() -> Result<Self> {
        let (listener, address) = loopback::listen().await?;
        let received = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&received);
        let service = service_fn(move |request: Request<Incoming>| {
            let kept = Arc::clone(&kept);
            async move {
                if let Ok(body) = request.into_body().collect().await {
                    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        tokio::spawn(loopback::serve(listener, service));
        Ok(Self { address, received })
    }

    /// The bodies so far, in the order of their arrival.
    pub fn received(&self) -> Vec<String> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
