//! Waiting as an event loop does: what is waited for runs beside Python, and writes into a pipe when it is there.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use loaner::rtc::RtcError;
use loaner::tunnel::registry::{Manager, TubeRuntime};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::task::AbortHandle;

use crate::forked::Owned;
use crate::tube::send_error;

/// The messages of a tube, in order, also when somebody who waited for one has gone as it came.
pub struct Inbox {
    manager: Manager,
    /// One is fetched after the other.
    turn: tokio::sync::Mutex<()>,
    returned: Mutex<VecDeque<Bytes>>,
}

impl Inbox {
    pub fn new(manager: Manager) -> Self {
        Inbox {
            manager,
            turn: tokio::sync::Mutex::default(),
            returned: Mutex::default(),
        }
    }

    /// The next message, for whoever waits on this thread. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Bytes> {
        let _turn = self.turn.lock().await;
        self.fetch().await
    }

    async fn fetch(&self) -> Option<Bytes> {
        let returned = lock(&self.returned).pop_front();
        match returned {
            Some(message) => Some(message),
            None => self.manager.recv().await,
        }
    }

    /// Takes a message back that nobody has seen.
    fn give_back(&self, outcome: Outcome) {
        if let Outcome::Received(Some(message)) = outcome {
            lock(&self.returned).push_front(message);
        }
    }
}

enum Outcome {
    Sent(Result<(), RtcError>),
    Received(Option<Bytes>),
}

enum State {
    Waiting,
    There(Outcome),
    Over,
}

/// Something that is waited for.
#[pyclass(frozen, module = "loaner._native")]
pub struct Pending {
    owned: Owned<Own>,
}

struct Own {
    inbox: Arc<Inbox>,
    state: Arc<Mutex<State>>,
    reader: PipeReader,
    task: AbortHandle,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Own {
    fn cancel(&self) {
        let was = std::mem::replace(&mut *lock(&self.state), State::Over);
        if let State::There(outcome) = was {
            self.inbox.give_back(outcome);
        }
        self.task.abort();
    }
}

impl Pending {
    /// Sends a message.
    pub fn send(runtime: &TubeRuntime, inbox: &Arc<Inbox>, message: Bytes) -> PyResult<Self> {
        Self::start(runtime, inbox, |inbox, tell| async move {
            tell.tell(&inbox, Outcome::Sent(inbox.manager.send(message).await));
        })
    }

    /// Receives the next message.
    pub fn recv(runtime: &TubeRuntime, inbox: &Arc<Inbox>) -> PyResult<Self> {
        Self::start(runtime, inbox, |inbox, tell| async move {
            // Until it is told: if nobody wants it any more, it is the next one's.
            let _turn = inbox.turn.lock().await;
            tell.tell(&inbox, Outcome::Received(inbox.fetch().await));
        })
    }

    fn start<F>(
        runtime: &TubeRuntime,
        inbox: &Arc<Inbox>,
        work: impl FnOnce(Arc<Inbox>, Tell) -> F,
    ) -> PyResult<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (reader, writer) = std::io::pipe()?;
        let state = Arc::new(Mutex::new(State::Waiting));
        let tell = Tell {
            state: state.clone(),
            writer,
        };
        let task = runtime.spawn(work(inbox.clone(), tell)).abort_handle();
        Ok(Pending {
            owned: Owned::new(Own {
                inbox: inbox.clone(),
                state,
                reader,
                task,
            }),
        })
    }
}

/// Whom the outcome is told.
struct Tell {
    state: Arc<Mutex<State>>,
    writer: PipeWriter,
}

impl Tell {
    fn tell(mut self, inbox: &Inbox, outcome: Outcome) {
        {
            let mut state = lock(&self.state);
            match *state {
                State::Waiting => *state = State::There(outcome),
                State::There(_) | State::Over => inbox.give_back(outcome),
            }
        }
        // To close it would tell nothing where a child of this process has its other end open too. Nobody may read it.
        let _ = self.writer.write(&[0]);
    }
}

#[pymethods]
impl Pending {
    /// What can be read from when it is there.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.owned.get()?.reader.as_raw_fd())
    }

    /// Nobody waits for it any more.
    fn cancel(&self) -> PyResult<()> {
        self.owned.get()?.cancel();
        Ok(())
    }

    /// What has come of it: a message that was received, if one was.
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let was = std::mem::replace(&mut *lock(&self.owned.get()?.state), State::Over);
        match was {
            State::There(Outcome::Sent(sent)) => sent.map(|()| None).map_err(send_error),
            State::There(Outcome::Received(message)) => {
                Ok(message.map(|message| PyBytes::new(py, &message)))
            }
            // Its runtime has ended, and it with that.
            State::Waiting | State::Over => Err(send_error(RtcError::Closed)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
