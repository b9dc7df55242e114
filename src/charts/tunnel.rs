//! `tunnel`: the manager of one tube, from its first connection to its end, over as many connections as it takes
//! (websocket-integration-guide.md; reading.md 10, 12 and 26 to 29).
//!
//! A lost path climbs a ladder: the connection is *degraded* while there is doubt, then *lost*; a young loss is met with
//! an ICE restart, which has 3 s to move data in both directions; any other, and any restart that does not, with a new
//! connection on which the session goes on. Attempts stand apart by the [`Ledger`]'s backoff. Only the initiator offers;
//! the responder asks it to. So offers never cross, and what belongs to another generation is dropped and counted.
//!
//! This chart manages the connections between two Loaners. A peer that can neither restart nor resume has no tube: its
//! connection is waited for by `ice_watchdog`. Never both for one connection: a job's tube has the watchdog's patience.

mod generation;
mod ledger;
mod states;
mod status;
mod vocabulary;

use super::machine::{self, Bound, statechart};

pub use ledger::{BACKOFF, Ledger, RESTARTS, STABLE, WINDOW};
pub use status::Status;
pub use vocabulary::{
    AGAIN, ANSWER, ASK_AGAIN, Act, BUSY, CHECK, CONNECT, Change, DETACH, ICE_LAG, IDLE, Input,
    JOB_PATIENCE, LEAST, LOOK, MOVED, OFFER, PATIENCE, Public, REBUILD, REPLY, Reason, Refusal,
    Role, SETTLE, SUSPECT, Settings, Timer, Verdict, WEIGH, WISH, YOUNG,
};

use generation::Generation;
use states::{State, Superstate};

type Out = machine::Out<Timer, Act>;

/// What there is to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    /// It was never connected.
    None,
    /// It can go on over another connection.
    Kept,
    /// The other side does not know it any more.
    Lost,
}

#[derive(Debug, Clone, PartialEq)]
struct Rules {
    settings: Settings,
    generation: Generation,
    session: Session,
    /// Whether there is a way out of this machine.
    network: bool,
    /// Whether the hub can be reached.
    signalling: bool,
    /// Whether an ICE restart may help: the loss is young, and the connection is still there. `Young` runs as long.
    young: bool,
    /// Whether a ping of this generation was answered, since it was last lost.
    pong: bool,
    /// Whether the other side's ping came over this generation.
    ping: bool,
}

statechart! {
    /// The manager of one tube.
    Tunnel of Rules {
        Initializing "initializing", Bound::Open("the actor starts it at once"), "Nothing has begun.";
        Connecting "connecting", Bound::Timer("Setup"), "The first connection is being made.";
        Connected "connected", Bound::Timer("Look"), "Data goes both ways; who is silent is asked.";
        Degraded "degraded", Bound::Timer("Suspect"), "There is doubt: a ping is out.";
        Grace "grace", Bound::Timer("Settle"), "The path counts as lost; what to do is decided when the network is at rest.";
        WaitingForNetwork "waiting_for_network", Bound::Timer("Patience"), "There is no way out, or none to the hub.";
        Backoff "backoff", Bound::Timer("Backoff"), "Waiting before the next attempt.";
        Offering "offering", Bound::Timer("Offer"), "The offer of an ICE restart is being made.";
        AwaitingAnswer "awaiting_answer", Bound::Timer("Reply"), "The other side has the offer of an ICE restart.";
        AwaitingOffer "awaiting_offer", Bound::Timer("Wish"), "The initiator was asked for an offer.";
        Checking "checking", Bound::Timer("Check"), "The restart is agreed; pings look for a way in both directions.";
        Rebuilding "rebuilding", Bound::Timer("Rebuild"), "A new connection is being made, on which the session goes on.";
        Failed "failed", Bound::Timer("Detach"), "Given up for now: a person, the network or the other side can bring it back.";
        Terminated "terminated", Bound::Final, "It is over.";
    }
    under {
        Managing "managing";
        Live "live";
        Recovering "recovering";
        Pausing "pausing";
        Trying "trying";
        Restarting "restarting";
    }
}
