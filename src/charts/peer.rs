//! `peer`: one peer connection, from the first description to its close (worker-connection.md, WebSocket Message
//! Handling, ICE Connection State Management and Data Channel Management; reading.md 3, 11 and 14).

use std::time::Duration;

use statig::prelude::*;

use super::machine::{self, Bound, Chart, any, chart_core, statechart};

/// How long the exchange of descriptions may take; a foreign peer gathers its candidates for some seconds.
pub const NEGOTIATION: Duration = Duration::from_secs(20);
/// How long it may take from the descriptions to an open channel, where this side answers.
pub const SETUP: Duration = Duration::from_secs(30);
/// The same where this side offers: it can try again with a new connection, so it waits less.
pub const SETUP_OFFERER: Duration = Duration::from_secs(6);
/// How long an idle connection is kept after its job.
pub const LINGER: Duration = Duration::from_secs(30);
/// How long closing may take.
pub const CLOSING: Duration = Duration::from_secs(5);

/// Which side opens the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Makes the offer and the channel: a client.
    Offerer,
    /// Answers: a worker.
    Answerer,
}

/// Why a connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It never came up.
    NeverOpened,
    /// The other side closed it.
    ClosedByPeer,
    /// ICE failed, or stayed disconnected for 90 s.
    PathLost,
}

/// What the connection, its channels and the jobs on it report.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Input {
    /// Begin: make the offer, or answer the one that came.
    Begin,
    /// Both descriptions are in place.
    Agreed,
    /// A description could not be made, sent or understood.
    NegotiationFailed,
    /// ICE is connected or completed.
    IceConnected,
    /// ICE is disconnected.
    IceDisconnected,
    /// ICE has failed.
    IceFailed,
    /// The remote side made a channel.
    ChannelCreated,
    /// A channel is open.
    ChannelOpen,
    /// The last open channel closed, or the stack ended.
    ChannelClosed,
    /// The watchdog gave the connection up.
    GivenUp,
    /// A job on it began.
    JobBegan,
    /// Its job ended.
    JobEnded,
    /// Close it: it is no longer wanted.
    Close,
    /// The stack has closed it.
    StackClosed,
    /// A timer fired.
    Fired(Timer),
}

/// The timers of this chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Until the setup counts as failed.
    Setup,
    /// Until an idle connection is closed.
    Linger,
    /// Until closing is taken for done.
    Closing,
}

/// What the chart asks for.
#[derive(Debug, Clone, PartialEq, strum::AsRefStr)]
pub enum Act {
    /// Make the offer and send it.
    SendOffer,
    /// Make the answer and send it.
    SendAnswer,
    /// ICE is connected: log it.
    LogConnected,
    /// Serve the channel that the remote side made.
    ServeChannel,
    /// Tell the watchdog that ICE is connected.
    TellWatchdogConnected,
    /// Tell the watchdog that ICE is disconnected.
    TellWatchdogDisconnected,
    /// Tell the watchdog that ICE has failed.
    TellWatchdogFailed,
    /// Tell the watchdog that its work is done.
    EndWatchdog,
    /// A channel is open: say so.
    ReportOpen,
    /// The connection is lost: say so.
    ReportLost(Lost),
    /// Close channels and connection.
    CloseStack,
    /// Everything is closed: say so.
    ReportClosed,
}

type Out = machine::Out<Timer, Act>;

#[derive(Debug, Clone, PartialEq)]
struct Rules {
    side: Side,
}

statechart! {
    /// One peer connection.
    Peer of Rules {
        Idle "idle", Bound::Open("the actor begins at once"), "Nothing has begun.";
        Negotiating "negotiating", Bound::Timer("Setup"), "Descriptions are exchanged through the hub.";
        Connecting "connecting", Bound::Timer("Setup"), "ICE, DTLS and SCTP look for each other.";
        Open "open", Bound::Open("a job takes as long as it takes; the watchdog bounds a lost path"), "A channel is open.";
        Lingering "lingering", Bound::Timer("Linger"), "The job is over; the peer may stay a little, or send another.";
        Closing "closing", Bound::Timer("Closing"), "Channels and connection are being closed.";
        Closed "closed", Bound::Final, "Nothing is left of it.";
    }
    under {
        Living "living";
        SettingUp "setting_up";
        Usable "usable";
    }
}

