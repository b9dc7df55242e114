//! Keys that an issuer publishes: fetched when they are old or when a token names one that is not there, by one task at
//! a time, never more often than once in [`Jwks::pause`]. While fetching fails, the keys stay as they were.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::keys::{Key, PublishedKey};
use super::{AuthConfig, Jwks};

/// The most bytes of a key set.
const MAX_BODY: usize = 256 * 1024;

/// Why a key set could not be had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer in time")]
    Slow,
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer cannot be read: {0}")]
    Body(String),
    #[error("its answer is no key set: {0}")]
    Shape(String),
    #[error("it has {0} keys, and 64 is the most")]
    TooMany(usize),
    #[error("it has two keys with one id")]
    SameKid,
}

/// The keys that one address publishes.
pub(super) struct Remote {
    config: Jwks,
    /// The ids of keys that are there already: no published key can take the place of one.
    taken: HashSet<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Arc<Vec<Key>>,
    /// Its sender lives in the task that fetches, and goes with it however it ends.
    flight: Option<watch::Receiver<()>>,
    /// When the last fetch began.
    attempted: Option<Instant>,
    /// When the last one that came home did.
    loaded: Option<Instant>,
    failing: bool,
}

impl Remote {
    pub(super) fn new(config: Jwks, taken: HashSet<String>) -> Self {
        Remote {
            config,
            taken,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a plain store, so a state that a panic left behind is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys at hand.
    pub(super) fn keys(&self) -> Arc<Vec<Key>> {
        Arc::clone(&self.state().keys)
    }

    /// Whether there was ever a set.
    pub(super) fn loaded(&self) -> bool {
        self.state().loaded.is_some()
    }

    /// Fetches the keys if they are old. It waits for them, save when the last attempt failed: then there is no more
    /// than the hope that this one does not.
    pub(super) async fn freshen(self: &Arc<Self>) {
        let failing = {
            let state = self.state();
            if state
                .loaded
                .is_some_and(|loaded| loaded.elapsed() < self.config.refresh)
            {
                return;
            }
            state.failing
        };
        let flight = self.flight();
        if !failing {
            landed(flight).await;
        }
    }

    /// Fetches the keys, and waits for them; it returns at once when the last fetch began less than a pause ago.
    pub(super) async fn fetch(self: &Arc<Self>) {
        landed(self.flight()).await;
    }

    /// The fetch that is under way, or else a new one, or none if it is too early for one.
    fn flight(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(flight) = &state.flight
            && flight.has_changed().is_ok()
        {
            return Some(flight.clone());
        }
        if state
            .attempted
            .is_some_and(|attempted| attempted.elapsed() < self.config.pause)
        {
            return None;
        }
        let (landing, flight) = watch::channel(());
        state.attempted = Some(Instant::now());
        state.flight = Some(flight.clone());
        drop(state);
        // A task of its own: whoever asks for a key and hangs up must not end the fetch.
        let remote = Arc::clone(self);
        actix_rt::spawn(async move {
            let fetched = timeout(remote.config.timeout, remote.get())
                .await
                .unwrap_or(Err(FetchError::Slow));
            remote.settle(fetched);
            drop(landing);
        });
        Some(flight)
    }

    fn settle(&self, fetched: Result<Vec<Key>, FetchError>) {
        let mut state = self.state();
        state.failing = fetched.is_err();
        match fetched {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.loaded = Some(Instant::now());
            }
            Err(error) => {
                let (host, kept) = (self.config.url.host_str(), state.keys.len());
                tracing::warn!(host, kept, %error, "no key set (JWKS); the keys stay as they were");
            }
        }
    }

    async fn get(&self) -> Result<Vec<Key>, FetchError> {
        // No redirects: the address that was configured is the one that is trusted.
        let client = awc::Client::builder()
            .timeout(self.config.timeout)
            .disable_redirects()
            .finish();
        let mut response = client
            .get(self.config.url.as_str())
            .insert_header(("Accept", "application/jwk-set+json, application/json"))
            .send()
            .await
            .map_err(|error| FetchError::Unreachable(error.to_string()))?;
        if response.status() != awc::http::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let body = response
            .body()
            .limit(MAX_BODY)
            .await
            .map_err(|error| FetchError::Body(error.to_string()))?;
        self.read(&body)
    }

    /// The usable keys of a set. Those that are of no use here are left out; an issuer may have them for others.
    fn read(&self, body: &[u8]) -> Result<Vec<Key>, FetchError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set =
            serde_json::from_slice(body).map_err(|error| FetchError::Shape(error.to_string()))?;
        if set.keys.len() > AuthConfig::MAX_KEYS {
            return Err(FetchError::TooMany(set.keys.len()));
        }
        let mut ids = HashSet::new();
        let mut keys = Vec::new();
        for value in set.keys {
            let key = serde_json::from_value::<PublishedKey>(value)
                .map_err(|_| "not a key as RFC 7517 has them")
                .and_then(|jwk| match &jwk.kid {
                    Some(kid) if self.taken.contains(kid) => Err("with the id of a configured key"),
                    _ => Key::published(jwk),
                });
            match key {
                Ok(key) => {
                    if let Some(kid) = &key.kid
                        && !ids.insert(kid.clone())
                    {
                        return Err(FetchError::SameKid);
                    }
                    keys.push(key);
                }
                Err(reason) => {
                    tracing::debug!(host = self.config.url.host_str(), reason, "key left out");
                }
            }
        }
        Ok(keys)
    }
}

/// Waits for the end of a fetch: the sender never sends, it goes.
async fn landed(flight: Option<watch::Receiver<()>>) {
    if let Some(mut flight) = flight {
        let _ = flight.changed().await;
    }
}

#[cfg(test)]
#[path = "jwks_tests.rs"]
mod tests;
