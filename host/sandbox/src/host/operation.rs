//! `watchgate:plugin/operations`: the finished operation that `observe` is lent.

use std::time::Duration;

use wasmtime::component::Resource;
use watchgate_hooks::Operation;

use super::{LentOperation, Loan, NotLent, message::direction};
use crate::bindings::watchgate::plugin::{messages, operations as wit};
use crate::state::State;

type Lent = Resource<LentOperation>;

impl State {
    fn operation(&mut self) -> wasmtime::Result<&Operation> {
        self.count_host_call()?;
        match &self.loan {
            Loan::Operation(operation) => Ok(operation),
            _ => Err(wasmtime::Error::new(NotLent("operation"))),
        }
    }
}

impl wit::Host for State {}

impl wit::HostOperation for State {
    fn server(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.operation()?.server.to_string())
    }

    fn direction(&mut self, _: Lent) -> wasmtime::Result<messages::Direction> {
        Ok(direction(self.operation()?.direction))
    }

    fn method(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.operation()?.method.to_string())
    }

    fn name(&mut self, _: Lent) -> wasmtime::Result<Option<String>> {
        Ok(self.operation()?.name.as_deref().map(str::to_owned))
    }

    fn outcome(&mut self, _: Lent) -> wasmtime::Result<String> {
        Ok(self.operation()?.outcome.as_str().to_owned())
    }

    fn error_code(&mut self, _: Lent) -> wasmtime::Result<Option<i64>> {
        Ok(self.operation()?.error_code)
    }

    fn duration_us(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(microseconds(self.operation()?.duration))
    }

    fn upstream_us(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(microseconds(self.operation()?.upstream))
    }

    fn request_bytes(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(self.operation()?.request_bytes)
    }

    fn response_bytes(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(self.operation()?.response_bytes)
    }

    fn argument_bytes(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(self.operation()?.argument_bytes)
    }

    fn result_bytes(&mut self, _: Lent) -> wasmtime::Result<u64> {
        Ok(self.operation()?.result_bytes)
    }

    fn content(&mut self, _: Lent) -> wasmtime::Result<Vec<wit::ContentCount>> {
        let counts = &self.operation()?.content;
        let counts = [
            ("text", counts.text),
            ("image", counts.image),
            ("audio", counts.audio),
            ("resource", counts.resource),
            ("resource_link", counts.resource_link),
            ("other", counts.other),
        ];
        let occurred = counts.into_iter().filter(|(_, count)| *count > 0);
        Ok(occurred.map(|(content_type, count)| wit::ContentCount { content_type: content_type.to_owned(), count }).collect())
    }

    fn protocol_version(&mut self, _: Lent) -> wasmtime::Result<Option<String>> {
        Ok(self.operation()?.protocol_version.as_deref().map(str::to_owned))
    }

    fn request_text(&mut self, _: Lent) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.operation()?.request_text.as_deref().map(<[u8]>::to_vec))
    }

    fn response_text(&mut self, _: Lent) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.operation()?.response_text.as_deref().map(<[u8]>::to_vec))
    }

    fn drop(&mut self, _: Lent) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
