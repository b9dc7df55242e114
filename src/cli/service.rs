//! Whoever started the process as a service is told when it is ready and when it begins to stop (`sd_notify(3)`). Without a
//! `NOTIFY_SOCKET`, nobody is.

use sd_notify::NotifyState;

/// It serves from now on; `status` says where, in a line for people.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What it is at, in a line for people.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// It has begun to stop.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
