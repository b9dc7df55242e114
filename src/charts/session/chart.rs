//! What the explorer and the drawing want to know of `session`.

use super::{Act, Input, Next, Out, Session, State, Timer, Why};
use crate::charts::machine::{Chart, chart_core};

impl Session {
    /// What becomes of it in the end, while it is not registered.
    pub fn in_the_end(&self) -> Option<&'static str> {
        match self.0.state() {
            State::Registered {} | State::Closing { .. } | State::Closed {} | State::Failed {} => {
                None
            }
            State::Offline {}
            | State::SigningIn {}
            | State::JoiningRoom {}
            | State::Connecting {}
            | State::Registering {}
            | State::BackingOff { .. } => Some(match self.0.inner().ever_registered {
                true => "it is tried again for as long as it takes",
                false => "where it fails at first, it is not tried again",
            }),
        }
    }
}

impl Chart for Session {
    const NAME: &'static str = "session";
    const ABOUT: &'static str = "The way to the hub: sign in, make or join a room, connect, register; \
        and again, with jittered backoff, whenever the socket is lost.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new(true), Self::new(false)]
    }

    fn alphabet() -> Vec<Input> {
        // One value of jitter: it changes how long a wait is, never what follows it.
        let jitter = 0;
        vec![
            Input::Start,
            Input::SignedIn,
            Input::SignInFailed { jitter },
            Input::RoomCreated,
            Input::RoomFailed { jitter },
            Input::SocketOpen,
            Input::SocketLost {
                jitter,
                stale: false,
            },
            Input::SocketLost {
                jitter,
                stale: true,
            },
            Input::Registered,
            Input::Refused {
                why: Why::Identity,
                jitter,
            },
            Input::Refused {
                why: Why::Room,
                jitter,
            },
            Input::Refused {
                why: Why::Other,
                jitter,
            },
            Input::Reregister,
            Input::CleanedUp,
            Input::Shutdown,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Step, Timer::Backoff, Timer::Closing]
    }

    fn guard(&self, event: &Input) -> &'static str {
        let rules = self.0.inner();
        let fails = matches!(
            event,
            Input::SignInFailed { .. }
                | Input::RoomFailed { .. }
                | Input::SocketLost { .. }
                | Input::Refused { .. }
                | Input::Fired(Timer::Step)
        );
        match (self.0.state(), event) {
            (State::SigningIn {}, Input::SignedIn) if rules.room_known => "the room is known",
            (State::SigningIn {}, Input::SignedIn) => "no room yet",
            (State::Closing { failed: true, .. }, Input::CleanedUp | Input::Fired(_)) => {
                "it never began"
            }
            (State::Closing { .. }, Input::CleanedUp | Input::Fired(_)) => "as asked",
            (
                State::BackingOff {
                    next: Next::SignIn, ..
                },
                Input::Fired(_),
            ) => "sign in afresh",
            (State::BackingOff { .. }, Input::Fired(_)) => "the token is good",
            (State::Offline {} | State::BackingOff { .. } | State::Closing { .. }, _) => "",
            _ if fails && !rules.ever_registered => "never registered yet",
            _ if fails => "registered before",
            _ => "",
        }
    }
}
