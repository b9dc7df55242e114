//! The thread on which callbacks are called: one for each runtime, so that one that takes its time holds up no connection.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::callbacks::Tell;
use super::runtime::Place;
use super::shared::Shared;

/// What waits to be told; then the managers wait.
const WAITING: usize = 1024;

/// The way to the thread.
#[derive(Debug, Clone)]
pub(super) struct Telling(mpsc::Sender<Task>);

#[derive(Debug)]
enum Task {
    Tell(Arc<Shared>, Tell),
    Over(Arc<Shared>, Option<Place>),
}

impl Telling {
    /// Starts the thread. It ends when nobody has anything to tell any more.
    pub(super) fn start() -> io::Result<Self> {
        let (telling, tasks) = mpsc::channel(WAITING);
        std::thread::Builder::new()
            .name("tube-callbacks".to_owned())
            .spawn(|| run(tasks))?;
        Ok(Telling(telling))
    }

    pub(super) async fn tell(&self, manager: &Arc<Shared>, what: Tell) {
        self.put(Task::Tell(manager.clone(), what)).await;
    }

    /// Nothing more is to be told; the manager gives its place back.
    pub(super) async fn over(&self, manager: Arc<Shared>, place: Option<Place>) {
        self.put(Task::Over(manager, place)).await;
    }

    async fn put(&self, task: Task) {
        // The thread goes last.
        let _ = self.0.send(task).await;
    }
}

fn run(mut tasks: mpsc::Receiver<Task>) {
    while let Some(task) = tasks.blocking_recv() {
        match task {
            Task::Tell(manager, what) => {
                manager.callbacks.tell(&manager.options.tube_id, &what);
            }
            Task::Over(manager, place) => manager.release(place),
        }
    }
}
