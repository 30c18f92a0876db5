//! By gRPC, to tonic's server code for OTLP that `opentelemetry-proto` generates.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use tokio::net::TcpListener;
use tonic::codegen::Service;
use tonic::{Response, Status};
use watchgate_telemetry::OtlpProtocol;

use crate::everything::say_everything;
use crate::logs::the_log;
use crate::metrics::check_equal;
use crate::scene::{self, LONG};

pub struct GrpcCollector {
    address: SocketAddr,
    pub metrics: Receiver<ExportMetricsServiceRequest>,
    pub logs: Receiver<ExportLogsServiceRequest>,
}

#[derive(Clone)]
struct Collecting {
    metrics: Sender<ExportMetricsServiceRequest>,
    logs: Sender<ExportLogsServiceRequest>,
}

#[tonic::async_trait]
impl MetricsService for Collecting {
    async fn export(&self, request: tonic::Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        drop(self.metrics.send(request.into_inner()));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collecting {
    async fn export(&self, request: tonic::Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        drop(self.logs.send(request.into_inner()));
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl GrpcCollector {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (to_metrics, metrics) = channel();
        let (to_logs, logs) = channel();
        let collecting = Collecting { metrics: to_metrics, logs: to_logs };
        // It ends with the tests.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept(listener, collecting));
        });
        Self { address, metrics, logs }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn accept(listener: std::net::TcpListener, collecting: Collecting) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let collecting = collecting.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let collecting = collecting.clone();
            async move {
                let answer = if request.uri().path().contains("MetricsService") {
                    MetricsServiceServer::new(collecting).call(request).await
                } else {
                    LogsServiceServer::new(collecting).call(request).await
                };
                answer.map_err(|never: Infallible| match never {})
            }
        });
        let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { drop::<Result<(), hyper::Error>>(serving.await) });
    }
}

#[test]
fn what_is_pushed_by_grpc_is_what_is_scraped() {
    // At another time than a test that looks at what clients say in the log.
    let (_log, _alone) = the_log();
    let collector = GrpcCollector::start();
    let telemetry = scene::metrics_to(&collector.url(), OtlpProtocol::Grpc);
    let _held = say_everything(&telemetry);
    assert!(telemetry.flush_exports(LONG));
    check_equal(&telemetry, &[collector.metrics.recv_timeout(LONG).unwrap()]);
}
