//! Sends one HTTP/1.1 request on a connection of its own: resolve, check the addresses, connect to one of those checked, never follow.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::Sent;
use super::grants::may_connect;

/// Bytes of one request's body.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of one response's body.
const RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// TLS with the roots of Mozilla's programme and ring, whatever the process has installed.
static TLS: LazyLock<TlsConnector> = LazyLock::new(|| {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
});

/// A destination that a grant covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// A name or an address, lower case, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// How long each step may take; never longer than the plugin's call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Timeouts {
    pub(super) fn new(options: Option<RequestOptions>, patience: Duration) -> Self {
        let options = options.unwrap_or_default();
        let within = |wanted: Option<Duration>| wanted.unwrap_or(patience).min(patience);
        Self {
            connect: within(options.connect_timeout),
            first_byte: within(options.first_byte_timeout),
            between_bytes: within(options.between_bytes_timeout),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Sends the request along its route.
pub(super) async fn send(request: Request<WasiBody>, route: Route, timeouts: Timeouts) -> Sent {
    let connected = timeout(timeouts.connect, connect(&route)).await.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(connected)).await?;
    let request = origin_form(request.map(|body| limited(body, REQUEST_BYTES, Error::HttpRequestBodySize)))?;
    let mut connection = Box::pin(connection);
    let mut ended = false;
    let mut response = pin!(timeout(timeouts.first_byte, sender.send_request(request)));
    // The connection does the work until the head is here; it may also end before, which the response then tells.
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        _end = &mut connection => {
            ended = true;
            response.await
        }
    };
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let rest = async move { if ended { Ok(()) } else { Ok(connection.await?) } };
    Ok((bounded(response, timeouts.between_bytes), Box::new(rest)))
}

async fn connect(route: &Route) -> Result<Box<dyn Stream>, Error> {
    let found = tokio::net::lookup_host((route.host.as_str(), route.port)).await;
    let found = found.map_err(|_| Error::DnsError { rcode: Some("the name does not resolve".to_owned()), info_code: None })?;
    let allowed: Vec<SocketAddr> = found.filter(|address| may_connect(&route.host, address.ip())).collect();
    if allowed.is_empty() {
        return Err(Error::DestinationIpProhibited);
    }
    let stream = TcpStream::connect(allowed.as_slice()).await.map_err(Error::Connect)?;
    if !route.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(route.host.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(Box::new(TLS.connect(name, stream).await.map_err(Error::Tls)?))
}

/// The path and query alone: a server that is not a proxy expects no more.
fn origin_form<B>(mut request: Request<B>) -> Result<Request<B>, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

/// The body up to `limit` bytes; more is an error.
fn limited(body: impl Body<Data = Bytes, Error = Error> + Send + 'static, limit: usize, too_large: fn(Option<u64>) -> Error) -> WasiBody {
    let map = move |error: Box<dyn std::error::Error + Send + Sync>| match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) if error.is::<LengthLimitError>() => too_large(u64::try_from(limit).ok()),
        Err(error) => Error::InternalError(Some(error.to_string())),
    };
    Limited::new(body, limit).map_err(map).boxed_unsync()
}

fn bounded(response: Response<Incoming>, between_bytes: Duration) -> Response<WasiBody> {
    let patient = |incoming| Patient { incoming, between_bytes, silence: Box::pin(tokio::time::sleep(between_bytes)) };
    response.map(|incoming| limited(patient(incoming), RESPONSE_BYTES, Error::HttpResponseBodySize))
}

/// A response body that may not be silent for longer than `between_bytes`.
struct Patient {
    incoming: Incoming,
    between_bytes: Duration,
    silence: Pin<Box<Sleep>>,
}

impl Body for Patient {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                let next = tokio::time::Instant::now() + self.between_bytes;
                self.silence.as_mut().reset(next);
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => self.silence.as_mut().poll(cx).map(|()| Some(Err(Error::ConnectionReadTimeout))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that writes `answer` `times` times and then keeps the connection open.
    async fn server(answer: Vec<u8>, times: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for _ in 0..times {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
            let mut rest = Vec::new();
            let _client_may_be_gone = stream.read_to_end(&mut rest).await;
        });
        address
    }

    async fn exchange(address: SocketAddr, tls: bool, body: usize, silence: Duration) -> Result<usize, Error> {
        let host = address.ip().to_string();
        let timeouts = Timeouts { connect: Duration::from_secs(20), first_byte: silence, between_bytes: silence };
        let body = Full::from(vec![b'x'; body]).map_err(Error::from).boxed_unsync();
        let request = Request::post(format!("http://{address}/path")).body(body).unwrap();
        let (response, connection) = send(request, Route { host, port: address.port(), tls }, timeouts).await?;
        let worker = tokio::spawn(Box::into_pin(connection));
        let collected = response.into_body().collect().await;
        worker.abort();
        Ok(collected?.to_bytes().len())
    }

    async fn check(answer: &str, times: usize, expected: &str) {
        let address = server(answer.as_bytes().to_vec(), times).await;
        let said = match exchange(address, false, 10, Duration::from_millis(200)).await {
            Ok(bytes) => format!("{bytes} bytes"),
            Err(error) => format!("{error:?}"),
        };
        assert!(said.starts_with(expected), "{said}, not {expected}");
    }

    #[tokio::test]
    async fn answers_are_bounded_in_time_and_size() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1, "2 bytes").await;
        check("", 1, "ConnectionReadTimeout").await;
        check("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok", 1, "ConnectionReadTimeout").await;
        let chunk = format!("10000\r\n{}\r\n", "y".repeat(0x10000));
        let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk.repeat(100));
        check(&endless, 1, "HttpResponseBodySize(Some(4194304))").await;
        check("nonsense\r\n\r\n", 1, "Hyper").await;
    }

    #[tokio::test]
    async fn requests_are_bounded_in_size() {
        let address = server(Vec::new(), 0).await;
        let error = exchange(address, false, REQUEST_BYTES + 1, Duration::from_secs(20)).await.unwrap_err();
        assert!(format!("{error:?}").contains("HttpRequestBodySize"), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
        let address = server(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 1).await;
        let error = exchange(address, true, 10, Duration::from_secs(20)).await.unwrap_err();
        assert!(matches!(error, Error::Tls(_)), "{error:?}");
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = exchange(address, false, 1, Duration::from_secs(20)).await.unwrap_err();
        assert!(matches!(error, Error::Connect(_)), "{error:?}");
    }
}
