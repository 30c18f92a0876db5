//! `watchgate:plugin/messages`: the message that `redact` is lent, and its edits.

use wasmtime::component::Resource;
use watchgate_hooks::{EditDraft, EditError, Kind, Message, Surface};
use watchgate_mcp::Direction;

use super::{LentMessage, Loan, NotLent};
use crate::bindings::watchgate::plugin::messages as wit;
use crate::state::State;

impl State {
    fn message(&mut self) -> wasmtime::Result<(&Message, &mut EditDraft)> {
        self.count_host_call()?;
        match &mut self.loan {
            Loan::Message { message, edits } => Ok((message, edits)),
            _ => Err(wasmtime::Error::new(NotLent("message"))),
        }
    }
}

impl wit::Host for State {}

impl wit::HostMessage for State {
    fn body(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.message()?.0.body.to_vec())
    }

    fn body_length(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.message()?.0.body.len())?)
    }

    fn kind(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<wit::Kind> {
        Ok(match self.message()?.0.kind {
            Kind::Request => wit::Kind::Request,
            Kind::Notification => wit::Kind::Notification,
            Kind::Response => wit::Kind::Response,
            Kind::Error => wit::Kind::Error,
            Kind::Fields => wit::Kind::Fields,
            Kind::Opaque => wit::Kind::Opaque,
        })
    }

    fn direction(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<wit::Direction> {
        Ok(direction(self.message()?.0.direction))
    }

    fn surface(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<wit::Surface> {
        Ok(match self.message()?.0.surface {
            Surface::Wire => wit::Surface::Wire,
            Surface::Telemetry => wit::Surface::Telemetry,
        })
    }

    fn server(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<String> {
        Ok(self.message()?.0.server.to_string())
    }

    fn method(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<Option<String>> {
        Ok(self.message()?.0.method.as_deref().map(str::to_owned))
    }

    fn name(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<Option<String>> {
        Ok(self.message()?.0.name.as_deref().map(str::to_owned))
    }

    fn header(&mut self, _: Resource<LentMessage>, name: String) -> wasmtime::Result<Option<String>> {
        let headers = &self.message()?.0.headers;
        Ok(headers.iter().find(|header| header.name.eq_ignore_ascii_case(&name)).map(|header| header.value.to_string()))
    }

    fn header_names(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<Vec<String>> {
        Ok(self.message()?.0.headers.iter().map(|header| header.name.to_string()).collect())
    }

    fn mask(&mut self, _: Resource<LentMessage>, start: u32, end: u32, replacement: String) -> wasmtime::Result<Result<(), String>> {
        Ok(sentence(self.message()?.1.mask(start as usize, end as usize, replacement)))
    }

    fn set_json(&mut self, _: Resource<LentMessage>, pointer: String, json: String) -> wasmtime::Result<Result<(), String>> {
        Ok(sentence(self.message()?.1.set_json(pointer, json)))
    }

    fn set_body(&mut self, _: Resource<LentMessage>, body: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(sentence(self.message()?.1.set_body(body.into())))
    }

    fn drop(&mut self, _: Resource<LentMessage>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn sentence(outcome: Result<(), EditError>) -> Result<(), String> {
    outcome.map_err(|error| error.to_string())
}

/// A direction in the contract's words.
pub(super) fn direction(direction: Direction) -> wit::Direction {
    match direction {
        Direction::ClientToServer => wit::Direction::ClientToServer,
        Direction::ServerToClient => wit::Direction::ServerToClient,
    }
}