// A state names all of its arguments, also what only its entry action or a superstate reads.
#[allow(unused_variables)]
#[state_machine(
    initial = "State::idle()",
    before_dispatch = "Self::note",
    visibility = "pub(super)",
    state(derive(Debug, Clone, PartialEq))
)]
impl Rules {
    /// Everything before closing.
    #[superstate]
    fn living(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Close => Transition(State::closing()),
            Input::Begin => context.ignore("it has begun already"),
            Input::StackClosed => {
                context.ignore("the end of the stack comes as a closed channel first")
            }
            Input::Fired(_) => context.ignore("the timer belongs to another state"),
            any![
                Agreed, NegotiationFailed, IceConnected, IceDisconnected, IceFailed,
                ChannelCreated, ChannelOpen, ChannelClosed, GivenUp, JobBegan, JobEnded
            ] => context.undecided(),
        }
    }

    #[state(superstate = "living")]
    fn idle(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Begin => {
                context.act(match self.side {
                    Side::Offerer => Act::SendOffer,
                    Side::Answerer => Act::SendAnswer,
                });
                Transition(State::negotiating())
            }
            any![
                Agreed, NegotiationFailed, IceConnected, IceDisconnected, IceFailed,
                ChannelCreated, ChannelOpen, ChannelClosed, GivenUp, JobBegan, JobEnded
            ] => context.ignore("nothing has begun yet"),
            any![Close, StackClosed, Fired] => Super,
        }
    }

    /// Before the first channel is open.
    #[superstate(superstate = "living")]
    fn setting_up(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![NegotiationFailed, IceFailed, ChannelClosed, GivenUp]
            | Input::Fired(Timer::Setup) => {
                context.act(Act::ReportLost(Lost::NeverOpened));
                Transition(State::closing())
            }
            Input::IceConnected => {
                context.act(Act::LogConnected);
                context.act(Act::TellWatchdogConnected);
                Handled
            }
            Input::ChannelCreated => {
                context.act(Act::ServeChannel);
                Handled
            }
            Input::ChannelOpen => {
                context.act(Act::ReportOpen);
                Transition(State::open())
            }
            Input::IceDisconnected => context.ignore("the setup has a deadline of its own"),
            Input::JobBegan | Input::JobEnded => context.ignore("a job needs an open channel"),
            any![Begin, Agreed, Close, StackClosed, Fired] => Super,
        }
    }

    #[action]
    fn enter_negotiating(context: &mut Out) {
        context.arm(Timer::Setup, NEGOTIATION);
    }

    #[action]
    fn end_setup(context: &mut Out) {
        context.cancel(Timer::Setup);
    }

    #[state(
        superstate = "setting_up",
        entry_action = "enter_negotiating",
        exit_action = "end_setup"
    )]
    fn negotiating(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Agreed => Transition(State::connecting()),
            any![
                Begin, NegotiationFailed, IceConnected, IceDisconnected, IceFailed, ChannelCreated,
                ChannelOpen, ChannelClosed, GivenUp, JobBegan, JobEnded, Close, StackClosed, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_connecting(&mut self, context: &mut Out) {
        context.arm(
            Timer::Setup,
            match self.side {
                Side::Offerer => SETUP_OFFERER,
                Side::Answerer => SETUP,
            },
        );
    }

    #[state(
        superstate = "setting_up",
        entry_action = "enter_connecting",
        exit_action = "end_setup"
    )]
    fn connecting(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::Agreed => context.ignore("both descriptions are in place already"),
            any![
                Begin, NegotiationFailed, IceConnected, IceDisconnected, IceFailed, ChannelCreated,
                ChannelOpen, ChannelClosed, GivenUp, JobBegan, JobEnded, Close, StackClosed, Fired
            ] => Super,
        }
    }

    /// A channel is open: the watchdog is told what ICE does, and has the last word on a lost path.
    #[superstate(superstate = "living")]
    fn usable(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::IceConnected => {
                context.act(Act::TellWatchdogConnected);
                Handled
            }
            Input::IceDisconnected => {
                context.act(Act::TellWatchdogDisconnected);
                Handled
            }
            Input::IceFailed => {
                context.act(Act::TellWatchdogFailed);
                Handled
            }
            Input::ChannelCreated => {
                context.act(Act::ServeChannel);
                Handled
            }
            Input::ChannelClosed => {
                context.act(Act::ReportLost(Lost::ClosedByPeer));
                Transition(State::closing())
            }
            Input::GivenUp => {
                context.act(Act::ReportLost(Lost::PathLost));
                Transition(State::closing())
            }
            Input::Agreed | Input::NegotiationFailed => {
                context.ignore("the connection is up; a late word of its setup")
            }
            Input::ChannelOpen => context.ignore("a further channel is served like the first"),
            any![Begin, JobBegan, JobEnded, Close, StackClosed, Fired] => Super,
        }
    }

    #[state(superstate = "usable")]
    fn open(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::JobBegan => context.ignore("an open connection is there for jobs"),
            Input::JobEnded => Transition(State::lingering()),
            any![
                Begin, Agreed, NegotiationFailed, IceConnected, IceDisconnected, IceFailed,
                ChannelCreated, ChannelOpen, ChannelClosed, GivenUp, Close, StackClosed, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_lingering(context: &mut Out) {
        context.arm(Timer::Linger, LINGER);
    }

    #[action]
    fn end_linger(context: &mut Out) {
        context.cancel(Timer::Linger);
    }

    #[state(
        superstate = "usable",
        entry_action = "enter_lingering",
        exit_action = "end_linger"
    )]
    fn lingering(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::JobBegan => Transition(State::open()),
            Input::JobEnded => context.ignore("the linger runs from the first end"),
            Input::Fired(Timer::Linger) => Transition(State::closing()),
            any![
                Begin, Agreed, NegotiationFailed, IceConnected, IceDisconnected, IceFailed,
                ChannelCreated, ChannelOpen, ChannelClosed, GivenUp, Close, StackClosed, Fired
            ] => Super,
        }
    }

    #[action]
    fn enter_closing(context: &mut Out) {
        context.arm(Timer::Closing, CLOSING);
        context.act(Act::EndWatchdog);
        context.act(Act::CloseStack);
    }

    #[action]
    fn leave_closing(context: &mut Out) {
        context.cancel(Timer::Closing);
    }

    #[state(entry_action = "enter_closing", exit_action = "leave_closing")]
    fn closing(&mut self, context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            Input::StackClosed | Input::Fired(Timer::Closing) => {
                context.act(Act::ReportClosed);
                Transition(State::closed())
            }
            any![IceConnected, IceDisconnected, IceFailed, GivenUp] => {
                context.ignore("what ICE does while closing changes nothing")
            }
            any![
                Begin, Agreed, NegotiationFailed, ChannelCreated, ChannelOpen, ChannelClosed,
                JobBegan, JobEnded, Close
            ] => context.ignore("it is closing"),
            Input::Fired(_) => context.ignore("the timer was cancelled"),
        }
    }

    #[state]
    fn closed(context: &mut Out, event: &Input) -> Outcome<State> {
        match event {
            any![
                Begin, Agreed, NegotiationFailed, IceConnected, IceDisconnected, IceFailed,
                ChannelCreated, ChannelOpen, ChannelClosed, GivenUp, JobBegan, JobEnded, Close,
                StackClosed
            ] => context.ignore("nothing is left of the connection"),
            Input::Fired(_) => context.ignore("the timer was cancelled"),
        }
    }
}

