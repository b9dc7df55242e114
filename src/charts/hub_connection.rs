//! `hub_connection`: one socket at the hub, in either dialect, from its handshake to its end, and for a device, to the
//! end of its session (websocket-connection.md; reading.md 20, 24 and 25).
//!
//! A peer that falls silent is given up `silence + answer` after its last word: by default, 35 s. Its socket is not timed
//! message by message: the actor notes when it last heard something, and is asked for it once per silence.

mod book;
mod chart;
mod vocabulary;

use statig::prelude::*;

use super::machine::{self, Bound, any, statechart};
use crate::wire::close::CloseCode;

pub use vocabulary::{Act, Dialect, Input, LEAST, LONGEST_TOKEN, Settings, Timer};

type Out = machine::Out<Timer, Act>;

/// What is known of the peer's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// There is none that could end.
    Absent,
    /// It is good for a while.
    Good,
    /// The peer has been warned of its end.
    Ending,
}

/// What comes after the line has been dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The session waits for its device.
    Resume,
    /// The session is over.
    Forget,
    /// There is no session, or another connection has it.
    Nothing,
}

#[derive(Debug, Clone, PartialEq)]
struct Rules {
    settings: Settings,
    /// Whether there is a session that can outlive the connection: a device is attached.
    session: bool,
    token: Token,
    /// Messages that made no sense since the last pardon.
    rubbish: u32,
    /// How often it was too fast since the last pardon.
    overruns: u32,
}

statechart! {
    /// One socket at the hub.
    HubConnection of Rules {
        Opening "opening", Bound::Timer("Opening"), "The socket is open; nobody has registered on it, or no device is attached yet.";
        Open "open", Bound::Timer("Silence"), "The peer has its place, and is heard.";
        Suspect "suspect", Bound::Timer("Answer"), "Nothing came for 25 s: a ping is out. Any sign of life will do.";
        Draining "draining", Bound::Timer("Closing"), "Out of routing and rooms; what is left to send, and the close frame, are on their way.";
        Resumable "resumable", Bound::Timer("Resume"), "The line is gone, and the device's session waits for it.";
        Closed "closed", Bound::Final, "Nothing is left of it here.";
    }
    under {
        Connected "connected";
        Live "live";
    }
}

