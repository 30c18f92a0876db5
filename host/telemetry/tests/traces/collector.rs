//! An HTTP collector on a thread of its own: says what it received, and answers as it is told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::scene::LONG;

/// A request as it came.
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Vec<u8>,
}

/// What to answer.
#[derive(Clone)]
pub enum Reply {
    /// With this status, content type and body.
    Answer(u16, &'static str, Vec<u8>),
    /// With this header too.
    With(u16, &'static str, &'static str),
    /// Never.
    Hang,
    /// By closing the connection.
    Close,
}

impl Reply {
    pub fn ok() -> Self {
        Self::Answer(200, "application/x-protobuf", Vec::new())
    }
}

pub struct Collector {
    pub address: SocketAddr,
    received: Receiver<Received>,
    _ends: oneshot::Sender<()>,
}

impl Collector {
    /// Without more replies it answers well.
    pub fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start_at("127.0.0.1:0", replies, None)
    }

    pub fn start_at(address: &str, replies: impl IntoIterator<Item = Reply>, tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let (to_us, received) = channel();
        let (ends, ended) = oneshot::channel();
        let served = Served { to_us, replies };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, tls, served) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, received, _ends: ends }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn next(&self) -> Received {
        self.received.recv_timeout(LONG).expect("there is another request")
    }

    /// Whether nothing has come that was not taken.
    pub fn is_idle(&self) -> bool {
        self.received.try_recv().is_err()
    }
}

#[derive(Clone)]
struct Served {
    to_us: Sender<Received>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, served: Served) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, served) = (tls.clone(), served.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, served).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, served).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, served: Served) {
    let service = service_fn(move |request| answer(request, served.clone()));
    // A reply that is an error closes the connection.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, served: Served) -> Result<Response<Full<Bytes>>, &'static str> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "the request broke off")?.to_bytes();
    let gzip = head.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
    let body = if gzip { gunzip(&body) } else { body.to_vec() };
    drop(served.to_us.send(Received { path: head.uri.to_string(), headers: head.headers, body }));
    let reply = served.replies.lock().unwrap().pop_front().unwrap_or_else(Reply::ok);
    let respond = |status: u16, name: &str, value: &str, body: Vec<u8>| {
        Ok(Response::builder().status(status).header(name, value).body(Full::from(body)).unwrap())
    };
    match reply {
        Reply::Answer(status, content_type, body) => respond(status, "content-type", content_type, body),
        Reply::With(status, name, value) => respond(status, name, value, Vec::new()),
        Reply::Hang => std::future::pending::<Result<_, Infallible>>().await.map_err(|never| match never {}),
        Reply::Close => Err("closed as told"),
    }
}

pub fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}
