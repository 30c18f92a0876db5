//! `GET /debug/pprof/profile?seconds=N`: where the process spends its CPU time, for `go tool pprof` and what reads the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use pprof::{ProfilerGuard, ProfilerGuardBuilder, UnresolvedReport};
use tokio::sync::watch;

use crate::answer::{self, Answer};
use crate::compressed;
use crate::profile_format;
use crate::query::{BadParameter, Query};

/// Samples a second and thread at most; a prime, so that it does not beat with what happens at round intervals.
const FREQUENCY: i32 = 99;
/// The C library and the unwinder must not be unwound in the middle of holding their own locks.
const NOT_UNWOUND: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];
const DEFAULT_SECONDS: usize = 30;
/// A connection here lives for 300 s.
const MOST_SECONDS: usize = 120;

/// The signal and its timer are the process's own: there is one profile at a time.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// A turn at profiling; ends when dropped.
struct Turn;

impl Turn {
    fn take() -> Option<Self> {
        (!RUNNING.swap(true, Ordering::AcqRel)).then_some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.store(false, Ordering::Release);
    }
}

/// Samples for the asked time, or until the listener ends.
pub(crate) async fn take(query: Option<&str>, mut shutdown: watch::Receiver<bool>) -> Answer {
    let seconds = match seconds(query) {
        Ok(seconds) => seconds,
        Err(bad) => return answer::bad_parameter(&bad),
    };
    let Some(turn) = Turn::take() else {
        return answer::error(StatusCode::CONFLICT, "running", "a profile is being taken; ask again when it is done");
    };
    let guard = match ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&NOT_UNWOUND).build() {
        Ok(guard) => guard,
        Err(error) => return failed(&error.to_string()),
    };
    tracing::info!(seconds = seconds.as_secs(), "a CPU profile is taken for an operator");
    tokio::select! {
        () = tokio::time::sleep(seconds) => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    // Finding the names of functions reads the debug information, which takes seconds.
    match tokio::task::spawn_blocking(move || written(guard, turn)).await {
        Ok(Ok(profile)) => answer::pprof(compressed::compress(&profile)),
        Ok(Err(error)) => failed(&error.to_string()),
        Err(_) => failed("the profile could not be written"),
    }
}

fn written(guard: ProfilerGuard<'static>, turn: Turn) -> pprof::Result<Vec<u8>> {
    let UnresolvedReport { data, timing } = guard.report().build_unresolved()?;
    // Ends the sampling, so that looking for names is not part of the picture.
    drop((guard, turn));
    let stacks = data.into_iter().map(|(stack, count)| (pprof::Frames::from(stack), count));
    Ok(profile_format::encode(stacks, timing.start_time, timing.duration, FREQUENCY))
}

/// How long a profile takes.
pub(crate) fn seconds(query: Option<&str>) -> Result<Duration, BadParameter> {
    let mut query = Query::parse(query)?;
    let seconds = query.count("seconds", MOST_SECONDS)?.unwrap_or(DEFAULT_SECONDS);
    query.end().map(|()| Duration::from_secs(seconds.try_into().unwrap_or(u64::MAX)))
}

fn failed(why: &str) -> Answer {
    tracing::warn!(error = why, "no CPU profile could be taken");
    answer::error(StatusCode::INTERNAL_SERVER_ERROR, "profile", why)
}
