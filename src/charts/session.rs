//! `session`: a worker's or client's way to the hub, from sign-in to registration, and back to it whenever it is lost
//! (worker-connection.md, Worker Lifecycle Management; worker-state.md; reading.md 14 to 16).

mod chart;
mod vocabulary;

use std::time::Duration;

use statig::prelude::*;

use super::machine::{self, Bound, any, statechart};

pub use vocabulary::{Act, CLOSING, Input, MAX_BACKOFF, STEP, Timer, Why};

use vocabulary::MAX_ATTEMPT;

/// Where to go on after a backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    SignIn,
    Connect,
}

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq)]
struct Rules {
    /// Makes its own room; else it was told of one.
    own_room: bool,
    /// Whether there is a room to register in.
    room_known: bool,
    /// Whether the hub ever confirmed: before that a failure is final, after it, it is retried.
    ever_registered: bool,
    attempt: u8,
}

statechart! {
    /// The session of one peer with the hub.
    Session of Rules {
        Offline "offline", Bound::Open("the actor starts it at once"), "Nothing has begun.";
        SigningIn "signing_in", Bound::Timer("Step"), "Asking the hub for an identity.";
        JoiningRoom "joining_room", Bound::Timer("Step"), "Asking the hub for a room of its own.";
        Connecting "connecting", Bound::Timer("Step"), "Opening the WebSocket.";
        Registering "registering", Bound::Timer("Step"), "Waiting for the hub to confirm the registration.";
        Registered "registered", Bound::Open("this is the goal; the socket's reader reports a silent hub as a lost socket"),
            "Known to the hub, and to be found by others.";
        BackingOff "backing_off", Bound::Timer("Backoff"), "Waiting before the next attempt.";
        Closing "closing", Bound::Timer("Closing"), "Saying goodbye to the hub.";
        Closed "closed", Bound::Final, "Ended as asked.";
        Failed "failed", Bound::Final, "Never began: the first sign-in, room or registration failed.";
    }
    under {
        Living "living";
        Climbing "climbing";
    }
}

