//! `GET /debug/pprof/heap?seconds=N`: what is allocated in that time and not freed at its end, by who allocated it.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;

use http::StatusCode;
use jemalloc_pprof::{JemallocProfCtl, PROF_CTL};
use tokio::sync::watch;

use crate::answer::{self, Answer};
use crate::cpu_profile::seconds;

/// Frames between an allocation and the taking of its stack; the allocator has about five.
const MOST_ALLOCATOR_FRAMES: usize = 16;

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
    let recording = match Recording::begin(control) {
        Ok(recording) => recording,
        Err(error) => return failed(&error.to_string()),
    };
    tokio::select! {
        () = tokio::time::sleep(seconds) => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    match tokio::task::spawn_blocking(move || recording.written()).await {
        Ok(Ok(profile)) => answer::pprof(profile.into()),
        Ok(Err(error)) => failed(&format!("{error:#}")),
        Err(_) => failed("the profile could not be written"),
    }
}

/// Frames of the allocator's own: it takes the stack deep within itself, and a profile in which everything is allocated by the allocator
/// says nothing.
#[derive(Default)]
struct AllocatorFrames {
    known: HashMap<usize, bool>,
}

impl AllocatorFrames {
    /// Takes away the innermost frames up to the one by which the program entered the allocator, if there is one. `addresses` are
    /// return addresses, the innermost last.
    fn leave_out(&mut self, addresses: &mut Vec<usize>) {
        let innermost = addresses.iter().enumerate().rev().take(MOST_ALLOCATOR_FRAMES);
        let entered = innermost.filter(|(_, address)| self.is_entry(**address)).last();
        if let Some((place, _)) = entered.filter(|(place, _)| *place > 0) {
            addresses.truncate(place);
        }
    }

    fn is_entry(&mut self, address: usize) -> bool {
        *self.known.entry(address).or_insert_with(|| {
            let mut is_entry = false;
            // A return address may be that of the next function already. Of functions that are inlined the last is the one that is not.
            backtrace::resolve(address.wrapping_sub(1) as *mut c_void, |symbol| {
                is_entry = symbol.name().is_some_and(|name| enters_allocator(&name.to_string()));
            });
            is_entry
        })
    }
}

/// Whether a function is one by which a program enters the allocator: jemalloc's own, and what the compiler puts before it.
fn enters_allocator(function: &str) -> bool {
    let bare = function.rsplit("::").next().unwrap_or(function);
    function.starts_with("_rjem_")
        || function.contains("tikv_jemallocator")
        || bare.starts_with("__rust_")
        || bare.starts_with("__rg_")
        || bare.starts_with("__rdl_")
}

/// Records until it is dropped, which is also what happens when the operator hangs up.
struct Recording {
    control: tokio::sync::OwnedMutexGuard<JemallocProfCtl>,
}

impl Recording {
    fn begin(mut control: tokio::sync::OwnedMutexGuard<JemallocProfCtl>) -> Result<Self, impl std::error::Error> {
        control.activate().map(|()| Self { control })
    }

    /// Gzipped pprof. Finding the names of functions reads the debug information, which takes seconds.
    fn written(mut self) -> Result<Vec<u8>, impl fmt::Display> {
        self.control.dump_profile().map(|mut profile| {
            let mut frames = AllocatorFrames::default();
            for (stack, _) in &mut profile.stacks {
                frames.leave_out(&mut stack.addrs);
            }
            profile.to_pprof(("inuse_space", "bytes"), ("space", "bytes"), None)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_by_which_the_allocator_is_entered() {
        for entry in [
            "_rjem_mallocx",
            "_rjem_je_prof_backtrace",
            "<tikv_jemallocator::Jemalloc as core::alloc::global::GlobalAlloc>::alloc",
            "__rust_alloc",
            "__rustc::__rust_realloc",
            "__rg_alloc",
        ] {
            assert!(enters_allocator(entry), "{entry}");
        }
        for other in ["alloc::alloc::Global::alloc_impl", "alloc::raw_vec::finish_grow", "main", "prof_backtrace_impl"] {
            assert!(!enters_allocator(other), "{other}");
        }
    }

    #[test]
    fn what_is_within_the_entry_is_left_out() {
        let check = |stack: &[usize], expected: &[usize]| {
            // 7 is the entry, 8 and 9 are within it.
            let mut frames = AllocatorFrames { known: (0..10).map(|address| (address, address == 7)).collect() };
            let mut addresses = stack.to_vec();
            frames.leave_out(&mut addresses);
            assert_eq!(addresses, expected, "{stack:?}");
        };
        check(&[1, 2, 7, 8, 9], &[1, 2]);
        check(&[1, 2, 7, 7, 9], &[1, 2]);
        check(&[1, 2, 3], &[1, 2, 3]);
        // Nothing would be left of it.
        check(&[7, 9], &[7, 9]);
        check(&[], &[]);
    }
}
