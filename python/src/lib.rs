//! The native half of the Python package `loaner`: tubes, without anything that calls back into Python.
//!
//! What happens to a tube waits in a queue until a thread of Python's takes it ([`tubes::Tubes::next_event`]). So no thread of
//! this library ever asks for the interpreter's lock, and what waits here has released it.

mod forked;
mod options;
mod pending;
mod tube;
mod tubes;
mod waiting;

use pyo3::prelude::*;

pyo3::create_exception!(
    loaner,
    TubeError,
    pyo3::exceptions::PyRuntimeError,
    "Something that a tube cannot do, at least not now."
);
pyo3::create_exception!(
    loaner,
    TubeClosedError,
    TubeError,
    "The tube is closed: nothing goes through it any more."
);
pyo3::create_exception!(
    loaner,
    RestartError,
    TubeError,
    "There is no restart now; the text says why, and when there may be one."
);

/// The native half of the package.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::{
        RestartError, TubeClosedError, TubeError,
        pending::Pending,
        tube::Tube,
        tubes::{Receipt, Tubes},
    };
}