impl Peer {
    /// A connection that has not begun.
    pub fn new(side: Side) -> Self {
        Self::with(Rules { side })
    }
}

impl Chart for Peer {
    const NAME: &'static str = "peer";
    const ABOUT: &'static str = "One peer connection: descriptions, setup, an open channel, a linger after the job, \
        and an orderly end. Every accepted offer has one of its own.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new(Side::Offerer), Self::new(Side::Answerer)]
    }

    fn alphabet() -> Vec<Input> {
        vec![
            Input::Begin,
            Input::Agreed,
            Input::NegotiationFailed,
            Input::IceConnected,
            Input::IceDisconnected,
            Input::IceFailed,
            Input::ChannelCreated,
            Input::ChannelOpen,
            Input::ChannelClosed,
            Input::GivenUp,
            Input::JobBegan,
            Input::JobEnded,
            Input::Close,
            Input::StackClosed,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Setup, Timer::Linger, Timer::Closing]
    }

    fn guard(&self, event: &Input) -> &'static str {
        match (self.0.state(), event, self.0.inner().side) {
            (State::Idle {}, Input::Begin, Side::Offerer) => "this side offers",
            (State::Idle {}, Input::Begin, Side::Answerer) => "this side answers",
            (State::Negotiating {}, Input::Agreed, Side::Offerer) => "this side offers",
            (State::Negotiating {}, Input::Agreed, Side::Answerer) => "this side answers",
            _ => "",
        }
    }

    fn act_name(act: &Act) -> String {
        match act {
            Act::ReportLost(Lost::NeverOpened) => "report lost: never opened".to_owned(),
            Act::ReportLost(Lost::ClosedByPeer) => "report lost: closed by the peer".to_owned(),
            Act::ReportLost(Lost::PathLost) => "report lost: the path is gone".to_owned(),
            other => machine::words(other.as_ref()),
        }
    }
}
