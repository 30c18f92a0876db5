//! Hands a body to a collector and reads from its answer what became of it: OTLP over HTTP, OTLP over gRPC, or plain JSON.

use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;

use super::config::{Compression, PushConfig};
use super::connection::{Answer, Connection, Version};
use super::endpoint::Endpoint;
use super::error::{Failure, PushConfigError};
use super::{grpc, tls};

/// How bodies travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As protobuf in a `POST`; the path is that of an endpoint without one.
    OtlpHttp { usual_path: &'static str },
    /// As a gRPC call of this method, `/PACKAGE.SERVICE/METHOD`.
    OtlpGrpc { method: &'static str },
    /// As JSON in a `POST`; any answer of 2xx will do.
    Json { usual_path: &'static str },
}

/// What became of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Items that the collector did not take.
    pub rejected: u64,
    /// What it says about them, or about something else that should be mended.
    pub said: String,
}

/// A client of one collector.
pub(super) struct Client {
    connection: Connection,
    transport: Transport,
    /// A request without its body.
    head: Head,
    is_gzip: bool,
    timeout: Duration,
}

struct Head {
    uri: String,
    headers: HeaderMap,
}

impl Client {
    pub fn new(config: &PushConfig, transport: Transport) -> Result<Self, PushConfigError> {
        let (usual_path, version) = match transport {
            Transport::OtlpHttp { usual_path } | Transport::Json { usual_path } => (usual_path, Version::Http1),
            Transport::OtlpGrpc { method } => (method, Version::Http2),
        };
        let endpoint = Endpoint::parse(&config.endpoint, usual_path)?;
        let tls = if endpoint.is_tls { Some(tls::client_config(&config.tls, version.alpn())?) } else { None };
        let is_gzip = config.compression == Compression::Gzip;
        let head = Head { uri: uri(&endpoint, transport), headers: headers(config, transport, &endpoint, is_gzip)? };
        Ok(Self { connection: Connection::new(endpoint, version, tls), transport, head, is_gzip, timeout: config.timeout })
    }

    /// Hands a body over; at most for the configured timeout, connecting included.
    pub async fn send(&mut self, body: &Bytes) -> Result<Accepted, Failure> {
        let body = self.encode(body);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.head.uri.parse().map_err(Failure::last)?;
        request.headers_mut().clone_from(&self.head.headers);
        let answer = match tokio::time::timeout(self.timeout, self.connection.send(request)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Failure::passing(format_args!("no answer within {:?}", self.timeout))),
        };
        match self.transport {
            Transport::OtlpGrpc { .. } => accepted(&grpc::message(&answer)?),
            Transport::OtlpHttp { .. } => {
                judge_status(&answer)?;
                if !answer.body.is_empty() && !is_protobuf(&answer.headers) {
                    return Err(Failure::last("the answer is no OTLP; is there something else at this address?"));
                }
                accepted(&answer.body)
            }
            Transport::Json { .. } => judge_status(&answer).map(|()| Accepted::default()),
        }
    }

    fn encode(&self, body: &Bytes) -> Bytes {
        let packed = if self.is_gzip { gzip(body) } else { body.clone() };
        match self.transport {
            Transport::OtlpGrpc { .. } => grpc::frame(&packed, self.is_gzip),
            Transport::OtlpHttp { .. } | Transport::Json { .. } => packed,
        }
    }
}

/// In HTTP/1.1 the target is a path; in HTTP/2 hyper makes scheme and authority of the whole.
fn uri(endpoint: &Endpoint, transport: Transport) -> String {
    match transport {
        Transport::OtlpGrpc { method } => {
            let scheme = if endpoint.is_tls { "https" } else { "http" };
            format!("{scheme}://{}{method}", endpoint.authority)
        }
        Transport::OtlpHttp { .. } | Transport::Json { .. } => endpoint.path.clone(),
    }
}

fn headers(config: &PushConfig, transport: Transport, endpoint: &Endpoint, is_gzip: bool) -> Result<HeaderMap, PushConfigError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let refused = || PushConfigError::Header(name.clone());
        let mut value = HeaderValue::from_str(&value.0).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?, value);
    }
    let content_type = match transport {
        Transport::OtlpHttp { .. } => "application/x-protobuf",
        Transport::OtlpGrpc { .. } => "application/grpc",
        Transport::Json { .. } => "application/json",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("watchgate/", env!("CARGO_PKG_VERSION"))));
    if let Transport::OtlpGrpc { .. } = transport {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if is_gzip {
            headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
    } else {
        let host = HeaderValue::from_str(&endpoint.authority).map_err(|_| PushConfigError::Endpoint(config.endpoint.clone()))?;
        headers.insert(header::HOST, host);
        if is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    Ok(headers)
}

fn gzip(body: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes any write").into()
}

/// By the OTLP specification only these statuses are worth another try.
fn judge_status(answer: &Answer) -> Result<(), Failure> {
    match answer.status {
        status if status.is_success() => Ok(()),
        status @ (StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT) => {
            let after = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Failure::Passing { why: format!("status {status}"), after: after.map(Duration::from_secs) })
        }
        status => Err(Failure::last(format_args!("status {status}"))),
    }
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().is_some_and(|kind| matches!(kind.trim(), "application/x-protobuf" | "application/protobuf"))
}

/// The answers of all signals have one shape: how many were rejected, and why.
fn accepted(body: &[u8]) -> Result<Accepted, Failure> {
    let answer = ExportMetricsServiceResponse::decode(body)
        .map_err(|_| Failure::last("the answer is no OTLP; is there something else at this address?"))?;
    let partial = answer.partial_success.unwrap_or_default();
    Ok(Accepted { rejected: partial.rejected_data_points.try_into().unwrap_or(0), said: partial.error_message })
}
