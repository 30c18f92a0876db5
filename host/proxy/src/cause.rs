//! Why an endpoint brought no answer, or not all of it: found out from the errors of what carries it.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use watchgate_telemetry::UpstreamCause;

/// Of an error of the connection itself.
pub(crate) fn of_io(error: &io::Error) -> UpstreamCause {
    match error.kind() {
        ErrorKind::ConnectionRefused => UpstreamCause::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => UpstreamCause::Unroutable,
        ErrorKind::TimedOut => UpstreamCause::Timeout,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => UpstreamCause::Reset,
        ErrorKind::UnexpectedEof => UpstreamCause::Closed,
        _ => UpstreamCause::Other,
    }
}

/// Of a handshake of TLS that failed.
pub(crate) fn of_tls(error: &io::Error) -> UpstreamCause {
    let of_rustls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match of_rustls {
        Some(rustls::Error::InvalidCertificate(_)) => UpstreamCause::TlsUntrusted,
        _ => UpstreamCause::TlsHandshake,
    }
}

/// Of HTTP that failed on a connection.
pub(crate) fn of_http(error: &hyper::Error) -> UpstreamCause {
    if error.is_parse() {
        return UpstreamCause::NotHttp;
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return UpstreamCause::Closed;
    }
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return of_io(error);
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let of_library = if is_not_http2(error) { UpstreamCause::NotHttp } else { UpstreamCause::Reset };
            return error.get_io().map_or(of_library, of_io);
        }
        source = error.source();
    }
    UpstreamCause::Other
}

/// Whether what came made no sense as HTTP/2: the library ends the connection then.
fn is_not_http2(error: &h2::Error) -> bool {
    error.is_library() && error.is_go_away()
}

/// An error with all that is behind it, in one line.
pub(crate) fn in_full(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        if error.downcast_ref::<h2::Error>().is_some_and(is_not_http2) {
            text.push_str("; `http2 = true` is for servers that speak it");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connections_are_told_apart() {
        for (kind, expected) in [
            (ErrorKind::ConnectionRefused, "refused"),
            (ErrorKind::NetworkUnreachable, "unroutable"),
            (ErrorKind::TimedOut, "timeout"),
            (ErrorKind::BrokenPipe, "reset"),
            (ErrorKind::UnexpectedEof, "closed"),
            (ErrorKind::OutOfMemory, "_other"),
        ] {
            assert_eq!(of_io(&io::Error::from(kind)).as_str(), expected);
        }
        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(of_tls(&io::Error::other(untrusted)), UpstreamCause::TlsUntrusted);
        assert_eq!(of_tls(&io::Error::other(rustls::Error::DecryptError)), UpstreamCause::TlsHandshake);
        assert_eq!(of_tls(&io::Error::from(ErrorKind::UnexpectedEof)), UpstreamCause::TlsHandshake);
    }
}
