//! Every row of the table of denials in `docs/life-of-a-request.md`.

use serde_json::{Value, json};
use watchgate_proxy::ProxyConfig;
use watchgate_tests::{Scripted, wait_until};

use crate::rig::{Rig, config, server};

const DENIED: i64 = -31001;

fn call(id: &Value, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "t", "arguments": {"text": text}}}).to_string()
}

fn result(id: &Value, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}).to_string()
}

/// A server that answers every request with `body`, as JSON or as one event.
fn answering(body: &str, as_event: bool) -> Scripted {
    let body = body.to_owned();
    Scripted::start(move |exchange| {
        if as_event {
            exchange.event_stream()?;
            exchange.chunk(format!("id: 7\nretry: 5\nevent: message\ndata: {body}\n\n"))?;
            exchange.end()
        } else {
            exchange.json(200, &body)
        }
    })
}

fn check_error(answer: &Value, id: &Value) {
    assert_eq!(answer["error"]["code"], DENIED, "{answer}");
    assert_eq!(answer["id"], *id);
    assert_eq!(answer["error"]["data"]["source"], "watchgate");
    assert!(answer["error"]["data"]["error_id"].is_string());
}

#[test]
fn a_client_request_is_answered_and_not_forwarded() {
    for (word, id) in [("DENY", json!(0)), ("FAIL", json!("a"))] {
        let upstream = answering("{}", false);
        let rig = Rig::before(&upstream.url());
        let reply = rig.post(&call(&id, word));
        assert_eq!(reply.status(), 200);
        check_error(&reply.json().unwrap(), &id);
        assert!(upstream.requests().is_empty());
        assert!(rig.telemetry.render_prometheus().contains("outcome=\"denied\""));
    }
}

#[test]
fn a_client_notification_is_accepted_and_dropped() {
    let upstream = answering("{}", false);
    let rig = Rig::before(&upstream.url());
    let reply = rig.post(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"message":"DENY"}}"#);
    assert_eq!((reply.status(), reply.text().as_str()), (202, ""));
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_client_response_is_replaced_by_an_error() {
    let upstream = Scripted::start(|exchange| exchange.respond(202, &[], b""));
    let rig = Rig::before(&upstream.url());
    let reply = rig.post_with(&[("Mcp-Session-Id", "s")], &result(&json!(3), "DENY"));
    assert_eq!(reply.status(), 202);
    check_error(&serde_json::from_slice(&upstream.requests()[0].body).unwrap(), &json!(3));
}

#[test]
fn a_client_response_that_is_replaced_takes_the_headers_that_mirror_it_along() {
    let upstream = Scripted::start(|exchange| exchange.respond(202, &[], b""));
    let rig = Rig::before(&upstream.url());
    let mirrored = [("Mcp-Session-Id", "s"), ("Mcp-Param-Key", "a SECRET"), ("Mcp-Name", "=?base64?QUtJQQ?="), ("X-Kept", "1")];
    assert_eq!(rig.post_with(&mirrored, &result(&json!(3), "DENY")).status(), 202);
    let received = &upstream.requests()[0];
    check_error(&serde_json::from_slice(&received.body).unwrap(), &json!(3));
    let left = ["mcp-param-key", "mcp-name", "x-kept"].map(|name| received.head.header(name));
    assert_eq!(left, [None, None, Some("1")]);
}

#[test]
fn a_server_response_is_replaced_as_json_and_as_event() {
    for word in ["DENY", "FAIL"] {
        let upstream = answering(&result(&json!(5), word), false);
        let reply = Rig::before(&upstream.url()).post(&call(&json!(5), "fine"));
        assert_eq!(reply.status(), 200);
        check_error(&reply.json().unwrap(), &json!(5));

        let upstream = answering(&result(&json!(5), word), true);
        let text = Rig::before(&upstream.url()).post(&call(&json!(5), "fine")).text();
        let data = text.strip_prefix("id: 7\nretry: 5\nevent: message\ndata: ").unwrap();
        check_error(&serde_json::from_str(data.trim_end()).unwrap(), &json!(5));
    }
}

