//! Which path is what. Pure.

use http::Method;

use crate::{breakers, traces};

/// Beginnings of paths that are this listener's own.
const OWN: [&str; 5] = ["/api/", "/admin/", "/debug/", "/health", "/metrics"];

/// Whether a path is this listener's own, so that nothing else can be put there.
pub fn is_taken(path: &str) -> bool {
    path == "/" || OWN.iter().any(|own| path.starts_with(own))
}

/// Everything this listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Metrics,
    Health,
    Live,
    Ready,
    Startup,
    Plugins,
    Alerts,
    ReloadPlugins,
    Config,
    ReloadConfig,
    Breakers,
    ForceBreaker,
    Traces,
    Trace,
    Overview,
    Cardinality,
    Logs,
    LogLevel,
    SetLogLevel,
    CpuProfile,
    HeapProfile,
    RuntimeTasks,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    NotFound,
    MethodNotAllowed { allow: &'static str },
}

const READ: &str = "GET, HEAD";

impl Route {
    /// The route of a path, whatever the method.
    pub fn of_path(path: &str) -> Option<Self> {
        Some(match path {
            "/metrics" => Self::Metrics,
            "/health" => Self::Health,
            "/health/live" => Self::Live,
            "/health/ready" => Self::Ready,
            "/health/startup" => Self::Startup,
            "/api/plugins" => Self::Plugins,
            "/api/alerts" => Self::Alerts,
            "/api/plugins/reload" => Self::ReloadPlugins,
            "/api/config" => Self::Config,
            "/api/config/reload" => Self::ReloadConfig,
            "/api/breakers" => Self::Breakers,
            path if path.starts_with(breakers::PREFIX) => Self::ForceBreaker,
            "/api/traces" => Self::Traces,
            path if path.starts_with(traces::PREFIX) => Self::Trace,
            "/metrics/custom" => Self::Overview,
            "/api/cardinality" => Self::Cardinality,
            "/api/logs" => Self::Logs,
            "/admin/log-level" => Self::LogLevel,
            "/debug/pprof/profile" => Self::CpuProfile,
            "/debug/pprof/heap" => Self::HeapProfile,
            "/debug/pprof/tasks" => Self::RuntimeTasks,
            _ => return None,
        })
    }

    /// The route of a request. `HEAD` is `GET` whose body is not sent.
    pub fn of(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let route = Self::of_path(path).ok_or(NoRoute::NotFound)?;
        let allow = match route {
            Self::LogLevel if method == Method::PUT => return Ok(Self::SetLogLevel),
            Self::LogLevel => "GET, HEAD, PUT",
            Self::ReloadPlugins | Self::ReloadConfig | Self::ForceBreaker => "POST",
            _ => READ,
        };
        let allowed = allow.split(", ").any(|allowed| allowed == method.as_str());
        if allowed { Ok(route) } else { Err(NoRoute::MethodNotAllowed { allow }) }
    }

    /// Probes carry no token, and tell nothing that a token should protect.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Health | Self::Live | Self::Ready | Self::Startup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_or_may_come_is_taken() {
        let check = |path: &str, expected: bool| assert_eq!(is_taken(path), expected, "{path}");
        for taken in ["/", "/metrics", "/metrics/custom", "/health/live", "/api/plugins", "/admin/log-level", "/debug/pprof/heap"] {
            check(taken, true);
        }
        check("/prometheus", false);
        check("/internal/metrics", false);
    }

    #[test]
    fn routes_are_exact() {
        let check = |method: Method, path: &str, expected| assert_eq!(Route::of(&method, path), expected, "{method} {path}");
        check(Method::GET, "/metrics", Ok(Route::Metrics));
        check(Method::HEAD, "/health", Ok(Route::Health));
        check(Method::POST, "/api/plugins/reload", Ok(Route::ReloadPlugins));
        check(Method::GET, "/api/plugins/reload", Err(NoRoute::MethodNotAllowed { allow: "POST" }));
        check(Method::GET, "/api/breakers", Ok(Route::Breakers));
        check(Method::POST, "/api/breakers/a/h:1", Ok(Route::ForceBreaker));
        check(Method::GET, "/api/config/reload", Err(NoRoute::MethodNotAllowed { allow: "POST" }));
        check(Method::GET, "/api/traces/4bf92f3577b34da6a3ce929d0e0e4736", Ok(Route::Trace));
        check(Method::GET, "/admin/log-level", Ok(Route::LogLevel));
        check(Method::PUT, "/admin/log-level", Ok(Route::SetLogLevel));
        check(Method::POST, "/admin/log-level", Err(NoRoute::MethodNotAllowed { allow: "GET, HEAD, PUT" }));
        check(Method::PUT, "/api/logs", Err(NoRoute::MethodNotAllowed { allow: READ }));
        check(Method::DELETE, "/api/plugins", Err(NoRoute::MethodNotAllowed { allow: READ }));
        for unknown in ["/", "/metrics/", "/Metrics", "/health/../metrics", "//metrics", "*", ""] {
            check(Method::GET, unknown, Err(NoRoute::NotFound));
        }
    }
}
