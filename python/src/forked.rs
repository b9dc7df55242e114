//! What belongs to the process that made it.

use std::process;
use std::sync::OnceLock;

use pyo3::{PyErr, PyResult};

use crate::TubeError;

/// Something whose threads a fork leaves behind. In the child it is neither used nor dropped: either would wait for them.
pub struct Owned<T> {
    process: u32,
    inner: Option<T>,
}

impl<T> Owned<T> {
    pub fn new(inner: T) -> Self {
        Owned {
            process: process::id(),
            inner: Some(inner),
        }
    }

    /// It, in the process that made it.
    pub fn get(&self) -> PyResult<&T> {
        let here = self.process == process::id();
        self.inner.as_ref().filter(|_| here).ok_or_else(forked)
    }
}

/// Whether this process may have tubes. A child of one that has them may not: locks that its threads held at the fork are
/// never released there.
pub fn check() -> PyResult<()> {
    static FIRST: OnceLock<u32> = OnceLock::new();
    if *FIRST.get_or_init(process::id) == process::id() {
        Ok(())
    } else {
        Err(forked())
    }
}

fn forked() -> PyErr {
    TubeError::new_err(
        "this process was forked from one that had tubes, and they stay there; start it by 'spawn', or fork before the first TubeRegistry is made",
    )
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.process != process::id() {
            std::mem::forget(self.inner.take());
        }
    }
}
