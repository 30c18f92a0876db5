//! One POST through `wasi:http`.

use std::time::Duration;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, FutureIncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme};

use crate::url::Url;

/// `wasi:io` takes no more at once.
const CHUNK: usize = 4096;

/// Sends the body and returns the status of the answer, whose body is not read.
///
/// # Errors
/// A sentence: what cannot be sent, or why there is no answer.
pub fn post(url: &Url, headers: &[(String, String)], body: &[u8], timeout: Duration) -> Result<u16, String> {
    let request = OutgoingRequest::new(fields(headers, body.len())?);
    let scheme = if url.is_https { Scheme::Https } else { Scheme::Http };
    let prepared = request
        .set_method(&Method::Post)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(&url.authority)))
        .and_then(|()| request.set_path_with_query(Some(&url.path)));
    prepared.map_err(|()| "config key `url`: it cannot be requested")?;
    let outgoing = request.body().map_err(|()| "the request has no body")?;
    let answer = outgoing_handler::handle(request, Some(options(timeout)?)).map_err(|error| describe(&error))?;
    let written = write(outgoing, body);
    let status = status(&answer)?;
    // A receiver may refuse before it has read everything; that says more than that writing failed.
    if status < 300 {
        written?;
    }
    Ok(status)
}

fn fields(headers: &[(String, String)], length: usize) -> Result<Fields, String> {
    let fields = Fields::new();
    let own = [("content-type".to_owned(), "application/json".to_owned()), ("content-length".to_owned(), length.to_string())];
    for (name, value) in own.iter().chain(headers) {
        // `set`, so that settings may replace the content type.
        let outcome = fields.set(name, &[value.as_bytes().to_vec()]);
        outcome.map_err(|_| format!("config key `headers`: {name} cannot be sent"))?;
    }
    Ok(fields)
}

fn options(timeout: Duration) -> Result<RequestOptions, String> {
    let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    let options = RequestOptions::new();
    let set = options
        .set_connect_timeout(Some(nanoseconds))
        .and_then(|()| options.set_first_byte_timeout(Some(nanoseconds)))
        .and_then(|()| options.set_between_bytes_timeout(Some(nanoseconds)));
    set.map_err(|()| "the gateway takes no timeouts".to_owned())?;
    Ok(options)
}

fn write(outgoing: OutgoingBody, body: &[u8]) -> Result<(), String> {
    let failed = |_| "the body was not sent".to_owned();
    let stream = outgoing.write().map_err(|()| "the body was not sent")?;
    for chunk in body.chunks(CHUNK) {
        stream.blocking_write_and_flush(chunk).map_err(failed)?;
    }
    // The stream belongs to the body and must be gone before the body is finished.
    drop(stream);
    OutgoingBody::finish(outgoing, None).map_err(|error| describe(&error))
}

fn status(answer: &FutureIncomingResponse) -> Result<u16, String> {
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(response))) => Ok(response.status()),
        Some(Ok(Err(error))) => Err(describe(&error)),
        Some(Err(())) | None => Err("the answer was taken already".to_owned()),
    }
}

/// The likely errors in words; the derived names of all forty would be a third of the plugin.
fn describe(error: &ErrorCode) -> String {
    let text = match error {
        ErrorCode::HttpRequestDenied => "the host of `url` is not granted; name it in [grants] http",
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout => "the host of `url` cannot be resolved",
        ErrorCode::DestinationNotFound | ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
            "the receiver is unreachable"
        }
        ErrorCode::DestinationIpProhibited => "the address of the receiver is not allowed",
        ErrorCode::ConnectionRefused => "the receiver refuses connections",
        ErrorCode::ConnectionTerminated | ErrorCode::ConnectionLimitReached => "the connection was cut",
        ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout | ErrorCode::ConnectionWriteTimeout => {
            "the receiver did not answer in time"
        }
        ErrorCode::HttpResponseTimeout | ErrorCode::HttpResponseIncomplete => "the receiver did not answer in time",
        ErrorCode::TlsProtocolError | ErrorCode::TlsCertificateError | ErrorCode::TlsAlertReceived(_) => {
            "no TLS connection to the receiver"
        }
        ErrorCode::InternalError(Some(reason)) => return format!("the gateway could not send it: {reason}"),
        _ => "the request failed",
    };
    text.to_owned()
}