// A state names all of its arguments, also what only its entry action or a superstate reads.
#[allow(unused_variables)]
#[state_machine(
    initial = "State::offline()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    /// Everything before the goodbye.
    #[superstate]
    fn living(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Shutdown => Transition(State::closing(false)),
            Input::Start => context.ignore("it has begun already"),
            Input::SignedIn | Input::SignInFailed { .. } => {
                context.ignore("no sign-in is under way: a late answer")
            }
            Input::RoomCreated | Input::RoomFailed { .. } => {
                context.ignore("no room was asked for: a late answer")
            }
            Input::SocketOpen | Input::SocketLost { .. } => {
                context.ignore("it concerns a socket that was given up")
            }
            Input::Registered | Input::Refused { .. } => {
                context.ignore("no registration is under way: a late answer")
            }
            Input::Reregister => context.ignore("a registration follows anyway"),
            Input::CleanedUp => context.ignore("no goodbye was said"),
            Input::Fired(_) => context.ignore("the timer belongs to another state"),
        }
    }

    #[state(superstate = "living")]
    fn offline(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Start => Transition(State::signing_in()),
            any![
                SignedIn, SignInFailed, RoomCreated, RoomFailed, SocketOpen, SocketLost,
                Registered, Refused, Reregister, CleanedUp, Shutdown, Fired
            ] => Super,
        }
    }

    /// The steps towards the hub: each has the same deadline and, but for the first, the same way to miss it.
    #[superstate(superstate = "living")]
    fn climbing(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Fired(Timer::Step) => {
                context.act(Act::DropSocket);
                self.retry(0, Next::Connect)
            }
            any![
                Start, SignedIn, SignInFailed, RoomCreated, RoomFailed, SocketOpen, SocketLost,
                Registered, Refused, Reregister, CleanedUp, Shutdown, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_signing_in(context: &mut Out) {
        context.arm(Timer::Step, STEP);
        context.act(Act::SignIn);
    }

    #[action]
    fn end_step(context: &mut Out) {
        context.cancel(Timer::Step);
    }

    #[state(
        superstate = "climbing",
        entry_action = "enter_signing_in",
        exit_action = "end_step"
    )]
    fn signing_in(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::SignedIn if self.room_known => Transition(State::connecting()),
            Input::SignedIn => Transition(State::joining_room()),
            Input::SignInFailed { jitter } => self.retry(*jitter, Next::SignIn),
            // There is still no identity that is good: what timed out is what has to be tried again.
            Input::Fired(Timer::Step) => self.retry(0, Next::SignIn),
            any![
                Start, RoomCreated, RoomFailed, SocketOpen, SocketLost, Registered, Refused,
                Reregister, CleanedUp, Shutdown, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_joining_room(context: &mut Out) {
        context.arm(Timer::Step, STEP);
        context.act(Act::CreateRoom);
    }

    #[state(
        superstate = "climbing",
        entry_action = "enter_joining_room",
        exit_action = "end_step"
    )]
    fn joining_room(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::RoomCreated => {
                self.room_known = true;
                Transition(State::connecting())
            }
            Input::RoomFailed { jitter } => self.retry(*jitter, Next::SignIn),
            any![
                Start, SignedIn, SignInFailed, SocketOpen, SocketLost, Registered, Refused,
                Reregister, CleanedUp, Shutdown, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_connecting(context: &mut Out) {
        context.arm(Timer::Step, STEP);
        context.act(Act::OpenSocket);
    }

    #[state(
        superstate = "climbing",
        entry_action = "enter_connecting",
        exit_action = "end_step"
    )]
    fn connecting(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::SocketOpen => Transition(State::registering()),
            Input::SocketLost { jitter, stale } => self.retry(*jitter, Next::after(*stale)),
            any![
                Start, SignedIn, SignInFailed, RoomCreated, RoomFailed, Registered, Refused,
                Reregister, CleanedUp, Shutdown, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_registering(context: &mut Out) {
        context.arm(Timer::Step, STEP);
        context.act(Act::SendRegister);
    }

    #[state(
        superstate = "climbing",
        entry_action = "enter_registering",
        exit_action = "end_step"
    )]
    fn registering(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Registered => {
                self.ever_registered = true;
                self.attempt = 0;
                context.act(Act::ReportUp);
                Transition(State::registered())
            }
            Input::Refused { why, jitter } => {
                context.act(Act::DropSocket);
                self.refused(*why, *jitter)
            }
            Input::SocketLost { jitter, stale } => self.retry(*jitter, Next::after(*stale)),
            any![
                Start, SignedIn, SignInFailed, RoomCreated, RoomFailed, SocketOpen, Reregister,
                CleanedUp, Shutdown, Fired
            ] => Super,
        }
    }

    #[state(superstate = "living")]
    fn registered(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Reregister => {
                context.act(Act::SendRegister);
                Handled
            }
            Input::Registered => context.ignore("it confirms a registration that was sent again"),
            Input::Refused { why, jitter } => {
                context.act(Act::DropSocket);
                self.refused(*why, *jitter)
            }
            Input::SocketLost { jitter, stale } => self.retry(*jitter, Next::after(*stale)),
            any![
                Start, SignedIn, SignInFailed, RoomCreated, RoomFailed, SocketOpen, CleanedUp,
                Shutdown, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_backing_off(wait: &mut Duration, context: &mut Out) {
        context.arm(Timer::Backoff, *wait);
        context.act(Act::ReportDown);
    }

    #[action]
    fn leave_backing_off(context: &mut Out) {
        context.cancel(Timer::Backoff);
    }

    #[state(
        superstate = "living",
        entry_action = "enter_backing_off",
        exit_action = "leave_backing_off"
    )]
    fn backing_off(
        wait: &mut Duration,
        next: &mut Next,
        context: &mut Out,
        event: &Input,
    ) -> Outcome<State> {
        match event {
            Input::Fired(Timer::Backoff) => Transition(match next {
                Next::SignIn => State::signing_in(),
                Next::Connect => State::connecting(),
            }),
            any![
                Start, SignedIn, SignInFailed, RoomCreated, RoomFailed, SocketOpen, SocketLost,
                Registered, Refused, Reregister, CleanedUp, Shutdown, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_closing(context: &mut Out) {
        context.arm(Timer::Closing, CLOSING);
        context.act(Act::SayGoodbye);
    }

    #[action]
    fn leave_closing(context: &mut Out) {
        context.cancel(Timer::Closing);
    }

    #[state(entry_action = "enter_closing", exit_action = "leave_closing")]
    fn closing(failed: &mut bool, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::CleanedUp | Input::Fired(Timer::Closing) if *failed => {
                context.act(Act::ReportFailed);
                Transition(State::failed())
            }
            Input::CleanedUp | Input::Fired(Timer::Closing) => {
                context.act(Act::ReportClosed);
                Transition(State::closed())
            }
            Input::Shutdown => context.ignore("the end has begun already"),
            Input::Fired(_) => context.ignore("the timer was cancelled"),
            any![
                Start, SignedIn, SignInFailed, RoomCreated, RoomFailed, SocketOpen, SocketLost,
                Registered, Refused, Reregister
            ] => context.ignore("nothing but the end follows a shutdown"),
        }
    }

    #[state]
    fn closed(context: &mut Out, event: &Input) -> Outcome<State> {
        ended(context, event)
    }

    #[state]
    fn failed(context: &mut Out, event: &Input) -> Outcome<State> {
        ended(context, event)
    }
}

fn ended(out: &mut Out, event: &Input) -> Outcome<State> {
    match event {
        any![
            Start, SignedIn, SignInFailed, RoomCreated, RoomFailed, SocketOpen, SocketLost,
            Registered, Refused, Reregister, CleanedUp, Shutdown, Fired
        ] => out.ignore("the session is over"),
    }
}

impl Next {
    fn after(stale: bool) -> Self {
        if stale { Next::SignIn } else { Next::Connect }
    }
}

impl Rules {
    /// Before the first registration a failure is the user's to mend; after it, it is waited out.
    fn retry(&mut self, jitter: u8, next: Next) -> Outcome<State> {
        if !self.ever_registered {
            return Transition(State::closing(true));
        }
        let wait = backoff(self.attempt, jitter);
        self.attempt = (self.attempt + 1).min(MAX_ATTEMPT);
        let next = if self.room_known { next } else { Next::SignIn };
        Transition(State::backing_off(wait, next))
    }

    fn refused(&mut self, why: Why, jitter: u8) -> Outcome<State> {
        match why {
            Why::Identity => self.retry(jitter, Next::SignIn),
            Why::Room => {
                self.room_known = !self.own_room;
                self.retry(jitter, Next::SignIn)
            }
            Why::Other => self.retry(jitter, Next::Connect),
        }
    }
}

/// Half of the wait is fixed and half is jitter, so that a hub that comes back is not met by everybody at once.
fn backoff(attempt: u8, jitter: u8) -> Duration {
    let full = Duration::from_secs(1 << attempt.min(MAX_ATTEMPT)).min(MAX_BACKOFF);
    full / 2 + full / 2 * u32::from(jitter) / 255
}

impl Session {
    /// A session that makes a room of its own (`own_room`), or joins one that it was told of.
    pub fn new(own_room: bool) -> Self {
        Self::with(Rules {
            own_room,
            room_known: !own_room,
            ever_registered: false,
            attempt: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_bound_and_jitter_only_lengthens_it() {
        assert_eq!(backoff(0, 0), Duration::from_millis(500));
        assert_eq!(backoff(0, 255), Duration::from_secs(1));
        assert_eq!(backoff(3, 255), Duration::from_secs(8));
        assert_eq!(backoff(200, 255), MAX_BACKOFF);
    }
}
