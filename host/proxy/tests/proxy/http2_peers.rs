//! Both ends of HTTP/2: a client of the proxy, and a server whose behaviour is a closure.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::rig::CALL;

/// A body of either end.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A body that is here in full.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// The same with trailers.
pub fn trailed(bytes: impl Into<Bytes>, name: &'static str, value: &'static str) -> Body {
    let trailers = fields(&[(name, value)]);
    Full::new(bytes.into()).with_trailers(async move { Some(Ok(trailers)) }).boxed_unsync()
}

/// The same without its length being known in advance.
pub fn pieced(bytes: &'static str, name: &'static str, value: &'static str) -> Body {
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(bytes.into()).expect("the receiver is there");
    let trailers = fields(&[(name, value)]);
    pieces(receiver).with_trailers(async move { Some(Ok(trailers)) }).boxed_unsync()
}

/// A body whose pieces come from elsewhere, and end when that does.
pub fn pieces(pieces: mpsc::UnboundedReceiver<Bytes>) -> Body {
    let frames = futures_util::stream::unfold(pieces, |mut pieces| async move { Some((Ok(Frame::data(pieces.recv().await?)), pieces)) });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// Header fields.
pub fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// One connection of a client.
#[derive(Clone)]
pub struct Client {
    sender: SendRequest<Body>,
    authority: String,
    scheme: &'static str,
    ended: Arc<Mutex<Option<JoinHandle<hyper::Result<()>>>>>,
}

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Client {
    /// By prior knowledge.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).await.unwrap(), &address.to_string(), "http").await
    }

    /// On a connection that is open.
    pub async fn on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, authority: &str, scheme: &'static str) -> Self {
        let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let ended = Arc::new(Mutex::new(Some(tokio::spawn(driver))));
        Self { sender, authority: authority.to_owned(), scheme, ended }
    }

    /// A POST of this body that nothing was done with yet.
    pub fn post(&self, headers: HeaderMap, body: Body) -> Request<Body> {
        let uri = format!("{}://{}/mcp", self.scheme, self.authority);
        let mut request = Request::post(uri).body(body).unwrap();
        *request.headers_mut() = headers;
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        request
    }

    /// Sends it and waits for the head of the answer.
    pub async fn send(&self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        self.sender.clone().send_request(request).await
    }

    /// Sends it and waits for all of the answer.
    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.send(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned();
        Answer { status: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
    }

    /// One call with these headers.
    pub async fn call(&self, headers: &[(&'static str, &'static str)]) -> Answer {
        self.ask(self.post(fields(headers), whole(CALL))).await
    }

    /// The head of the answer to one call with these headers.
    pub async fn open(&self, headers: &[(&'static str, &'static str)]) -> Response<Incoming> {
        self.send(self.post(fields(headers), whole(CALL))).await.unwrap()
    }

    /// Waits until the proxy has ended the connection.
    pub async fn ended(self) {
        let driver = self.ended.lock().unwrap().take().unwrap();
        tokio::time::timeout(watchgate_tests::DEADLINE, driver).await.expect("the connection goes on").unwrap().unwrap();
    }
}

/// The next data of a body.
pub async fn next(body: &mut Incoming) -> Option<Bytes> {
    let frame = tokio::time::timeout(watchgate_tests::DEADLINE, body.frame()).await.expect("nothing comes")?;
    Some(frame.unwrap().into_data().unwrap())
}

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A request as a server got it.
pub struct Received {
    pub head: Parts,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// A server of HTTP/2 in cleartext, by prior knowledge.
pub struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    ends: Arc<Notify>,
    _runtime: Runtime,
}

impl Server {
    /// Answers each request by calling `answer`, with at most `streams` at once on a connection.
    pub fn start<A, F>(streams: u32, answer: A) -> Self
    where
        A: Fn(Received) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let [connections, open, requests] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let ends = Arc::new(Notify::new());
        let (accepted, opened, counted, ending) = (connections.clone(), open.clone(), requests.clone(), ends.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, counted, opened) = (answer.clone(), counted.clone(), opened.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    assert_eq!(request.version(), Version::HTTP_2);
                    let (answer, counted) = (answer.clone(), counted.clone());
                    let answering: Answering = Box::pin(async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap();
                        let trailers = body.trailers().cloned();
                        counted.fetch_add(1, Ordering::SeqCst);
                        answer(Received { head, body: body.to_bytes(), trailers }).await
                    });
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                let (accepted, ending) = (accepted.clone(), ending.clone());
                tokio::spawn(async move {
                    // A probe opens connections, too, and says nothing.
                    if stream.peek(&mut [0]).await.is_ok_and(|count| count > 0) {
                        accepted.fetch_add(1, Ordering::SeqCst);
                        opened.fetch_add(1, Ordering::SeqCst);
                        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .timer(TokioTimer::new())
                            .max_concurrent_streams(streams)
                            .serve_connection(TokioIo::new(stream), service);
                        let mut connection = pin!(connection);
                        // How it ends is the test's business.
                        tokio::select! {
                            _ = connection.as_mut() => {}
                            () = ending.notified() => {
                                connection.as_mut().graceful_shutdown();
                                let _ = connection.await;
                            }
                        }
                        opened.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { address, connections, open, requests, ends, _runtime: runtime }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Ends the connections in the regular way, each when its exchanges are over.
    pub fn end_connections(&self) {
        self.ends.notify_waiters();
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}
