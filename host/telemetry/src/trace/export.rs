//! How traces leave the gateway: the queue, and the protocols behind it.

mod console;
mod otlp;
mod zipkin;

use std::sync::Arc;

use super::config::{Exporter, TracesConfig};
use super::record::TraceRecord;
use crate::push::{
    Accepted, DeliveryError, Destination, ExportCounts, Outbox, OutboxSettings, Patience, PushConfigError, Pusher, Transport,
};
use console::Console;
use otlp::OtlpEncoder;
use zipkin::ZipkinEncoder;

/// What waiting traces may hold on to, bytes: with captured arguments a trace may be large.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// What one request may hold, bytes as reckoned for records: collectors take 4 MiB of gRPC by default, and OTLP is more compact.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The producers' end.
pub(super) type TraceOutbox = Outbox<Arc<TraceRecord>>;

/// Starts the configured exporter; `None` where there is none.
pub(super) fn start(config: &TracesConfig, patience: Patience, counts: ExportCounts) -> Result<Option<TraceOutbox>, PushConfigError> {
    let settings = OutboxSettings {
        queue: config.queue,
        queue_bytes: QUEUE_BYTES,
        batch: config.batch.clamp(1, config.queue.max(1)),
        batch_bytes: BATCH_BYTES,
        interval: config.interval,
        patience,
    };
    let outbox = match config.exporter {
        Exporter::None => return Ok(None),
        Exporter::Console => Outbox::start("traces", settings, counts, Console::new(config))?,
        Exporter::OtlpGrpc => Outbox::start("traces", settings, counts, Pushed::new(config, otlp::GRPC, OtlpEncoder::new(config))?)?,
        Exporter::OtlpHttp => Outbox::start("traces", settings, counts, Pushed::new(config, otlp::HTTP, OtlpEncoder::new(config))?)?,
        Exporter::Zipkin => Outbox::start("traces", settings, counts, Pushed::new(config, zipkin::HTTP, ZipkinEncoder::new(config))?)?,
    };
    Ok(Some(outbox))
}

/// Makes a body of a batch.
trait Encoder {
    fn encode(&self, batch: &[Arc<TraceRecord>]) -> Vec<u8>;
}

/// A collector, and the language it is spoken to.
struct Pushed<E> {
    pusher: Pusher,
    encoder: E,
}

impl<E> Pushed<E> {
    fn new(config: &TracesConfig, transport: Transport, encoder: E) -> Result<Self, PushConfigError> {
        Ok(Self { pusher: Pusher::new(&config.push, transport)?, encoder })
    }
}

impl<E: Encoder> Destination<Arc<TraceRecord>> for Pushed<E> {
    fn name(&self) -> String {
        self.pusher.endpoint()
    }

    async fn deliver(&mut self, batch: &[Arc<TraceRecord>]) -> Result<Accepted, DeliveryError> {
        self.pusher.push(self.encoder.encode(batch).into()).await
    }
}
