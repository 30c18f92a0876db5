//! The keys that tokens are verified with: the text of a file, or fetched from an issuer. They outlive the rules for claims.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::AuthError;
use super::fetched::{Fetched, Pace};
use super::key_set::KeySet;
use crate::JwksStatus;
use crate::config::JwksSource;

/// The keys of one moment.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) set: KeySet,
    /// Rises with each other set of one source.
    pub(super) number: u64,
}

/// Where keys come from, with those in use.
pub(super) enum Jwks {
    /// A file. Its text is part of the configuration, so that another one is put into force or refused with all the rest.
    File { shown: String, keys: Arc<Keys>, read: SystemTime },
    /// An issuer.
    Url(Arc<Fetched>),
}

impl Jwks {
    /// What `earlier` has fetched from the same address is in use from the beginning. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the file holds no usable key, or the URL is none.
    pub(super) fn start(source: &JwksSource, refresh: Duration, pace: Pace, earlier: Option<&Self>) -> Result<Self, AuthError> {
        match source {
            JwksSource::File { path, content } => {
                Ok(Self::File { shown: path.display().to_string(), keys: Arc::new(of_file(path, content)?), read: SystemTime::now() })
            }
            JwksSource::Url(url) => {
                let earlier = match earlier {
                    Some(Self::Url(earlier)) if earlier.url() == url => Some(earlier),
                    _ => None,
                };
                match earlier {
                    Some(same) if same.refresh() == refresh => Ok(Self::Url(same.clone())),
                    _ => Ok(Self::Url(Arc::new(Fetched::start(url, refresh, pace, earlier.map(|earlier| &**earlier))?))),
                }
            }
        }
    }

    /// The keys in use.
    pub(super) fn current(&self) -> Arc<Keys> {
        match self {
            Self::File { keys, .. } => keys.clone(),
            Self::Url(fetched) => fetched.current(),
        }
    }

    /// Other keys than these, if they can be had by waiting a little.
    pub(super) async fn newer_than(&self, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        match self {
            Self::File { .. } => None,
            Self::Url(fetched) => fetched.newer_than(seen).await,
        }
    }

    /// How it stands with them.
    pub(super) fn status(&self) -> JwksStatus {
        match self {
            Self::File { shown, keys, read } => {
                JwksStatus { source: shown.clone(), keys: keys.set.len(), loaded: Some(*read), trouble: None }
            }
            Self::Url(fetched) => fetched.status(),
        }
    }
}

fn of_file(path: &Path, content: &[u8]) -> Result<Keys, AuthError> {
    let set = KeySet::parse(content).map_err(|reason| AuthError::NotKeys { path: path.to_owned(), reason })?;
    if set.len() == 0 { Err(AuthError::NoUsableKey { path: path.to_owned() }) } else { Ok(Keys { set, number: 1 }) }
}
