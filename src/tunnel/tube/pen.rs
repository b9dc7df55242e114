//! Who writes to the channel that carries a tube: the task that does, or, while it has nothing to do, whoever sends. A message
//! that waits for nobody then goes out without waking a task.

use std::fmt;
use std::future::ready;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Shared, lock};
use crate::rtc::{Channel, RtcError};

/// A message that is being given to a channel.
pub(super) type Begun = BoxFuture<'static, Result<(), RtcError>>;

/// Held by whoever writes.
#[derive(Default)]
pub(super) struct Pen {
    /// The channel, while the task has nothing to do.
    idle: Option<Channel>,
    /// What somebody began to write and the task is to end.
    begun: Option<Begun>,
}

impl fmt::Debug for Pen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (idle, begun) = (self.idle.is_some(), self.begun.is_some());
        f.debug_struct("Pen")
            .field("idle", &idle)
            .field("begun", &begun)
            .finish()
    }
}

impl Shared {
    /// Writes the message that was pushed last, if it is the only one that waits and nobody else writes; whether nobody else
    /// needs to see to it.
    ///
    /// It is polled once, and what is not done then is the task's: a sender that is dropped leaves nothing half written.
    pub(super) fn write_now(&self) -> bool {
        let mut pen = lock(&self.pen);
        let Some(channel) = pen.idle.clone().filter(|_| pen.begun.is_none()) else {
            return false;
        };
        if *self.held.borrow() {
            return false;
        }
        let Some(message) = self.sent().only() else {
            return false;
        };
        let mut begun = message.send(channel).boxed();
        match (&mut begun).now_or_never() {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                // Nothing may follow on a channel that lacks a message: the task ends with it.
                pen.idle = None;
                pen.begun = Some(ready(Err(error)).boxed());
                false
            }
            None => {
                pen.begun = Some(begun);
                false
            }
        }
    }

    /// The task has nothing to do: whoever sends may write.
    pub(super) fn put_down(&self, channel: &Channel) {
        lock(&self.pen).idle = Some(channel.clone());
    }

    /// The task writes again, and first what somebody has begun.
    pub(super) fn take_up(&self) -> Option<Begun> {
        let mut pen = lock(&self.pen);
        pen.idle = None;
        pen.begun.take()
    }
}
