//! Gets one body to a collector: one connection, kept open, and one request at a time.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, TE, USER_AGENT};
use http::{Method, Request, Version};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::connection::{Answer, Connection, SendError, described, within};
use super::error::{DeliveryError, PushConfigError};
use super::target::Target;
use super::{grpc, tls};
use crate::push::{Compression, PushConfig, PushTls};

/// As HTTP says who asks.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("watchgate/", env!("CARGO_PKG_VERSION")));
/// How much of an answer's text a log line quotes, characters.
const QUOTED: usize = 200;

/// How bodies travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As protobuf in a `POST`; the path is that of an endpoint without one.
    OtlpHttp { usual_path: &'static str },
    /// As a gRPC call of this method, `/PACKAGE.SERVICE/METHOD`, whatever path the endpoint has.
    OtlpGrpc { method: &'static str },
    /// As JSON in a `POST`; any answer of 2xx that is no web page will do.
    Json { usual_path: &'static str },
}

/// What a collector made of a body that got through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Pieces of it that it did not want: spans, points or records.
    pub rejected: u64,
    /// What it says about them, or about something else that should be mended.
    pub said: String,
}

/// A client of one collector.
pub(crate) struct Pusher {
    target: Target,
    tls: PushTls,
    transport: Transport,
    compression: Compression,
    /// Taken out while a request is on it, so that one that is given up takes its connection with it.
    connection: Option<Connection>,
}

impl Pusher {
    /// Checks the configuration, the files for TLS included; opens nothing.
    pub fn new(config: &PushConfig, transport: Transport) -> Result<Self, PushConfigError> {
        let path = match transport {
            Transport::OtlpHttp { usual_path } | Transport::Json { usual_path } => usual_path,
            Transport::OtlpGrpc { method } => method,
        };
        let mut target = Target::new(config, path)?;
        if let Transport::OtlpGrpc { method } = transport {
            target.path = http::uri::PathAndQuery::from_static(method);
        }
        if target.https {
            tls::client_config(&config.tls, transport.version() == Version::HTTP_2)?;
        }
        Ok(Self { target, tls: config.tls.clone(), transport, compression: config.compression, connection: None })
    }

    /// Where to, for people.
    pub fn endpoint(&self) -> String {
        self.target.shown()
    }

    /// Delivers a body. Ends within the configured timeout; must run on a runtime with IO and time that goes on being driven.
    pub async fn push(&mut self, body: Bytes) -> Result<Accepted, DeliveryError> {
        let body = match self.compression {
            Compression::None => body,
            Compression::Gzip => gzip(&body),
        };
        let body = match self.transport {
            Transport::OtlpHttp { .. } | Transport::Json { .. } => body,
            Transport::OtlpGrpc { .. } => grpc::frame(&body, self.compression == Compression::Gzip),
        };
        let answer = within(self.target.timeout, self.exchange(body)).await?;
        match self.transport {
            Transport::OtlpHttp { .. } => read(&answer).map(|message| accepted(&message)),
            Transport::OtlpGrpc { .. } => grpc::read(&answer).map(|message| accepted(&message)),
            Transport::Json { .. } => read(&answer).map(|_| Accepted::default()),
        }
    }

    /// One request; once more on a new connection where the kept one turns out to be closed.
    async fn exchange(&mut self, body: Bytes) -> Result<Answer, DeliveryError> {
        if let Some(mut connection) = self.connection.take().filter(|connection| !connection.is_closed()) {
            match connection.send(self.request(body.clone())).await {
                Ok(answer) => return Ok(self.keep(connection, answer)),
                Err(SendError::Stale(_)) => {}
                Err(SendError::Failed(error)) => return Err(DeliveryError::Unreachable(described(&error))),
            }
        }
        let mut connection = Connection::open(&self.target, &self.tls, self.transport.version()).await?;
        match connection.send(self.request(body)).await {
            Ok(answer) => Ok(self.keep(connection, answer)),
            Err(SendError::Stale(error) | SendError::Failed(error)) => Err(DeliveryError::Unreachable(described(&error))),
        }
    }

    fn keep(&mut self, connection: Connection, answer: Answer) -> Answer {
        self.connection = Some(connection);
        answer
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let version = self.transport.version();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.uri(version);
        *request.version_mut() = version;
        let headers = request.headers_mut();
        *headers = self.target.headers.clone();
        headers.entry(USER_AGENT).or_insert(AGENT);
        let gzip = self.compression == Compression::Gzip;
        match self.transport {
            Transport::OtlpHttp { .. } | Transport::Json { .. } => {
                let host = HeaderValue::from_str(&self.target.authority).expect("the authority of a URI is fit for a header");
                headers.insert(HOST, host);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.transport.content_type()));
                if gzip {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
            }
            Transport::OtlpGrpc { .. } => {
                let timeout = HeaderValue::from_str(&grpc::timeout(self.target.timeout)).expect("digits and a letter are fit for a header");
                headers.insert("grpc-timeout", timeout);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.transport.content_type()));
                headers.insert(TE, HeaderValue::from_static("trailers"));
                if gzip {
                    headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
                }
            }
        }
        request
    }
}

impl Transport {
    const fn version(self) -> Version {
        match self {
            Self::OtlpHttp { .. } | Self::Json { .. } => Version::HTTP_11,
            Self::OtlpGrpc { .. } => Version::HTTP_2,
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::OtlpHttp { .. } => "application/x-protobuf",
            Self::OtlpGrpc { .. } => "application/grpc",
            Self::Json { .. } => "application/json",
        }
    }
}

/// The answers of all signals have one shape: how many were rejected, and why. One that cannot be read is taken for a full success:
/// what counts is the status it came with.
fn accepted(message: &[u8]) -> Accepted {
    let partial = ExportTraceServiceResponse::decode(message).ok().and_then(|answer| answer.partial_success).unwrap_or_default();
    Accepted { rejected: partial.rejected_spans.try_into().unwrap_or(0), said: partial.error_message }
}

/// The body of a good answer. By OTLP 429, 502, 503 and 504 may pass, and nothing else.
fn read(answer: &Answer) -> Result<Bytes, DeliveryError> {
    let is_page = content_type(&answer.headers).starts_with("text/html");
    let status = answer.status.as_u16();
    match status {
        200..=299 if !is_page => Ok(answer.body.clone()),
        200..=299 => Err(DeliveryError::NotACollector(quoted(answer))),
        429 | 502 | 503 | 504 => Err(DeliveryError::Busy { answer: quoted(answer), retry_after: retry_after(&answer.headers) }),
        300..=399 | 404 | 405 => Err(DeliveryError::NotACollector(quoted(answer))),
        _ => Err(DeliveryError::Refused(quoted(answer))),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The status, and the beginning of the answer where it is text.
fn quoted(answer: &Answer) -> String {
    let mut text = format!("HTTP status {}", answer.status.as_u16());
    let content_type = content_type(&answer.headers);
    if content_type.starts_with("text/") || content_type.starts_with("application/json") {
        let said: String = String::from_utf8_lossy(&answer.body).trim().chars().take(QUOTED).collect();
        if !said.is_empty() {
            write!(text, ", `{}`", said.escape_debug()).expect("a String takes any text");
        }
    }
    text
}

/// The form in seconds; the date form is as good as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes any write").into()
}