#[test]
fn a_server_notification_is_dropped_but_its_id_is_kept() {
    let upstream = answering(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"DENY"}}"#, true);
    let reply = Rig::before(&upstream.url()).post(&call(&json!(1), "fine"));
    assert_eq!(reply.text(), "id: 7\nretry: 5\n\n");
}

#[test]
fn a_server_request_is_dropped_and_refused_in_its_session_with_the_clients_credentials() {
    let upstream = Scripted::start(|exchange| {
        if exchange.request.id() == json!(1) {
            exchange.event_stream()?;
            exchange.chunk("id: 9\ndata: {\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"roots/list\",\"params\":{\"x\":\"DENY\"}}\n\n")?;
            exchange.end()
        } else {
            exchange.respond(202, &[], b"")
        }
    });
    let rig = Rig::before(&upstream.url());
    let headers = [("Mcp-Session-Id", "s-1"), ("Authorization", "Bearer b"), ("MCP-Protocol-Version", "2025-11-25")];
    let reply = rig.post_with(&headers, &call(&json!(1), "fine"));
    assert_eq!(reply.text(), "id: 9\n\n");
    let refusal = wait_until("the server is refused", || upstream.requests().into_iter().nth(1));
    check_error(&serde_json::from_slice(&refusal.body).unwrap(), &json!(0));
    for (name, value) in headers {
        assert_eq!(refusal.head.header(&name.to_ascii_lowercase()), Some(value), "{name}");
    }
}

#[test]
fn a_server_request_is_refused_at_the_endpoint_that_sent_it_by_the_id_it_gave() {
    let asking = |name: &'static str| {
        Scripted::start(move |exchange| {
            if exchange.request.id() != json!(1) {
                return exchange.respond(202, &[], b"");
            }
            exchange.chunked(200, &[("Content-Type", "text/event-stream"), ("Mcp-Session-Id", name)])?;
            exchange.chunk("data: {\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"roots/list\",\"params\":{\"x\":\"DENY\"}}\n\n")?;
            exchange.end()
        })
    };
    let upstreams = [asking("one"), asking("two")];
    let rig = Rig::new(ProxyConfig { expects_policies: true, ..config(vec![server(&upstreams.each_ref().map(Scripted::address))]) });
    rig.go_live();
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    for round in 1..=10 {
        rig.post(initialize);
        let seen = || upstreams.iter().map(Scripted::requests).collect::<Vec<_>>();
        wait_until("the server is refused", || (seen().concat().len() == 2 * round).then_some(()));
        for (requests, name) in seen().iter().zip(["one", "two"]) {
            let refusals: Vec<_> = requests.iter().filter(|request| request.id() == json!(0)).collect();
            assert_eq!(refusals.len() * 2, requests.len(), "as many as it asked for");
            assert!(refusals.iter().all(|refusal| refusal.head.header("mcp-session-id") == Some(name)));
        }
    }
}

#[test]
fn every_id_of_a_denied_batch_gets_an_error() {
    let upstream = answering("[]", false);
    let rig = Rig::before(&upstream.url());
    let reply = rig.post(&format!("[{},{},{}]", call(&json!(1), "fine"), call(&json!("b"), "DENY"), call(&json!(0), "fine")));
    let answers = reply.json().unwrap();
    for (answer, id) in answers.as_array().unwrap().iter().zip([json!(1), json!("b"), json!(0)]) {
        check_error(answer, &id);
    }
    assert!(upstream.requests().is_empty());

    let upstream = answering(&format!("[{},{}]", result(&json!(1), "DENY"), result(&json!(2), "fine")), false);
    let rig = Rig::before(&upstream.url());
    let answers = rig.post(&format!("[{},{}]", call(&json!(1), "fine"), call(&json!(2), "fine"))).json().unwrap();
    check_error(&answers[0], &json!(1));
    check_error(&answers[1], &json!(2));
}

