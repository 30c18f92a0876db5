//! One instance of a component in a store of its own, from `start` to its last call.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use watchgate_hooks::{FailureReason, HookFailure};

use crate::code::Code;
use crate::exports::{Answer, Ask, Guests};
use crate::failure::{classify, cut};
use crate::host::{Draft, Loan};
use crate::meter::{Meter, metered};
use crate::plugin::Plugin;
use crate::settings::Limits;
use crate::state::State;

/// Bytes that a guest may hand to one host function: a whole body and some.
const HOSTCALL_BYTES: usize = 20 * 1024 * 1024;
/// Handles that an instance may hold at once.
const HANDLES: usize = 10_000;

/// A started instance. Not used again after a failed call: a guest that was stopped is in no known state.
pub(crate) struct Instance {
    store: Store<State>,
    guests: Guests,
    meter: Arc<Meter>,
    calls: u32,
}

impl Instance {
    /// Instantiates the component and runs its `start`, within `wall`. Also says what `start` declared.
    pub(crate) async fn start(code: &Code, plugin: &Arc<Plugin>, wall: Duration) -> Result<(Self, Draft), HookFailure> {
        let meter = Meter::new(Arc::clone(&code.sandbox.lane));
        let (cpu, start_wall) = Limits::of_start();
        let wall = wall.min(start_wall);
        let mut store = Store::new(&code.sandbox.engine, State::new(Arc::clone(plugin), Arc::clone(&meter)));
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().meter.tick()));
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(HANDLES);
        store.set_epoch_deadline(1);
        meter.begin(cpu);
        let instantiated = {
            let _running = code.sandbox.ticker.enter();
            // A core module's own start section runs here.
            metered(&meter, wall, code.pre.instantiate_async(&mut store)).await
        };
        let loaded = match instantiated {
            Ok(Ok(instance)) => code.exports.load(&mut store, &instance),
            Ok(Err(error)) => Err(error),
            Err(_) => return Err(wall_passed(wall)),
        };
        let guests = loaded.map_err(|error| classify(&error, store.data().limiter.refused()))?;
        plugin.instances_changed(1);
        let mut instance = Self { store, guests, meter, calls: 0 };
        instance.store.data_mut().draft = Some(Draft::default());
        let answer = instance.run(code, Ask::Start, Loan::Nothing, cpu, wall).await?;
        let draft = instance.store.data_mut().draft.take().unwrap_or_default();
        match answer {
            (Answer::Done(Err(reason)), _) => Err(HookFailure::new(FailureReason::GuestError, cut(reason))),
            _ => Ok((instance, draft)),
        }
    }

    /// Makes one call and gives back what it was lent. After an error, or when the future is dropped, the instance must be dropped.
    pub(crate) async fn run(
        &mut self,
        code: &Code,
        ask: Ask,
        loan: Loan,
        cpu: Duration,
        wall: Duration,
    ) -> Result<(Answer, Loan), HookFailure> {
        self.calls = self.calls.saturating_add(1);
        self.store.data_mut().begin(loan, wall);
        self.meter.begin(cpu);
        self.store.set_epoch_deadline(1);
        let answer = {
            let _running = code.sandbox.ticker.enter();
            metered(&self.meter, wall, self.guests.ask(&mut self.store, ask)).await
        };
        let loan = self.store.data_mut().end();
        match answer {
            Ok(Ok(answer)) => Ok((answer, loan)),
            Ok(Err(error)) => Err(classify(&error, self.store.data().limiter.refused())),
            Err(_) => Err(wall_passed(wall)),
        }
    }

    /// The same for a sample: nothing that the call records counts, and nothing leaves the process.
    pub(crate) async fn rehearse(&mut self, code: &Code, ask: Ask, loan: Loan, cpu: Duration, wall: Duration) -> Result<(), HookFailure> {
        self.store.data_mut().is_sample = true;
        let answer = self.run(code, ask, loan, cpu, wall).await;
        self.store.data_mut().is_sample = false;
        answer.map(|_| ())
    }

    /// Whether it may serve another call after `max_calls`, `start` not counted.
    pub(crate) fn is_fit(&self, max_calls: u32) -> bool {
        self.calls <= max_calls && !self.store.data().limiter.refused()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store.data().plugin.instances_changed(-1);
    }
}

fn wall_passed(wall: Duration) -> HookFailure {
    HookFailure::new(FailureReason::WallTimeout, format!("no answer within {} ms", wall.as_millis()))
}
