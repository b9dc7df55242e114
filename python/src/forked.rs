//! What belongs to the process that made it.

use std::process;

use pyo3::PyResult;

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
        let inner = self.inner.as_ref().filter(|_| here);
        inner.ok_or_else(|| {
            TubeError::new_err(
                "this tube was made before a fork and belongs to the parent; make a TubeRegistry of this process",
            )
        })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.process != process::id() {
            std::mem::forget(self.inner.take());
        }
    }
}