#[test]
fn an_opaque_body_is_refused_to_whoever_sent_it() {
    let upstream = answering("{}", false);
    let rig = Rig::before(&upstream.url());
    assert_eq!(rig.post("DENY this").status(), 403);
    assert!(upstream.requests().is_empty());

    let upstream = Scripted::start(|exchange| exchange.respond(500, &[("Content-Type", "text/html")], b"<p>DENY</p>"));
    let reply = Rig::before(&upstream.url()).post(&call(&json!(4), "fine"));
    assert_eq!(reply.status(), 502);
    check_error(&reply.json().unwrap(), &json!(4));
}

#[test]
fn what_is_too_large_to_be_looked_at_is_denied() {
    let large = "x".repeat(80 << 10);
    let upstream = answering(&result(&json!(1), &large), false);
    let reply = Rig::before(&upstream.url()).post(&call(&json!(1), "fine"));
    assert_eq!(reply.status(), 502);
    check_error(&reply.json().unwrap(), &json!(1));

    let upstream = answering(&result(&json!(1), &large), true);
    let text = Rig::before(&upstream.url()).post(&call(&json!(1), "fine")).text();
    assert!(!text.contains("xxx"), "nothing of it passes");
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    check_error(&serde_json::from_str(data).unwrap(), &json!(1));
}

#[test]
fn a_compressed_request_that_must_be_read_is_denied() {
    let upstream = answering("{}", false);
    assert_eq!(Rig::before(&upstream.url()).post_with(&[("Content-Encoding", "gzip")], "\u{1f}").status(), 403);
    assert!(upstream.requests().is_empty());
    assert_eq!(Rig::bare(&upstream.url()).post_with(&[("Content-Encoding", "gzip")], "\u{1f}").status(), 200);
}

#[test]
fn a_compressed_answer_that_must_be_read_is_denied() {
    let upstream = Scripted::start(|exchange| {
        exchange.respond(200, &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")], b"\x1f\x8b")
    });
    let reply = Rig::before(&upstream.url()).post(&call(&json!(1), "fine"));
    assert_eq!(reply.status(), 502);
    assert_eq!(upstream.requests()[0].head.header("accept-encoding"), Some("identity"));
}

#[test]
fn what_no_policy_can_read_is_denied() {
    let upstream = answering("{}", false);
    let rig = Rig::before(&upstream.url());
    let request = call(&json!(1), "fine");
    for value in ["=?base64?QUtJQQ?=", "=?BASE64?QUtJQQ==?="] {
        check_error(&rig.post_with(&[("Mcp-Param-Key", value)], &request).json().unwrap(), &json!(1));
    }
    check_error(&rig.post_with(&[("Mcp-Param-Key", "x")], &format!("[{request}]")).json().unwrap()[0], &json!(1));
    assert_eq!(rig.post_with(&[("Content-Encoding", "identity, gzip")], &request).status(), 403);
    assert!(upstream.requests().is_empty());

    let upstream = Scripted::start(|exchange| exchange.respond(200, &[("Content-Type", "application/json; charset=utf-16le")], b"{}"));
    assert_eq!(Rig::before(&upstream.url()).post(&request).status(), 502);
}

#[test]
fn json_in_another_encoding_is_denied_whatever_its_head_says() {
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let upstream = answering("{}", false);
    let rig = Rig::before(&upstream.url());
    for body in [wide(&call(&json!(1), "fine")), [b"\xff\xfe", wide("{}").as_slice()].concat(), b"{\"a\":\"\xe9\"}".to_vec()] {
        let mut client = rig.connect();
        client.send(&watchgate_tests::http1::request("POST", "/mcp", &watchgate_tests::http1::MCP_POST, &body)).unwrap();
        assert_eq!(client.reply().unwrap().status(), 403, "{body:?}");
    }
    assert!(upstream.requests().is_empty());

    let answer = wide(&result(&json!(1), "fine"));
    let upstream = Scripted::start(move |exchange| exchange.respond(200, &[("Content-Type", "application/json")], &answer));
    assert_eq!(Rig::before(&upstream.url()).post(&call(&json!(1), "fine")).status(), 502);
}

/// A policy that wants `tools/call` sees every message that a server or client may take for one.
#[test]
fn what_may_be_read_in_two_ways_is_shown_to_every_policy() {
    let upstream = answering(&result(&json!(1), "DENY"), false);
    let rig = Rig::bare(&upstream.url());
    rig.go_live_for("tools/call");
    for request in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"x":"DENY"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":"tools/call","params":{"x":"DENY"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"DENY"},"Params":{}}"#,
    ] {
        check_error(&rig.post(request).json().unwrap(), &json!(1));
    }
    assert!(upstream.requests().is_empty());
    // So are the answers: to a request that was read in two ways, and to an id that two requests have.
    check_error(&rig.post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"ping"}"#).json().unwrap(), &json!(1));
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}]"#;
    check_error(&rig.post(batch).json().unwrap(), &json!(1));
    // And what can only be a ping is none of its business.
    assert!(rig.post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).text().contains("DENY"));
}

