//! The tubes of a program, as Python has them.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use loaner::tunnel::message::{Delivery, Message};
use loaner::tunnel::registry::{Manager, OptionsError, Registry, TubeRuntime};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::TubeError;
use crate::forked::{self, Owned};
use crate::options::Wishes;
use crate::tube::Tube;
use crate::waiting::wait;

/// How long everything may take to close. Its parts are bounded more tightly.
const SHUTDOWN: f64 = 30.0;

/// What happened to a tube: its number, what, and the text that belongs to it.
type Event = (u64, &'static str, String);

thread_local! {
    /// The program's own messages in the text that this thread is bringing.
    static BROUGHT: RefCell<Vec<Message>> = const { RefCell::new(Vec::new()) };
}

/// The tubes of a program, with the threads that they live on.
#[pyclass(frozen, module = "loaner._native")]
pub struct Tubes {
    owned: Owned<Own>,
}

struct Own {
    runtime: TubeRuntime,
    registry: Registry,
    events: Mutex<Receiver<Event>>,
    tell: Mutex<Option<Sender<Event>>>,
}

/// What became of the messages of a text.
#[pyclass(frozen, get_all, module = "loaner._native")]
pub struct Receipt {
    /// How many were a manager's own.
    taken: usize,
    /// The program's own: tube id, kind, data as JSON, conversation id.
    messages: Vec<(String, String, String, Option<String>)>,
    /// What was wrong with the others.
    errors: Vec<String>,
}

#[pymethods]
impl Tubes {
    #[new]
    fn new() -> PyResult<Self> {
        forked::check()?;
        let cannot = |error| PyOSError::new_err(format!("no threads for tubes: {error}"));
        let runtime = TubeRuntime::start().map_err(cannot)?;
        let (tell, events) = channel();
        let own = Own {
            runtime,
            registry: Registry::default(),
            events: Mutex::new(events),
            tell: Mutex::new(Some(tell)),
        };
        Ok(Tubes {
            owned: Owned::new(own),
        })
    }

    /// Makes a tube. What happens to it is told under this number; the last is `over`.
    fn create(&self, number: u64, wishes: Wishes) -> PyResult<Tube> {
        let own = self.owned.get()?;
        let options = wishes.options()?;
        let tell = lock(&own.tell).clone();
        let tell = tell.ok_or_else(closed)?;
        let manager = Manager::new(&own.runtime, options).map_err(|error| match error {
            OptionsError::Ended => closed(),
            _ => PyValueError::new_err(error.to_string()),
        })?;
        if let Err(error) = own.registry.register(&manager) {
            manager.close();
            return Err(PyValueError::new_err(error.to_string()));
        }
        listen(&manager, number, tell);
        Ok(Tube::new(manager, own.runtime.clone()))
    }

    /// The ids of all tubes.
    fn ids(&self) -> PyResult<Vec<String>> {
        Ok(self.owned.get()?.registry.ids())
    }

    /// Takes the messages of a text to their tubes.
    fn receive(&self, py: Python<'_>, text: &str) -> PyResult<Receipt> {
        let own = self.owned.get()?;
        let (results, brought) = py.detach(|| {
            let results = own.registry.receive(text);
            (results, BROUGHT.take())
        });
        let is_own = |result: &&_| matches!(result, Ok(Delivery::Manager));
        let errors = results.iter().filter_map(|result| result.as_ref().err());
        let message = |message: Message| {
            let data = message.data.get().to_owned();
            let Message {
                tube_id,
                kind,
                conversation_id,
                ..
            } = message;
            (tube_id, kind, data, conversation_id)
        };
        Ok(Receipt {
            taken: results.iter().filter(is_own).count(),
            errors: errors.map(ToString::to_string).collect(),
            messages: brought.into_iter().map(message).collect(),
        })
    }

    /// What happened next: number of the tube, what, and the text that belongs to it. Waits for it. Nothing once there is nothing any
    /// more.
    fn next_event(&self, py: Python<'_>) -> PyResult<Option<Event>> {
        let own = self.owned.get()?;
        Ok(py.detach(|| lock(&own.events).recv().ok()))
    }

    /// Closes all tubes, takes no new ones, and does not wait for it.
    fn abandon(&self) -> PyResult<()> {
        let own = self.owned.get()?;
        lock(&own.tell).take();
        // Managers live on where nobody has them; their events, and who waits for these, end with them.
        for id in own.registry.ids() {
            own.registry.unregister(&id);
        }
        Ok(())
    }

    /// Closes all tubes, and waits until that is done.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let own = self.owned.get()?;
        lock(&own.tell).take();
        wait(py, &own.runtime, Some(SHUTDOWN), own.runtime.shutdown())
    }
}

fn closed() -> PyErr {
    TubeError::new_err("this registry is closed; make another one")
}

/// Tells what happens to one tube, and at last that nothing does any more.
struct Tell {
    number: u64,
    to: Sender<Event>,
}

impl Tell {
    fn tell(&self, what: &'static str, text: String) {
        // Nobody may listen any more: then nobody is told.
        let _ = self.to.send((self.number, what, text));
    }
}

impl Drop for Tell {
    fn drop(&mut self) {
        self.tell("over", String::new());
    }
}

/// Has everything that happens to a tube be told. Its callbacks are dropped when it is over.
fn listen(manager: &Manager, number: u64, to: Sender<Event>) {
    let tell = Arc::new(Tell { number, to });
    let telling = tell.clone();
    manager.on_state(move |_, state| telling.tell("state", state.to_string()));
    let telling = tell.clone();
    manager.on_network_change(move |_, change| telling.tell("change", change.to_string()));
    manager.on_signal(move |signal| tell.tell("signal", signal.to_json()));
    manager.on_message(|message| BROUGHT.with_borrow_mut(|brought| brought.push(message.clone())));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
