//! `watchgate:plugin/metrics`: what a plugin declares in `start` and records afterwards.

use wasmtime::component::Resource;
use watchgate_telemetry::{Declaration, MetricId, MetricKind};

use super::NotLent;
use crate::bindings::watchgate::plugin::metrics as wit;
use crate::state::State;

/// Metrics that one instance may declare, so that dropping and declaring again in a loop ends.
const MAX_DECLARATIONS: usize = 1000;

/// A metric behind a handle: the handle's number is its place in the instance's list.
pub(crate) struct DeclaredMetric(MetricId);

/// Stands for `metrics.counter`.
pub enum CounterHandle {}
/// Stands for `metrics.gauge`.
pub enum GaugeHandle {}
/// Stands for `metrics.histogram`.
pub enum HistogramHandle {}

impl State {
    fn declare<T: 'static>(&mut self, declaration: Declaration) -> wasmtime::Result<Result<Resource<T>, String>> {
        self.count_host_call()?;
        if self.draft.is_none() {
            return Ok(Err("metrics are declared in `start` only".to_owned()));
        }
        if self.declared.len() >= MAX_DECLARATIONS {
            return Ok(Err(format!("more than {MAX_DECLARATIONS} declarations")));
        }
        let handle = u32::try_from(self.declared.len())?;
        Ok(match self.plugin.metrics.declare(declaration) {
            Ok(id) => {
                self.declared.push(DeclaredMetric(id));
                Ok(Resource::new_own(handle))
            }
            Err(error) => Err(error.to_string()),
        })
    }

    /// The metric to record to; `None` where nothing counts.
    fn metric<T: 'static>(&mut self, handle: &Resource<T>) -> wasmtime::Result<Option<MetricId>> {
        self.count_host_call()?;
        let metric = self.declared.get(handle.rep() as usize);
        let id = metric.map(|metric| metric.0).ok_or_else(|| wasmtime::Error::new(NotLent("metric")))?;
        Ok((!self.is_sample).then_some(id))
    }
}

fn declaration(kind: MetricKind, name: String, help: String, unit: String, labels: Vec<String>, buckets: Vec<f64>) -> Declaration {
    Declaration { kind, name, help, unit, labels, buckets }
}

impl wit::Host for State {
    fn declare_counter(
        &mut self,
        name: String,
        help: String,
        unit: String,
        labels: Vec<String>,
    ) -> wasmtime::Result<Result<Resource<CounterHandle>, String>> {
        self.declare(declaration(MetricKind::Counter, name, help, unit, labels, Vec::new()))
    }

    fn declare_gauge(
        &mut self,
        name: String,
        help: String,
        unit: String,
        labels: Vec<String>,
    ) -> wasmtime::Result<Result<Resource<GaugeHandle>, String>> {
        self.declare(declaration(MetricKind::Gauge, name, help, unit, labels, Vec::new()))
    }

    fn declare_histogram(
        &mut self,
        name: String,
        help: String,
        unit: String,
        labels: Vec<String>,
        buckets: Vec<f64>,
    ) -> wasmtime::Result<Result<Resource<HistogramHandle>, String>> {
        self.declare(declaration(MetricKind::Histogram, name, help, unit, labels, buckets))
    }
}

impl wit::HostCounter for State {
    fn add(&mut self, handle: Resource<CounterHandle>, value: f64, labels: Vec<String>) -> wasmtime::Result<()> {
        if let Some(id) = self.metric(&handle)? {
            self.plugin.metrics.add(id, value, &labels);
        }
        Ok(())
    }

    fn drop(&mut self, _: Resource<CounterHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wit::HostGauge for State {
    fn set(&mut self, handle: Resource<GaugeHandle>, value: f64, labels: Vec<String>) -> wasmtime::Result<()> {
        if let Some(id) = self.metric(&handle)? {
            self.plugin.metrics.set(id, value, &labels);
        }
        Ok(())
    }

    fn drop(&mut self, _: Resource<GaugeHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wit::HostHistogram for State {
    fn observe(&mut self, handle: Resource<HistogramHandle>, value: f64, labels: Vec<String>) -> wasmtime::Result<()> {
        if let Some(id) = self.metric(&handle)? {
            self.plugin.metrics.observe(id, value, &labels);
        }
        Ok(())
    }

    fn drop(&mut self, _: Resource<HistogramHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}
