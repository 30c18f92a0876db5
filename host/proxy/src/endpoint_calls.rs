//! The endpoints of configured servers one by one, for those who ask how each of them is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use watchgate_hooks::{
    BoxFuture, KeptFrom, UpstreamCallError, UpstreamCalls, UpstreamEndpoint, UpstreamEndpoints, UpstreamRequest, UpstreamResponse,
};

use crate::breaker::{BreakerState, Forced};
use crate::calls::{awaited_id, outgoing, respond, try_connect};
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::forward::ask;
use crate::server::{Server, Shared};

/// Those of the configuration in force.
pub(crate) struct Endpoints(pub(crate) Arc<Shared>);

/// One endpoint, as it was configured when it was asked for.
struct EndpointCalls {
    shared: Arc<Shared>,
    server: Arc<Server>,
    endpoint: Arc<Endpoint>,
}

impl UpstreamEndpoints for Endpoints {
    fn endpoints(&self, server: &str) -> Vec<Arc<dyn UpstreamEndpoint>> {
        let plan = self.0.plan.load();
        let server = plan.servers.iter().find(|known| &*known.name == server);
        let calls = |server: &Arc<Server>, endpoint: &Arc<Endpoint>| -> Arc<dyn UpstreamEndpoint> {
            Arc::new(EndpointCalls { shared: self.0.clone(), server: server.clone(), endpoint: endpoint.clone() })
        };
        server.into_iter().flat_map(|server| server.endpoints.iter().map(move |endpoint| calls(server, endpoint))).collect()
    }
}

impl EndpointCalls {
    async fn send_now(&self, request: UpstreamRequest, deadline: Duration) -> Result<UpstreamResponse, UpstreamCallError> {
        let awaited = awaited_id(&request);
        let asked = ask(&self.shared, &self.server, &self.endpoint, outgoing(&self.server, request)?).await;
        let answered = asked.map_err(|(fault, trouble)| match fault {
            Fault::ConnectTimeout | Fault::HeadTimeout => UpstreamCallError::Timeout(deadline),
            _ => UpstreamCallError::Unreachable(trouble.text),
        })?;
        respond(answered, awaited.as_ref()).await
    }
}

impl UpstreamCalls for EndpointCalls {
    fn servers(&self) -> Vec<String> {
        vec![self.server.name.to_string()]
    }

    fn connect<'a>(&'a self, _server: &'a str, deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        Box::pin(try_connect(&self.endpoint, deadline))
    }

    fn send<'a>(
        &'a self,
        _server: &'a str,
        request: UpstreamRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(
            async move { timeout(deadline, self.send_now(request, deadline)).await.unwrap_or(Err(UpstreamCallError::Timeout(deadline))) },
        )
    }
}

impl UpstreamEndpoint for EndpointCalls {
    fn authority(&self) -> &str {
        &self.endpoint.authority
    }

    fn kept_from(&self) -> KeptFrom {
        match (self.endpoint.breaker.state(Instant::now()), self.endpoint.breaker.forced()) {
            (BreakerState::Open, Forced::Open) => KeptFrom::ByHand,
            (BreakerState::Open, _) => KeptFrom::ByBreaker,
            (BreakerState::Closed | BreakerState::HalfOpen, _) => KeptFrom::Nobody,
        }
    }

    fn note_probe(&self, answered: bool) {
        // Another configuration of it may have come meanwhile.
        let is_current = self.shared.plan.load().servers.iter().any(|current| Arc::ptr_eq(current, &self.server));
        if is_current && self.server.is_probed_by_endpoint() {
            self.endpoint.note_probe(answered);
        }
    }
}
