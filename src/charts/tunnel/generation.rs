//! Where a tube begins, and how its paths are told apart.

use std::fmt;

use super::{Input, Rules, Session, Settings, State, Tunnel};

/// Counts the paths of a tube, restarted or rebuilt, from 1. It is not part of what two charts differ in: nothing is
/// decided by the number itself (see [`Tunnel::judge`]).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(pub u64);

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generation")
    }
}

impl Tunnel {
    /// The manager of a tube that has nothing yet. The network and the hub are taken to be there.
    pub fn new(settings: Settings) -> Self {
        Self::with(Rules {
            settings,
            generation: Generation(1),
            session: Session::None,
            network: true,
            signalling: true,
            young: false,
            pong: false,
            ping: false,
        })
    }

    /// The generation of the present path, or of the one that is being made.
    pub fn generation(&self) -> u64 {
        self.0.inner().generation.0
    }

    /// What something counts as that says of itself to be of this generation: itself, or [`Input::Stale`].
    ///
    /// An offer has to be of a newer one. A tube that has failed hears the responder ask for a restart of any that there
    /// was, since the offers that it made in vain may not have come. Everything else has to be of the present one.
    pub fn judge(&self, generation: u64, input: Input) -> Input {
        let present = self.generation();
        let fits = match &input {
            Input::Offered { .. } => generation > present,
            Input::Asked { .. } if matches!(self.0.state(), State::Failed { .. }) => {
                generation <= present
            }
            _ => generation == present,
        };
        if fits { input } else { Input::Stale }
    }
}
