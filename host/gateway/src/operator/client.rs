//! Asks the admin listener of a running gateway.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::Failure;
use super::printable::printable;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Beyond what the gateway itself was asked to wait.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Far above the longest answer; whatever else listens there cannot fill this process's memory.
const MOST_BYTES: usize = 256 * 1024 * 1024;
const DEFAULT_ADDRESS: &str = "127.0.0.1:9090";
/// As for the gateway itself: a flag would show it to everybody on the machine.
const TOKEN_VARIABLE: &str = "WATCHGATE_ADMIN_TOKEN";

/// Which gateway is asked.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AdminArguments {
    /// The admin address of the gateway [default: 127.0.0.1:9090]. Its token, if it has one, is read from WATCHGATE_ADMIN_TOKEN.
    #[arg(long, value_name = "URL", env = "WATCHGATE_ADMIN")]
    pub admin: Option<String>,
}

/// One gateway.
pub struct AdminClient {
    /// `HOST:PORT`.
    address: String,
    token: Option<String>,
}

impl AdminClient {
    /// The gateway that the command line and the environment name.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(arguments: &AdminArguments) -> Result<Self, Failure> {
        let address = address(arguments.admin.as_deref().unwrap_or(DEFAULT_ADDRESS))?;
        let token = std::env::var(TOKEN_VARIABLE).ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Ok(Self { address, token })
    }

    /// Where it is asked.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Gets a JSON document; of `None` there is none. `wait` is how long the gateway was asked to wait before it answers.
    ///
    /// # Errors
    /// When it cannot be reached or refuses.
    pub async fn json(&self, path: &str, wait: Duration) -> Result<Option<Value>, Failure> {
        let (status, body) = self.get(path, wait).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.accepted(status, &body)?;
        serde_json::from_slice(&body).map(Some).map_err(|_| self.strange())
    }

    /// Gets a text.
    ///
    /// # Errors
    /// When it cannot be reached or refuses.
    pub async fn text(&self, path: &str) -> Result<String, Failure> {
        let (status, body) = self.get(path, Duration::ZERO).await?;
        self.accepted(status, &body)?;
        String::from_utf8(body.into()).map_err(|_| self.strange())
    }

    /// Gets whatever is answered.
    ///
    /// # Errors
    /// When nothing is.
    pub async fn get(&self, path: &str, wait: Duration) -> Result<(StatusCode, Bytes), Failure> {
        let stream = match tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(&self.address)).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error))?,
            Err(_) => return Err(self.unreachable(&io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"))),
        };
        match tokio::time::timeout(wait + ANSWER_DEADLINE, self.exchange(stream, path)).await {
            Ok(answer) => answer.map_err(|error| Failure::Unreachable(format!("no whole answer from {}: {error}", self.address))),
            Err(_) => Err(Failure::Unreachable(format!("no answer from {} within {:?}", self.address, wait + ANSWER_DEADLINE))),
        }
    }

    async fn exchange(&self, stream: TcpStream, path: &str) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the exchange, and what goes wrong in it shows in the answer.
        let driver = tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, &self.address);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await?.to_bytes();
        driver.abort();
        Ok((status, body))
    }

    /// Refusals in the gateway's own words, where it has some.
    fn accepted(&self, status: StatusCode, body: &[u8]) -> Result<(), Failure> {
        if status.is_success() {
            return Ok(());
        }
        // A traffic listener, taken for the admin one, answers with JSON-RPC errors.
        let said = serde_json::from_slice::<Value>(body).ok().filter(|said| said.get("jsonrpc").is_none());
        let said = said.as_ref().and_then(|said| said["error"]["message"].as_str()).map(printable);
        Err(match (status, said) {
            (StatusCode::UNAUTHORIZED, _) => {
                let what = if self.token.is_some() { "refuses the token" } else { "wants a token" };
                Failure::Usage(format!("the gateway at {} {what}: set its admin token in {TOKEN_VARIABLE}", self.address))
            }
            (StatusCode::BAD_REQUEST, Some(said)) => Failure::Usage(said),
            (_, Some(said)) => Failure::Unreachable(format!("the gateway at {} answers {}: {said}", self.address, status.as_u16())),
            (_, None) => self.strange(),
        })
    }

    fn strange(&self) -> Failure {
        Failure::Unreachable(format!(
            "what listens on {} does not answer as a watchgate's admin address: name that with --admin",
            self.address
        ))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let what = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        };
        let remedy = "start it with `watchgate run`, or name its admin address with --admin or WATCHGATE_ADMIN";
        Failure::Unreachable(format!("no gateway at {}: {what}; {remedy}", self.address))
    }
}

/// `HOST:PORT` of a URL or of itself.
fn address(text: &str) -> Result<String, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("--admin {text}: {why}"));
    if text.starts_with("https://") {
        return Err(wrong("the admin listener speaks http, not https"));
    }
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let authority: http::uri::Authority = bare.parse().map_err(|_| wrong("must be HOST:PORT or http://HOST:PORT"))?;
    match (authority.port_u16(), bare.contains('@')) {
        (Some(_), false) => Ok(bare.to_owned()),
        (_, true) => Err(wrong("the token is read from WATCHGATE_ADMIN_TOKEN, not from the address")),
        (None, false) => Err(wrong("must have a port, such as 127.0.0.1:9090")),
    }
}

/// A path with the parameters that have a value.
pub fn with_query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A text as it may stand in a path or query (RFC 3986, 2.3).
pub fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_urls() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(address(text).ok().as_deref(), expected, "{text}");
        check("127.0.0.1:9090", Some("127.0.0.1:9090"));
        check("http://admin.example:80/", Some("admin.example:80"));
        check("http://[::1]:9090", Some("[::1]:9090"));
        for wrong in ["", "127.0.0.1", "https://127.0.0.1:9090", "a b:1", "http://", "u@h:1", "h:1/path", "h:99999"] {
            check(wrong, None);
        }
    }

    #[test]
    fn parameters_are_encoded() {
        let check = |value: Option<&str>, expected: &str| {
            assert_eq!(with_query("/p", &[("a", value.map(str::to_owned)), ("b", None)]), expected);
        };
        check(None, "/p");
        check(Some("x"), "/p?a=x");
        check(Some("a b&c=d/ü"), "/p?a=a%20b%26c%3Dd%2F%C3%BC");
    }
}
