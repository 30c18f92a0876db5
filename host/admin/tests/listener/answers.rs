//! What is answered to whom asks rightly.

use watchgate_hooks::{HookSet, KindSet, PluginState, PluginStatus};

use crate::scene::Scene;

#[tokio::test]
async fn metrics_are_text_that_prometheus_reads() {
    let scene = Scene::begin(None, &["weather"]).await;
    let heard = scene.ask("GET /metrics", &[]).await;
    assert_eq!((heard.status, heard.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    assert!(heard.body.contains("# TYPE watchgate_build_info gauge"), "{}", heard.body);
    assert!(heard.body.ends_with('\n'));
}

#[tokio::test]
async fn probes_follow_the_life_of_the_gateway() {
    let scene = Scene::begin(None, &[]).await;
    let check = async |expected: [u16; 4]| {
        let mut statuses = [0; 4];
        for (status, path) in statuses.iter_mut().zip(["/health/live", "/health/ready", "/health/startup", "/health"]) {
            *status = scene.ask(&format!("GET {path}"), &[]).await.status;
        }
        assert_eq!(statuses, expected);
    };
    check([200, 503, 503, 503]).await;
    scene.health.set_startup_done();
    check([200, 200, 200, 200]).await;
    scene.live.swap(HookSet { missing_required: vec!["redact".to_owned()], ..HookSet::empty() });
    check([200, 503, 200, 503]).await;
    let because = scene.ask("GET /health/ready", &[]).await.json();
    assert_eq!(because, serde_json::json!({ "status": "not_ready", "because": ["required plugin `redact` is not live"] }));
    scene.live.swap(HookSet::empty());
    check([200, 200, 200, 200]).await;
    scene.health.set_draining();
    check([200, 503, 200, 503]).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_degrades_and_is_named() {
    let scene = Scene::begin(None, &["weather"]).await;
    scene.health.set_startup_done();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let heard = scene.ask("GET /health", &[]).await;
    let json = heard.json();
    assert_eq!((heard.status, &json["status"], &json["ready"]), (200, &"degraded".into(), &true.into()));
    let upstream = json["checks"].as_array().unwrap().iter().find(|check| check["kind"] == "upstream").unwrap();
    assert_eq!((&upstream["name"], &upstream["status"]), (&"weather".into(), &"failing".into()));
    assert_eq!(upstream["detail"], "the server is not configured");
}

#[tokio::test]
async fn plugins_and_alerts_are_shown_as_json() {
    let scene = Scene::begin(None, &[]).await;
    assert_eq!(scene.ask("GET /api/plugins", &[]).await.json(), serde_json::json!({ "plugins": [] }));
    scene.board.publish(vec![PluginStatus {
        name: "redact".to_owned(),
        state: PluginState::Refused,
        required: true,
        kinds: KindSet::new(),
        generation: None,
        hash: None,
        size_bytes: None,
        live_since_ms: None,
        refusal: Some("not-wasm"),
        refusal_detail: Some("the file begins with `PK`".to_owned()),
        refused_at_ms: Some(1),
    }]);
    let plugins = scene.ask("GET /api/plugins", &[]).await.json();
    assert_eq!((&plugins["plugins"][0]["name"], &plugins["plugins"][0]["refusal"]), (&"redact".into(), &"not-wasm".into()));
    let alerts = scene.ask("GET /api/alerts", &[]).await.json();
    assert_eq!((&alerts["rules"], &alerts["alerts"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[tokio::test]
async fn a_reload_is_asked_for_by_post() {
    let scene = Scene::begin(None, &[]).await;
    let refused = scene.ask("GET /api/plugins/reload", &[]).await;
    assert_eq!((refused.status, refused.header("allow"), scene.reloads()), (405, Some("post"), 0));
    assert_eq!(scene.ask("POST /api/plugins/reload", &["Content-Length: 0"]).await.status, 202);
    assert_eq!(scene.reloads(), 1);
}

#[tokio::test]
async fn a_reload_of_the_configuration_says_what_came_of_it() {
    let scene = Scene::begin(None, &[]).await;
    let applied = scene.post("/api/config/reload", "").await;
    let expected = serde_json::json!({ "status": "applied", "changed": ["listeners"], "needs_restart": ["admin"] });
    assert_eq!((applied.status, applied.json()), (200, expected));
    let refused = scene.post("/api/config/reload", "").await;
    let expected = serde_json::json!({ "status": "refused", "complaints": [
        { "file": "watchgate.toml", "line": 3, "text": "unknown key" }, { "text": "no server" },
    ] });
    assert_eq!((refused.status, refused.json()), (422, expected));
    let unavailable = scene.post("/api/config/reload", "").await;
    assert_eq!((unavailable.status, unavailable.json()), (503, serde_json::json!({ "status": "unavailable" })));
    assert_eq!(scene.ask("GET /api/config", &[]).await.json()["admin"], "127.0.0.1:9090");
}

#[tokio::test]
async fn breakers_are_shown_and_set_by_hand() {
    let scene = Scene::begin(None, &[]).await;
    let check = async |path: &str, body: &str, status: u16, forced: Option<&str>| {
        let heard = scene.post(path, body).await;
        assert_eq!(heard.status, status, "{path} {body}");
        let breakers = scene.ask("GET /api/breakers", &[]).await.json();
        assert_eq!(breakers["breakers"][0]["forced"].as_str(), forced, "{path} {body}");
        heard.json()
    };
    let opened = check("/api/breakers/weather", r#"{"state":"open"}"#, 200, Some("open")).await;
    let expected = serde_json::json!({ "server": "weather", "endpoint": "[::1]:3001", "state": "open", "forced": "open" });
    assert_eq!(opened, serde_json::json!({ "breakers": [expected] }));
    check("/api/breakers/weather/%5B::1%5D:3001", r#"{"state":"closed"}"#, 200, Some("closed")).await;
    check("/api/breakers/weather/h:1", r#"{"state":"open"}"#, 404, Some("closed")).await;
    check("/api/breakers/files", r#"{"state":"open"}"#, 404, Some("closed")).await;
    check("/api/breakers/", r#"{"state":"open"}"#, 404, Some("closed")).await;
    for wrong in ["", "open", "{}", r#"{"state":1}"#, r#"{"state":"ajar"}"#, r#"["open"]"#] {
        let refused = check("/api/breakers/weather", wrong, 400, Some("closed")).await;
        assert_eq!(refused["error"]["code"], "state", "{wrong}");
    }
    check("/api/breakers/weather", r#"{"state":"automatic"}"#, 200, None).await;
    assert_eq!(scene.ask("GET /api/breakers/weather", &[]).await.status, 405);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let scene = Scene::begin(None, &[]).await;
    scene.health.set_startup_done();
    for path in ["/metrics", "/prometheus", "/health/ready", "/api/plugins", "/nowhere"] {
        let got = scene.ask(&format!("GET {path}"), &[]).await;
        let head = scene.ask(&format!("HEAD {path}"), &[]).await;
        assert_eq!((head.status, head.body.as_str()), (got.status, ""), "{path}");
        assert_eq!(head.header("content-type"), got.header("content-type"));
        assert!(head.header("content-length").is_some_and(|length| length != "0"), "{head:?}");
    }
}

#[tokio::test]
async fn errors_are_json() {
    let scene = Scene::begin(None, &[]).await;
    let check = async |request: &str, status: u16, code: &str| {
        let heard = scene.ask(request, &[]).await;
        assert_eq!((heard.status, &heard.json()["error"]["code"]), (status, &code.into()), "{request}");
    };
    check("GET /", 404, "not_found").await;
    check("GET /metrics/..", 404, "not_found").await;
    check("DELETE /metrics", 405, "method_not_allowed").await;
    check("PUT /health", 405, "method_not_allowed").await;
}
