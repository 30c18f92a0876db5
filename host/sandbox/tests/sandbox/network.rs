//! What leaves the process leaves it only by grant.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use watchgate_hooks::{BoxFuture, FailureReason, HealthStatus, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse};
use watchgate_sandbox::PoolConfig;

use crate::handmade::{asker, senseless};
use crate::rig::{Rig, configured, guest};

/// A server that answers every request with `answer` and counts them.
async fn server(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            count.fetch_add(1, Ordering::SeqCst);
            let _client_may_be_gone = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, asked)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Fetches `url` with these grants: the status, and what the plugin says.
async fn fetch(url: &str, grants: &[&str]) -> (HealthStatus, String) {
    let rig = Rig::new();
    let mut settings = configured(json!({ "url": url }));
    settings.grants.http = grants.iter().map(|grant| (*grant).to_owned()).collect();
    let plugin = rig.live("fetch", guest("guest_fetch"), settings).await;
    let report = plugin.health.as_ref().unwrap().check().await.unwrap();
    (report.status, report.detail)
}

#[tokio::test]
async fn a_granted_host_is_reached() {
    let (address, asked) = server(OK).await;
    let grant = address.to_string();
    let (status, detail) = fetch(&format!("http://{address}/status"), &[&grant]).await;
    assert_eq!((status, detail.as_str()), (HealthStatus::Ok, "answered 200"));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it was asked before it was live, or twice");
}

#[tokio::test]
async fn a_host_that_is_not_granted_is_never_reached() {
    let (address, asked) = server(OK).await;
    let port = address.port();
    for (url, grant) in [
        (format!("http://127.0.0.1:{port}/"), "127.0.0.1:1".to_owned()),
        (format!("http://127.0.0.1:{port}/"), format!("localhost:{port}")),
        (format!("http://127.0.0.1:{port}/"), "example.com".to_owned()),
        (format!("http://user@127.0.0.1:{port}/"), format!("127.0.0.1:{port}")),
    ] {
        let (status, detail) = fetch(&url, &[&grant]).await;
        assert_eq!(status, HealthStatus::Failing, "{url} with {grant}: {detail}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_are_answers_and_nothing_else() {
    let (target, asked) = server(OK).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: http://{target}/\r\ncontent-length: 0\r\n\r\n");
    let (address, _) = server(Box::leak(redirect.into_boxed_str())).await;
    let (status, detail) = fetch(&format!("http://{address}/"), &[&address.to_string(), &target.to_string()]).await;
    assert_eq!((status, detail.as_str()), (HealthStatus::Failing, "answered 302"));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_that_never_comes_or_makes_no_sense_is_an_error() {
    for answer in ["", "nonsense\r\n\r\n"] {
        let (address, _) = server(answer).await;
        let (status, detail) = fetch(&format!("http://{address}/"), &[&address.to_string()]).await;
        assert_eq!(status, HealthStatus::Failing, "{answer:?}");
        assert!(detail.starts_with("no answer"), "{detail}");
    }
}

/// One server, `weather`, which answers every request with an empty list of tools; any other name is unknown.
struct Weather;

impl UpstreamCalls for Weather {
    fn servers(&self) -> Vec<String> {
        vec!["weather".to_owned()]
    }

    fn connect<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        Box::pin(async { Ok(()) })
    }

    fn send<'a>(
        &'a self,
        server: &'a str,
        request: UpstreamRequest,
        _: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(async move {
            if server != "weather" {
                return Err(UpstreamCallError::UnknownServer(server.to_owned()));
            }
            let id = request.awaited_id.unwrap_or_else(|| "null".to_owned());
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[]}}}}"#);
            let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
            Ok(UpstreamResponse { status: 200, headers, body: body.into() })
        })
    }
}

async fn ask(server: &str, grants: &[&str]) -> (HealthStatus, String) {
    let rig = Rig::with(PoolConfig { instances: 10, max_memory: 64 << 20 }, Arc::new(Weather));
    let mut settings = configured(json!({}));
    settings.grants.mcp_client = grants.iter().map(|grant| (*grant).to_owned()).collect();
    let plugin = rig.live("asker", asker(server, "tools/list"), settings).await;
    let report = plugin.health.as_ref().unwrap().check().await.unwrap();
    (report.status, report.detail)
}

#[tokio::test]
async fn a_plugin_asks_only_the_servers_granted_to_it() {
    let check = async |server, grants: &[&str], status, detail: &str| {
        assert_eq!(ask(server, grants).await, (status, detail.to_owned()), "{server} with {grants:?}");
    };
    check("weather", &["weather"], HealthStatus::Ok, r#"{"tools":[]}"#).await;
    check("weather", &["another"], HealthStatus::Failing, "not-granted").await;
    check("another", &["another"], HealthStatus::Failing, "unknown-server").await;
}

#[tokio::test]
async fn a_result_that_is_none_of_the_contracts_is_a_failure() {
    let rig = Rig::new();
    let plugin = rig.live("senseless", senseless(), configured(json!({}))).await;
    let failure = plugin.health.as_ref().unwrap().check().await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::InvalidOutput, "{failure}");
}
