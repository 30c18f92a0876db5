//! `GET /debug/pprof/heap?seconds=N`: what is allocated in that time and not freed at its end, by who allocated it.

use http::StatusCode;
use jemalloc_pprof::{JemallocProfCtl, PROF_CTL};
use tokio::sync::watch;

use crate::answer::{self, Answer};
use crate::cpu_profile::seconds;

/// Records for the asked time, or until the listener ends. Recording costs, so it is off otherwise.
pub(crate) async fn take(query: Option<&str>, mut shutdown: watch::Receiver<bool>) -> Answer {
    let seconds = match seconds(query) {
        Ok(seconds) => seconds,
        Err(bad) => return answer::bad_parameter(&bad),
    };
    // Only then may the control be touched: it takes for granted that profiling is compiled in.
    let is_ready = tikv_jemalloc_ctl::profiling::prof::read().unwrap_or(false);
    let Some(control) = is_ready.then_some(PROF_CTL.as_ref()).flatten() else {
        return answer::error(StatusCode::NOT_IMPLEMENTED, "heap", "the allocator of this process was not started with profiling");
    };
    // The lock is the turn: it is held until the recording is off again.
    let Ok(control) = control.clone().try_lock_owned() else {
        return answer::error(StatusCode::CONFLICT, "running", "a profile is being taken; ask again when it is done");
    };
    tracing::info!(seconds = seconds.as_secs(), "a heap profile is taken for an operator");
    let mut recording = match Recording::begin(control) {
        Ok(recording) => recording,
        Err(error) => return failed(&error.to_string()),
    };
    tokio::select! {
        () = tokio::time::sleep(seconds) => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    match tokio::task::spawn_blocking(move || recording.control.dump_pprof()).await {
        Ok(Ok(profile)) => answer::pprof(profile.into()),
        Ok(Err(error)) => failed(&format!("{error:#}")),
        Err(_) => failed("the profile could not be written"),
    }
}

/// Records until it is dropped, which is also what happens when the operator hangs up.
struct Recording {
    control: tokio::sync::OwnedMutexGuard<JemallocProfCtl>,
}

impl Recording {
    fn begin(mut control: tokio::sync::OwnedMutexGuard<JemallocProfCtl>) -> Result<Self, impl std::error::Error> {
        control.activate().map(|()| Self { control })
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Err(error) = self.control.deactivate() {
            tracing::warn!(%error, "the recording of allocations cannot be switched off");
        }
    }
}

fn failed(why: &str) -> Answer {
    tracing::warn!(error = why, "no heap profile could be taken");
    answer::error(StatusCode::INTERNAL_SERVER_ERROR, "profile", why)
}
