//! Calls without pause by several clients at once, counted by what came of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::clients::{Client, Era};
use crate::secrets;

/// What has come of the calls so far.
#[derive(Default)]
pub struct Tally {
    answered: AtomicU64,
    failed: AtomicU64,
    leaked: AtomicU64,
    last: Mutex<String>,
    first_failure: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Tally {
    /// Calls that were answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Calls that were not answered, or by an error.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Answers with a secret in them.
    pub fn leaked(&self) -> u64 {
        self.leaked.load(Ordering::Relaxed)
    }

    /// The newest answer.
    pub fn last(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the first call failed that did.
    pub fn first_failure(&self) -> Option<String> {
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed_with(&self, reason: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }
}

/// Clients that call until they are stopped.
pub struct Flow {
    /// What has come of it so far.
    pub tally: Arc<Tally>,
    clients: Vec<JoinHandle<Result<()>>>,
}

impl Flow {
    /// Starts one client for each era given.
    pub async fn start(url: &str, eras: &[Era]) -> Result<Self> {
        let tally = Arc::<Tally>::default();
        let mut clients = Vec::new();
        for era in eras {
            let client = Client::connect(url, *era).await?;
            clients.push(tokio::spawn(call_until_stopped(client, Arc::clone(&tally))));
        }
        Ok(Self { tally, clients })
    }

    /// Lets every client finish the call it is in.
    pub async fn stop(self) -> Result<Arc<Tally>> {
        self.tally.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await?.context("closing a client")?;
        }
        Ok(self.tally)
    }
}

async fn call_until_stopped(client: Client, tally: Arc<Tally>) -> Result<()> {
    let mut number = 0;
    while !tally.stop.load(Ordering::Relaxed) {
        number += 1;
        match client.call("lookup_customer", &json!({"number": number})).await {
            Ok(answer) if answer.is_error => tally.failed_with(answer.text),
            Ok(answer) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                if !secrets::found_in(answer.text.as_bytes()).is_empty() {
                    tally.leaked.fetch_add(1, Ordering::Relaxed);
                }
                *tally.last.lock().unwrap_or_else(PoisonError::into_inner) = answer.text;
            }
            Err(error) => tally.failed_with(format!("{error:#}")),
        }
    }
    client.close().await
}
