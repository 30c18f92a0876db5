//! `POST /api/breakers/SERVER[/ENDPOINT]`: a circuit breaker set by hand.

use http::StatusCode;
use serde_json::json;

use crate::answer::{self, Answer};
use crate::commands::{BreakerWish, Commands};
use crate::percent::decoded;

/// What stands before the server's name.
pub(crate) const PREFIX: &str = "/api/breakers/";

/// Does what the request says.
pub(crate) fn force(commands: &dyn Commands, path: &str, body: &[u8]) -> Answer {
    let Some((server, endpoint)) = target(path) else {
        return answer::error(StatusCode::NOT_FOUND, "not_found", "the path is /api/breakers/SERVER or /api/breakers/SERVER/HOST:PORT");
    };
    let Some(wish) = BreakerWish::parse(body) else {
        return answer::error(
            StatusCode::BAD_REQUEST,
            "state",
            "send {\"state\":\"open\"}, {\"state\":\"closed\"} or {\"state\":\"automatic\"}",
        );
    };
    match commands.force_breaker(&server, endpoint.as_deref(), wish) {
        Ok(()) => {
            let meant = commands.breakers().into_iter().filter(|breaker| breaker.server == server);
            let shown: Vec<_> = meant.filter(|breaker| endpoint.as_ref().is_none_or(|endpoint| breaker.endpoint == *endpoint)).collect();
            answer::json(StatusCode::OK, &json!({ "breakers": shown }))
        }
        Err(_) => answer::error(StatusCode::NOT_FOUND, "no_such_endpoint", "no server or endpoint is called so; see GET /api/breakers"),
    }
}

/// The server and the endpoint that a path names; the brackets of an IPv6 address come percent-encoded.
fn target(path: &str) -> Option<(String, Option<String>)> {
    let rest = path.strip_prefix(PREFIX)?;
    let (server, endpoint) = match rest.split_once('/') {
        Some((server, endpoint)) => (server, Some(decoded(endpoint)?)),
        None => (rest, None),
    };
    let server = decoded(server)?;
    (!server.is_empty() && endpoint.as_ref().is_none_or(|endpoint| !endpoint.is_empty())).then_some((server, endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_server_and_perhaps_an_endpoint() {
        let check = |path: &str, expected: Option<(&str, Option<&str>)>| {
            let expected = expected.map(|(server, endpoint)| (server.to_owned(), endpoint.map(str::to_owned)));
            assert_eq!(target(path), expected, "{path}");
        };
        check("/api/breakers/a", Some(("a", None)));
        check("/api/breakers/a/127.0.0.1:1", Some(("a", Some("127.0.0.1:1"))));
        check("/api/breakers/a/%5B::1%5D:1", Some(("a", Some("[::1]:1"))));
        for wrong in ["/api/breakers/", "/api/breakers/a/", "/api/breakers//b", "/api/breakers/%", "/api/breakers/%+1", "/api/breakers/%ff"]
        {
            check(wrong, None);
        }
    }
}
