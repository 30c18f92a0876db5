//! Who is let in.

use tokio::net::TcpListener;
use tokio::sync::watch;
use watchgate_admin::AdminError;

use crate::scene::Scene;

const PROTECTED: [&str; 14] = [
    "GET /debug/pprof/profile?seconds=0",
    "GET /debug/pprof/heap?seconds=0",
    "GET /debug/pprof/tasks",
    "GET /metrics",
    "GET /metrics/custom",
    "GET /api/plugins",
    "GET /api/alerts",
    "GET /api/traces",
    "GET /api/traces/4bf92f3577b34da6a3ce929d0e0e4736",
    "GET /api/cardinality",
    "GET /api/logs",
    "GET /admin/log-level",
    "PUT /admin/log-level",
    "GET /nowhere",
];
const OPEN: [&str; 4] = ["GET /health/live", "GET /health/ready", "GET /health/startup", "GET /health"];

#[tokio::test]
async fn a_token_is_required_on_everything_but_health() {
    let scene = Scene::begin(Some("t0ken"), &[]).await;
    scene.health.set_startup_done();
    for request in PROTECTED {
        let refused = scene.ask(request, &[]).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("bearer")), "{request}");
        assert_eq!(scene.ask(request, &["Authorization: Bearer wrong"]).await.status, 401, "{request}");
        assert!(!refused.body.contains("t0ken"));
        assert_ne!(scene.ask(request, &["Authorization: Bearer t0ken"]).await.status, 401, "{request}");
    }
    for request in OPEN {
        assert_eq!(scene.ask(request, &[]).await.status, 200, "{request}");
    }
    assert_eq!(scene.ask("POST /api/plugins/reload", &["Content-Length: 0"]).await.status, 401);
    assert_eq!(scene.reloads(), 0);
}

#[tokio::test]
async fn names_that_could_be_rebound_are_turned_away() {
    let scene = Scene::begin(None, &[]).await;
    scene.health.set_startup_done();
    for (host, status) in [("localhost:9090", 200), ("watchgate.internal", 200), ("evil.example", 421)] {
        for request in ["GET /metrics", "GET /health"] {
            assert_eq!(scene.ask(request, &[&format!("Host: {host}")]).await.status, status, "{request} {host}");
        }
    }
    assert_eq!(scene.ask("GET /metrics", &["Origin: http://evil.example"]).await.status, 403);
    let other_page = scene.ask("POST /api/plugins/reload", &["Origin: http://evil.example", "Content-Length: 0"]).await;
    assert_eq!((other_page.status, scene.reloads()), (403, 0));
}

#[tokio::test]
async fn an_address_for_everybody_needs_a_token() {
    let scene = Scene::on("0.0.0.0:0", None, &[]).await;
    let refused = scene.served.await.unwrap();
    assert!(matches!(refused, Err(AdminError::TokenRequired(_))), "{refused:?}");
    let scene = Scene::on("0.0.0.0:0", Some("t0ken"), &[]).await;
    // Reached under any name, because the token is what protects it.
    let heard = scene.ask("GET /api/plugins", &["Host: admin.example", "Authorization: Bearer t0ken"]).await;
    assert_eq!(heard.status, 200);
    assert_eq!(scene.ask("GET /api/plugins", &["Host: admin.example"]).await.status, 401);
}

#[tokio::test]
async fn the_address_is_free_after_the_end() {
    let scene = Scene::begin(None, &[]).await;
    let idle = scene.connect().await;
    assert_eq!(scene.ask("GET /health/live", &[]).await.status, 200);
    scene.shutdown.send(true).unwrap();
    scene.served.await.unwrap().unwrap();
    TcpListener::bind(scene.address).await.expect("the listener is closed");
    drop((idle, watch::Sender::new(())));
}
