//! Waiting for what nobody tells.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{sleep, timeout};

/// Waits until something holds, which is looked at every `look`; an error that says `what` is not so when the patience ends.
pub async fn until(
    what: &str,
    patience: Duration,
    look: Duration,
    holds: impl Fn() -> bool,
) -> Result<()> {
    let waiting = async {
        while !holds() {
            sleep(look).await;
        }
    };
    timeout(patience, waiting)
        .await
        .with_context(|| format!("not so in time: {what}"))
}
