//! One request of an operator, answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use serde_json::json;
use tokio::sync::watch;
use watchgate_alerts::Alerts;
use watchgate_health::{Health, Overall};
use watchgate_hooks::StatusBoard;
use watchgate_telemetry::Telemetry;
use watchgate_telemetry::log::LogHandle;

use crate::answer::{self, Answer};
use crate::breakers;
use crate::commands::{Commands, ConfigReload};
use crate::guard::Guard;
use crate::route::Route;
use crate::secret::Secret;
use crate::{compressed, cpu_profile, heap_profile, log_level, logs, runtime_tasks, traces};

/// Hardly a request here needs a body; a small one is read all the same, so that the connection can be used again.
const MAX_BODY: usize = 64 * 1024;
/// Where metrics are whatever the configuration says.
const METRICS: &str = "/metrics";
const BODY_DEADLINE: Duration = Duration::from_secs(5);

/// What this listener shows and does.
#[derive(Clone)]
pub struct AdminState {
    /// Where metrics are, beside `/metrics`.
    pub metrics_path: String,
    /// For `/metrics`.
    pub telemetry: Arc<Telemetry>,
    /// For `/health*`.
    pub health: Arc<Health>,
    /// For `/api/alerts`.
    pub alerts: Arc<Alerts>,
    /// For `/api/plugins`.
    pub board: Arc<StatusBoard>,
    /// For `POST`s.
    pub commands: Arc<dyn Commands>,
    /// For `/admin/log-level`.
    pub log: LogHandle,
    /// Required on everything but `/health*` when there is one.
    pub token: Option<Secret>,
    /// Names by which operators may address the listener on loopback, besides `localhost` and addresses; lower case, without port.
    pub own_names: Vec<String>,
}

/// Answers requests by the rules of `guard`.
pub(crate) struct OperatorApi {
    pub state: AdminState,
    pub guard: Guard,
    /// True ends waits for something to happen.
    pub shutdown: watch::Receiver<bool>,
}

impl OperatorApi {
    /// Answers one request. Never fails: what is wrong is an answer too.
    pub async fn serve(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let path = if head.uri.path() == self.state.metrics_path { METRICS } else { head.uri.path() };
        let open = Route::of_path(path).is_some_and(Route::is_open);
        let mut answer = match self.guard.admit(&head.uri, &head.headers, open) {
            Err(why) => answer::turned_away(why),
            Ok(()) => match Route::of(&head.method, path) {
                Err(why) => answer::no_route(why),
                Ok(route) => match read_body(body).await {
                    Err(refusal) => *refusal,
                    Ok(body) => return self.answer(route, &head, &body).await,
                },
            },
        };
        // The body of a refused request is not read; what follows on the connection would be taken for a request.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    async fn answer(&self, route: Route, head: &Parts, body: &[u8]) -> Answer {
        let (state, query) = (&self.state, head.uri.query());
        match route {
            Route::Metrics => self.metrics(compressed::takes_gzip(&head.headers)).await,
            Route::Health => {
                let snapshot = state.health.snapshot();
                answer::json(status_of(snapshot.status != Overall::Failing), &snapshot)
            }
            Route::Live => answer::json(StatusCode::OK, &json!({ "status": "live" })),
            Route::Ready => {
                let snapshot = state.health.snapshot();
                let word = if snapshot.ready { "ready" } else { "not_ready" };
                answer::json(status_of(snapshot.ready), &json!({ "status": word, "because": snapshot.not_ready_because }))
            }
            Route::Startup => {
                let started = state.health.snapshot().startup;
                let word = if started { "started" } else { "starting" };
                answer::json(status_of(started), &json!({ "status": word }))
            }
            Route::Plugins => answer::json(StatusCode::OK, &json!({ "plugins": *state.board.read() })),
            Route::Alerts => answer::json(StatusCode::OK, &state.alerts.snapshot()),
            Route::ReloadPlugins => {
                state.commands.reload_plugins();
                answer::json(StatusCode::ACCEPTED, &json!({ "status": "accepted" }))
            }
            Route::Config => answer::json(StatusCode::OK, &state.commands.config()),
            Route::ReloadConfig => {
                let reload = state.commands.reload_config().await;
                let status = match reload {
                    ConfigReload::Applied { .. } => StatusCode::OK,
                    ConfigReload::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                    ConfigReload::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                };
                answer::json(status, &reload)
            }
            Route::Breakers => answer::json(StatusCode::OK, &json!({ "breakers": state.commands.breakers() })),
            Route::ForceBreaker => breakers::force(&*state.commands, head.uri.path(), body),
            Route::Traces => traces::list(&state.telemetry, query),
            Route::Trace => traces::one(&state.telemetry, head.uri.path()),
            Route::Overview => answer::json(StatusCode::OK, &state.telemetry.overview()),
            Route::Cardinality => answer::json(StatusCode::OK, &state.telemetry.cardinality()),
            Route::Logs => logs::page(&state.telemetry, query, self.shutdown.clone()).await,
            Route::LogLevel => log_level::show(&state.log),
            Route::CpuProfile => cpu_profile::take(query, self.shutdown.clone()).await,
            Route::HeapProfile => heap_profile::take(query, self.shutdown.clone()).await,
            Route::RuntimeTasks => runtime_tasks::show(&state.telemetry),
            Route::SetLogLevel => log_level::set(&state.log, body),
        }
    }

    /// Rendering tens of thousands of series takes milliseconds, which traffic on this worker should not wait for.
    async fn metrics(&self, gzip: bool) -> Answer {
        let telemetry = Arc::clone(&self.state.telemetry);
        match tokio::task::spawn_blocking(move || answer::metrics(telemetry.render_prometheus(), gzip)).await {
            Ok(answer) => answer,
            Err(end) => {
                tracing::error!(%end, "the metrics could not be rendered");
                answer::error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the metrics could not be rendered")
            }
        }
    }
}

fn status_of(well: bool) -> StatusCode {
    if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn read_body(body: Incoming) -> Result<Bytes, Box<Answer>> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let refusal = match tokio::time::timeout(BODY_DEADLINE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => return Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            answer::error(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "no request here needs such a body")
        }
        Ok(Err(_)) => answer::error(StatusCode::BAD_REQUEST, "body_broken", "the body is not whole"),
        Err(_) => answer::error(StatusCode::REQUEST_TIMEOUT, "body_slow", "the body did not come in time"),
    };
    Err(Box::new(refusal))
}
