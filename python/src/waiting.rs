//! Waiting, as Python may be made to wait: without its lock, for so long, and until somebody presses Ctrl+C.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use loaner::tunnel::registry::TubeRuntime;
use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;

/// How often it is looked whether a signal came.
const LOOK: Duration = Duration::from_millis(100);

/// A number of seconds that a program gave.
pub fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!(
            "{name} is a number of seconds from 0, not {seconds}"
        ))
    })
}

/// Waits for a future.
pub fn wait<F>(
    py: Python<'_>,
    runtime: &TubeRuntime,
    timeout: Option<f64>,
    future: F,
) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let timeout = timeout.map(|value| seconds("timeout", value)).transpose()?;
    // One that is too far away to be told is none.
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut future = pin!(future);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let slice = left.map_or(LOOK, |left| left.min(LOOK));
        let slept = tokio_timeout(slice, future.as_mut());
        if let Some(output) = py.detach(|| runtime.block_on(slept)) {
            return Ok(output);
        }
        py.check_signals()?;
        if left.is_some_and(|left| left <= LOOK) {
            return Err(PyTimeoutError::new_err("nothing came of it in time"));
        }
    }
}

async fn tokio_timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}
