//! A tube, as Python has it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use loaner::rtc::RtcError;
use loaner::tunnel::registry::{Manager, Refusal, RestartError, Role, TubeRuntime};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::forked::Owned;
use crate::options::change;
use crate::pending::{Inbox, Pending};
use crate::waiting::wait;
use crate::{RestartError as NoRestart, TubeClosedError};

/// A tube.
#[pyclass(frozen, module = "loaner._native")]
pub struct Tube {
    owned: Owned<Own>,
}

struct Own {
    manager: Manager,
    inbox: Arc<Inbox>,
    runtime: TubeRuntime,
}

impl Tube {
    pub fn new(manager: Manager, runtime: TubeRuntime) -> Self {
        let inbox = Arc::new(Inbox::new(manager.clone()));
        Tube {
            owned: Owned::new(Own {
                manager,
                inbox,
                runtime,
            }),
        }
    }

    fn manager(&self) -> PyResult<&Manager> {
        Ok(&self.owned.get()?.manager)
    }
}

#[pymethods]
impl Tube {
    /// Its id.
    #[getter]
    fn tube_id(&self) -> PyResult<&str> {
        Ok(self.manager()?.tube_id())
    }

    /// The conversation that its signals name.
    #[getter]
    fn conversation_id(&self) -> PyResult<&str> {
        Ok(self.manager()?.conversation_id())
    }

    /// Which side it is.
    #[getter]
    fn role(&self) -> PyResult<&str> {
        Ok(match self.manager()?.role() {
            Role::Initiator => "initiator",
            Role::Responder => "responder",
        })
    }

    /// Its state.
    #[getter]
    fn state(&self) -> PyResult<String> {
        Ok(self.manager()?.state().to_string())
    }

    /// Whether everything that it had is released.
    #[getter]
    fn is_closed(&self) -> PyResult<bool> {
        Ok(self.manager()?.is_closed())
    }

    /// Its figures.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let own = self.owned.get()?;
        let report = wait(py, &own.runtime, None, own.manager.report())?;
        let metrics = own.manager.metrics();
        let figures = PyDict::new(py);
        figures.set_item("last_activity", since_1970(metrics.last_activity))?;
        let attempts = report.map_or(0, |report| report.status.attempts);
        figures.set_item("ice_restart_attempts", attempts)?;
        figures.set_item("reconnection_attempts", metrics.reconnection_attempts)?;
        figures.set_item("last_restart_time", metrics.last_restart.map(since_1970))?;
        let round_trip = metrics.round_trip.map(|time| time.as_secs_f64() * 1000.0);
        figures.set_item("rtt_ms", round_trip)?;
        figures.set_item("bytes_sent", metrics.bytes_sent)?;
        figures.set_item("bytes_received", metrics.bytes_received)?;
        let established = metrics.established.map(since_1970);
        figures.set_item("connection_established_time", established)?;
        Ok(figures)
    }

    /// What it does at the moment, in words; nothing once it is over.
    fn doing(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
        let own = self.owned.get()?;
        let report = wait(py, &own.runtime, None, own.manager.report())?;
        Ok(report.map(|report| report.status.doing))
    }

    /// Begins.
    fn start(&self) -> PyResult<()> {
        self.manager()?.start();
        Ok(())
    }

    /// Restarts its connection now.
    fn restart(&self, py: Python<'_>) -> PyResult<()> {
        let own = self.owned.get()?;
        let result = wait(py, &own.runtime, None, own.manager.restart())?;
        result.map_err(|error| match error {
            RestartError::Closed => TubeClosedError::new_err(error.to_string()),
            RestartError::Refused(refusal) => NoRestart::new_err(in_words(refusal)),
        })
    }

    /// There was a sign of activity.
    fn update_activity(&self) -> PyResult<()> {
        self.manager()?.update_activity();
        Ok(())
    }

    /// Something has happened to the network.
    fn handle_network_change(&self, change_type: &str) -> PyResult<()> {
        let change = change(change_type)?;
        self.manager()?.handle_network_change(change);
        Ok(())
    }

    /// Whether there is a way out of this machine.
    fn set_network(&self, up: bool) -> PyResult<()> {
        self.manager()?.set_network(up);
        Ok(())
    }

    /// Whether the program's signalling works.
    fn set_signalling(&self, up: bool) -> PyResult<()> {
        self.manager()?.set_signalling(up);
        Ok(())
    }

    /// Sends a message.
    #[pyo3(signature = (message, timeout = None))]
    fn send(&self, py: Python<'_>, message: PyBackedBytes, timeout: Option<f64>) -> PyResult<()> {
        let own = self.owned.get()?;
        let sent = own.manager.send(Bytes::copy_from_slice(&message));
        let result = wait(py, &own.runtime, timeout, sent)?;
        result.map_err(send_error)
    }

    /// Begins to send a message.
    fn send_soon(&self, message: PyBackedBytes) -> PyResult<Pending> {
        let own = self.owned.get()?;
        Pending::send(&own.runtime, &own.inbox, Bytes::copy_from_slice(&message))
    }

    /// The next message; nothing once it is closed and everything was taken.
    #[pyo3(signature = (timeout = None))]
    fn recv<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let own = self.owned.get()?;
        let message = wait(py, &own.runtime, timeout, own.inbox.next())?;
        Ok(message.map(|message| PyBytes::new(py, &message)))
    }

    /// Begins to receive the next message.
    fn recv_soon(&self) -> PyResult<Pending> {
        let own = self.owned.get()?;
        Pending::recv(&own.runtime, &own.inbox)
    }

    /// Shuts it down; does not wait for it.
    fn close(&self) -> PyResult<()> {
        self.manager()?.close();
        Ok(())
    }

    /// Waits until everything that it had is released.
    #[pyo3(signature = (timeout = None))]
    fn wait_closed(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let own = self.owned.get()?;
        wait(py, &own.runtime, timeout, own.manager.closed())
    }
}

/// Why a message cannot be sent, for Python.
pub fn send_error(error: RtcError) -> PyErr {
    match error {
        RtcError::TooLarge(_) => PyValueError::new_err(error.to_string()),
        _ => TubeClosedError::new_err("the tube is closed"),
    }
}

fn since_1970(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn in_words(refusal: Refusal) -> String {
    match refusal {
        Refusal::NotConnected => "it is not connected for the first time yet; wait until it is".to_owned(),
        Refusal::Wait(left) => {
            format!("the last attempt was too short ago; try again in {:.1} s", left.as_secs_f64())
        }
        Refusal::NoWay => {
            "there is no network, or no signalling over which the peer could be told; restart when there is"
                .to_owned()
        }
        Refusal::SessionLost => "the peer does not know the tube any more; make a new one".to_owned(),
    }
}