// A state names all of its arguments, also what only its entry action or a superstate reads.
#[allow(unused_variables)]
#[state_machine(
    initial = "State::opening()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    #[action]
    fn leave_connected(&mut self, context: &mut Out) {
        (self.rubbish, self.overruns) = (0, 0);
        context.cancel(Timer::Forgive);
    }

    /// Everything before the end: what can end a connection, and how much nonsense it takes.
    #[superstate(exit_action = "leave_connected")]
    fn connected(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::End(code) => self.close(*code, context),
            Input::Overflow => self.close(self.slow_reader(), context),
            Input::PeerClosed => self.close(CloseCode::Normal, context),
            Input::Lost => {
                let resumable = self.after(CloseCode::PingTimeout) == After::Resume;
                context.act(Act::Detach { resumable });
                context.act(Act::HangUp);
                Transition(if resumable {
                    State::resumable()
                } else {
                    State::closed()
                })
            }
            Input::Rubbish => {
                self.count(context);
                self.rubbish = self.rubbish.saturating_add(1);
                if self.rubbish >= self.settings.strikes {
                    return self.close(CloseCode::Rubbish, context);
                }
                Handled
            }
            Input::TooFast => {
                self.count(context);
                self.overruns = self.overruns.saturating_add(1);
                if self.overruns >= self.settings.overruns {
                    return self.close(CloseCode::RateLimited, context);
                }
                Handled
            }
            Input::Fired(Timer::Forgive) if self.is_clean() => {
                context.ignore("there is nothing to forgive")
            }
            Input::Fired(Timer::Forgive) => {
                (self.rubbish, self.overruns) = (0, 0);
                Handled
            }
            Input::Flushed => context.ignore("no close frame has been sent"),
            Input::Fired(_) => context.ignore("the timer belongs to another state"),
            any![Admitted, Unseated, Heard, Refreshed, Resumed] => context.undecided(),
        }
    }

    #[action]
    fn enter_opening(&mut self, context: &mut Out) {
        context.arm(Timer::Opening, self.settings.opening);
    }

    #[action]
    fn leave_opening(context: &mut Out) {
        context.cancel(Timer::Opening);
    }

    #[state(
        superstate = "connected",
        entry_action = "enter_opening",
        exit_action = "leave_opening"
    )]
    fn opening(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Admitted { token } => {
                self.session = self.is_device();
                if let Some(token) = token {
                    self.count_on(*token, context);
                }
                context.arm(Timer::Silence, self.settings.silence);
                Transition(State::open())
            }
            Input::Fired(Timer::Opening) => self.close(CloseCode::NotRegistered, context),
            Input::Unseated => context.ignore("nobody is registered on it"),
            Input::Heard { .. } => context.ignore("its deadline runs, whatever it says"),
            Input::Refreshed { .. } => context.ignore("no token was accepted that it could follow"),
            Input::Resumed => context.ignore("it has no session yet"),
            any![
                Rubbish, TooFast, Overflow, End, PeerClosed, Lost, Flushed, Fired
            ] => Super,
        }
    }

    #[action]
    fn leave_live(&mut self, context: &mut Out) {
        self.forget_token(context);
    }

    /// The peer has its place.
    #[superstate(superstate = "connected", exit_action = "leave_live")]
    fn live(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Admitted { token: None } => {
                self.forget_token(context);
                Handled
            }
            Input::Admitted { token: Some(token) } | Input::Refreshed { token } => {
                self.count_on(*token, context);
                Handled
            }
            Input::Fired(Timer::Expiring) if self.token == Token::Good => {
                self.token = Token::Ending;
                context.act(Act::WarnOfExpiry);
                Handled
            }
            Input::Fired(Timer::Expiring) => context.ignore("there is no token to warn of"),
            Input::Fired(Timer::Expired) if self.token == Token::Absent => {
                context.ignore("there is no token that could end")
            }
            Input::Fired(Timer::Expired) => self.close(CloseCode::TokenExpired, context),
            Input::Unseated if self.is_device() => {
                context.ignore("a device has its place for as long as its socket lives")
            }
            Input::Unseated => Transition(State::opening()),
            Input::Resumed if self.is_device() => self.close(CloseCode::Replaced, context),
            Input::Resumed => context.ignore("a peer has no session"),
            any![
                Heard, Rubbish, TooFast, Overflow, End, PeerClosed, Lost, Flushed, Fired
            ] => Super,
        }
    }

    #[action]
    fn leave_open(context: &mut Out) {
        context.cancel(Timer::Silence);
    }

    #[state(superstate = "live", exit_action = "leave_open")]
    fn open(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Heard { ago } if *ago < self.settings.silence => {
                self.listen(*ago, context);
                Handled
            }
            Input::Heard { .. } => {
                context.act(Act::Ping);
                Transition(State::suspect())
            }
            Input::Fired(Timer::Silence) => {
                context.act(Act::Look);
                // The answer sets it right; without one, this bounds the state.
                context.arm(Timer::Silence, self.settings.silence);
                Handled
            }
            any![
                Admitted, Unseated, Refreshed, Rubbish, TooFast, Overflow, End, PeerClosed, Lost,
                Flushed, Resumed, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_suspect(&mut self, context: &mut Out) {
        context.arm(Timer::Answer, self.settings.answer);
    }

    #[action]
    fn leave_suspect(context: &mut Out) {
        context.cancel(Timer::Answer);
    }

    #[state(
        superstate = "live",
        entry_action = "enter_suspect",
        exit_action = "leave_suspect"
    )]
    fn suspect(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Heard { ago } if *ago < self.settings.silence => {
                self.listen(*ago, context);
                Transition(State::open())
            }
            Input::Heard { .. } => context.ignore("it is that silence for which it is suspected"),
            Input::Fired(Timer::Answer) => self.close(self.ping_timeout(), context),
            any![
                Admitted, Unseated, Refreshed, Rubbish, TooFast, Overflow, End, PeerClosed, Lost,
                Flushed, Resumed, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_draining(&mut self, context: &mut Out) {
        context.arm(Timer::Closing, self.settings.closing);
    }

    #[action]
    fn leave_draining(context: &mut Out) {
        context.cancel(Timer::Closing);
    }

    #[state(entry_action = "enter_draining", exit_action = "leave_draining")]
    fn draining(after: &mut After, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![Flushed, PeerClosed, Lost] | Input::Fired(Timer::Closing) => {
                context.act(Act::HangUp);
                Transition(match after {
                    After::Resume => State::resumable(),
                    After::Forget => {
                        context.act(Act::Forget);
                        State::closed()
                    }
                    After::Nothing => State::closed(),
                })
            }
            // The session has gone over to another connection: it is not for this one to end it.
            Input::Resumed | Input::End(CloseCode::Replaced) if *after != After::Nothing => {
                *after = After::Nothing;
                Handled
            }
            Input::End(code) if *after == After::Resume && !code.is_resumable() => {
                *after = After::Forget;
                Handled
            }
            Input::End(_) => context.ignore("it is closing already"),
            Input::Resumed => context.ignore("it keeps no session"),
            any![
                Admitted, Unseated, Heard, Refreshed, Rubbish, TooFast, Overflow
            ] => context.ignore("what comes after the close frame no longer counts"),
            Input::Fired(_) => context.ignore("the timer was cancelled"),
        }
    }

    #[action]
    fn enter_resumable(&mut self, context: &mut Out) {
        context.arm(Timer::Resume, self.settings.resume);
    }

    #[action]
    fn leave_resumable(context: &mut Out) {
        context.cancel(Timer::Resume);
    }

    #[state(entry_action = "enter_resumable", exit_action = "leave_resumable")]
    fn resumable(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Resumed | Input::End(CloseCode::Replaced) => Transition(State::closed()),
            Input::End(code) if code.is_resumable() => {
                context.ignore("the connection has ended, and its session is not concerned")
            }
            Input::End(_) | Input::Fired(Timer::Resume) => {
                context.act(Act::Forget);
                Transition(State::closed())
            }
            any![
                Admitted, Unseated, Heard, Refreshed, Rubbish, TooFast, Overflow, PeerClosed, Lost,
                Flushed
            ] => context.ignore("the line is gone: a late word of it"),
            Input::Fired(_) => context.ignore("the timer was cancelled"),
        }
    }

    #[state]
    fn closed(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![
                Admitted, Unseated, Heard, Refreshed, Rubbish, TooFast, Overflow, End, PeerClosed,
                Lost, Flushed, Resumed, Fired
            ] => context.ignore("it is over"),
        }
    }
}

impl HubConnection {
    /// A socket that has just been opened.
    pub fn new(settings: Settings) -> Self {
        Self::with(Rules {
            settings,
            session: false,
            token: Token::Absent,
            rubbish: 0,
            overruns: 0,
        })
    }
}