/// HTTP+SSE (2024-11-05) has no session but the URL that its stream names.
#[test]
fn a_request_on_the_stream_of_http_sse_is_refused_where_its_client_posts() {
    let upstream = Scripted::start(|exchange| {
        if exchange.request.head.method() != "GET" {
            return exchange.respond(202, &[], b"");
        }
        exchange.event_stream()?;
        exchange.chunk("event: endpoint\ndata: /messages/?session_id=5f0c\n\n")?;
        exchange
            .chunk(format!("data: {}\n\n", json!({"jsonrpc": "2.0", "id": 3, "method": "sampling/createMessage", "params": "DENY"})))?;
        exchange.client_left().map(drop)
    });
    let rig = Rig::before(&upstream.url());
    let mut client = rig.connect();
    client.send(&watchgate_tests::http1::request("GET", "/sse", &[("Accept", "text/event-stream"), ("X-Key", "k")], b"")).unwrap();
    let refusal = wait_until("the server is told", || upstream.requests().into_iter().find(|request| request.head.method() == "POST"));
    assert_eq!((refusal.head.target(), refusal.head.header("x-key")), ("/messages/?session_id=5f0c", Some("k")));
    check_error(&serde_json::from_slice(&refusal.body).unwrap(), &json!(3));
}

#[test]
fn a_denied_event_that_is_no_message_is_a_denial_too() {
    let upstream = answering("DENY", true);
    let rig = Rig::before(&upstream.url());
    assert!(!rig.post(&call(&json!(1), "fine")).text().contains("DENY"));
    rig.wait_for("watchgate_http_requests_total", &[("outcome", "denied")], 1.0);
}

#[test]
fn denied_messages_are_counted_as_denied() {
    let upstream = answering("{}", false);
    let rig = Rig::before(&upstream.url());
    rig.post(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"message":"DENY"}}"#);
    let counted = rig.telemetry.render_prometheus();
    let line = counted.lines().find(|line| line.starts_with("mcp_server_operation_duration_seconds_count") && line.contains("progress"));
    assert!(line.unwrap().contains("outcome=\"denied\""), "{line:?}");
}

#[test]
fn a_path_of_no_server_is_answered_and_counted() {
    let upstream = answering("{}", false);
    let rig = Rig::bare(&upstream.url());
    let mut connection = watchgate_tests::Connection::open(rig.address).unwrap();
    connection.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n").unwrap();
    assert_eq!(connection.reply().unwrap().status(), 501);
    assert!(upstream.requests().is_empty());
}
