//! One run of foreign code: bounded in time, and a panic in it is only its own.

use std::time::Duration;

use tokio::task::JoinSet;

/// Runs `call` for at most `deadline`; dropping the returned future ends the call.
///
/// # Errors
/// One sentence when it took too long or panicked.
pub(crate) async fn contained<T: Send + 'static>(deadline: Duration, call: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
    let mut task = JoinSet::new();
    task.spawn(call);
    match tokio::time::timeout(deadline, task.join_next()).await {
        Err(_) => Err(format!("no result within {deadline:?}")),
        Ok(Some(Ok(value))) => Ok(value),
        Ok(Some(Err(panic))) => Err(format!("the check broke: {panic}")),
        Ok(None) => Err("the check was not run".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_and_panicking_calls_end_with_a_sentence() {
        let second = Duration::from_secs(1);
        assert_eq!(contained(second, async { 7 }).await, Ok(7));
        assert_eq!(contained(second, std::future::pending::<()>()).await, Err("no result within 1s".to_owned()));
        let broken = contained(second, async { panic!("on purpose") }).await;
        let detail = broken.map(|(): ()| ()).unwrap_err();
        assert!(detail.contains("on purpose"), "{detail}");
    }
}
