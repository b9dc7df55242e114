//! What the explorer and the drawing want to know of `tunnel`.

use std::time::Duration;

use super::super::{
    Act, Change, IDLE, Input, JOB_PATIENCE, Out, PATIENCE, Reason, Role, Rules, Session, Settings,
    Timer, Tunnel, Verdict,
};
use super::State;
use super::live::is_silent;
use crate::charts::machine::{self, Chart, chart_core};

const GO: Verdict = Verdict::Go {
    n: 1,
    restart: true,
};
const GO_WITHOUT_RESTART: Verdict = Verdict::Go {
    n: 1,
    restart: false,
};
const WAIT: Verdict = Verdict::Wait {
    n: 2,
    wait: Duration::from_secs(5),
};
const WAIT_LONG: Verdict = Verdict::Wait {
    n: 5,
    wait: Duration::from_secs(60),
};

impl Chart for Tunnel {
    const NAME: &'static str = "tunnel";
    const ABOUT: &'static str = "The manager of one tube: doubts a connection before it counts as lost, restarts it where the loss is young, \
        replaces it where that does not help, and lets the session go on.";
    chart_core!();

    /// A client with all the patience there is, and the worker of a job.
    fn starts() -> Vec<Self> {
        let of = |role, patience| Self::new(Settings { role, patience });
        vec![
            of(Role::Initiator, PATIENCE),
            of(Role::Responder, JOB_PATIENCE),
        ]
    }

    fn alphabet() -> Vec<Input> {
        let quiet = |silent, busy| Input::Quiet { silent, busy };
        let changed = |change, major| Input::NetworkChanged { change, major };
        let offered = |rebuild| Input::Offered {
            generation: 100,
            rebuild,
        };
        vec![
            Input::Start,
            quiet(Duration::ZERO, false),
            quiet(Duration::ZERO, true),
            quiet(Duration::from_secs(2), true),
            quiet(IDLE, false),
            Input::Heard,
            Input::Pong,
            Input::PeerPing,
            Input::Up,
            Input::IceConnected,
            Input::IceDisconnected,
            Input::IceFailed,
            Input::Gone,
            changed(Change::InterfaceChange, true),
            changed(Change::IpChange, true),
            changed(Change::InterfaceChange, false),
            Input::NetworkDown,
            Input::NetworkUp,
            Input::SignallingDown,
            Input::SignallingUp,
            Input::Woke,
            Input::QualityLow,
            Input::Weighed(GO),
            Input::Weighed(GO_WITHOUT_RESTART),
            Input::Weighed(WAIT),
            Input::Weighed(WAIT_LONG),
            Input::OfferReady,
            Input::StepFailed,
            Input::Answered,
            offered(false),
            offered(true),
            Input::Asked { rebuild: false },
            Input::Asked { rebuild: true },
            Input::SessionRefused,
            Input::Restart(GO),
            Input::Restart(GO_WITHOUT_RESTART),
            Input::Restart(WAIT),
            Input::Stale,
            Input::Close,
            Input::PeerClosed,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![
            Timer::Setup,
            Timer::Look,
            Timer::Answer,
            Timer::Suspect,
            Timer::Settle,
            Timer::Young,
            Timer::Backoff,
            Timer::Offer,
            Timer::Reply,
            Timer::Wish,
            Timer::Check,
            Timer::Again,
            Timer::Rebuild,
            Timer::Patience,
            Timer::Detach,
        ]
    }

    fn guard(&self, event: &Input) -> &'static str {
        let rules = self.0.inner();
        match self.0.state() {
            State::Initializing {} => rules.guard_common(event),
            State::Connecting {} => rules.guard_common(event),
            State::Connected { asked } => rules.guard_connected(*asked, event),
            State::Degraded { certain } => rules.guard_degraded(*certain, event),
            State::Grace { .. }
            | State::Backoff { .. }
            | State::WaitingForNetwork {}
            | State::AwaitingOffer { .. } => rules.guard_recovering(event),
            State::Offering {} | State::AwaitingAnswer {} | State::Checking {} => {
                rules.guard_restarting(event)
            }
            State::Rebuilding { answered } => match event {
                Input::Answered if *answered => "again",
                _ => rules.guard_recovering(event),
            },
            State::Failed { reason } => rules.guard_failed(*reason, event),
            State::Terminated { .. } => "",
        }
    }

    fn act_name(act: &Act) -> String {
        match act {
            Act::Notify(public) => format!("notify {public}"),
            Act::ChangeDetected(Change::InterfaceChange | Change::IpChange) => {
                "change detected: the one that was told".to_owned()
            }
            Act::ChangeDetected(change) => {
                format!(
                    "change detected: {}",
                    machine::words(&format!("{change:?}"))
                )
            }
            Act::GiveUp(reason) => format!("give up: {}", machine::words(&format!("{reason:?}"))),
            Act::Close(reason) => format!("close: {}", machine::words(&format!("{reason:?}"))),
            other => machine::words(other.as_ref()),
        }
    }
}

impl Rules {
    /// What every state tells apart.
    fn guard_common(&self, event: &Input) -> &'static str {
        match event {
            Input::Pong if self.pong => "again",
            Input::PeerPing if self.ping => "again",
            Input::Pong if self.ping => "both directions",
            Input::PeerPing if self.pong => "both directions",
            Input::NetworkDown if !self.network => "known",
            Input::NetworkUp if self.network => "known",
            Input::SignallingDown if !self.signalling => "known",
            Input::SignallingUp if self.signalling => "known",
            Input::Offered { .. } if self.is_initiator() => "the initiator",
            Input::Offered { rebuild: true, .. } => "the responder, a new connection",
            Input::Offered { rebuild: false, .. } => "the responder, a restart",
            Input::NetworkChanged { major: true, .. } => "major",
            Input::NetworkChanged { major: false, .. } => "minor",
            Input::Fired(Timer::Young) if !self.young => "not young",
            _ => "",
        }
    }

    fn guard_live(&self, event: &Input) -> &'static str {
        match event {
            Input::Asked { .. } if !self.is_initiator() => "the responder",
            Input::Asked { rebuild: true } => "for a new connection",
            Input::Asked { rebuild: false } => "for any",
            Input::Restart(verdict) => self.guard_verdict(*verdict, self.is_fresh()),
            _ => self.guard_common(event),
        }
    }

    fn guard_connected(&self, asked: Option<Duration>, event: &Input) -> &'static str {
        match (event, asked) {
            (Input::Quiet { silent, busy }, None) if is_silent(*silent, *busy) => "too long",
            (Input::Quiet { silent, busy }, Some(_)) if is_silent(*silent, *busy) => {
                "too long, and asked"
            }
            (Input::Quiet { .. }, _) => "not long",
            (Input::Heard | Input::Pong, Some(_)) => "asked",
            (Input::Heard | Input::Pong, None) => "not asked",
            (Input::Fired(Timer::Answer), None) => "not asked",
            (Input::Fired(Timer::Answer), Some(silent)) if silent >= IDLE => "idle",
            (Input::Fired(Timer::Answer), Some(_)) => "busy",
            _ => self.guard_live(event),
        }
    }

    fn guard_degraded(&self, certain: bool, event: &Input) -> &'static str {
        match event {
            Input::Heard | Input::Fired(Timer::Suspect) if certain => "something happened",
            Input::Heard | Input::Fired(Timer::Suspect) => "nothing came",
            _ => self.guard_live(event),
        }
    }

    fn guard_recovering(&self, event: &Input) -> &'static str {
        match event {
            Input::Woke | Input::IceFailed | Input::Gone | Input::Asked { rebuild: true }
                if !self.young =>
            {
                "not young"
            }
            Input::Asked { rebuild: false } => "for any",
            Input::Fired(Timer::Settle) if self.has_way() => "there is a way",
            Input::Fired(Timer::Settle) => "no way",
            Input::NetworkUp if !self.network && self.signalling => "the last that was missing",
            Input::SignallingUp if self.network && !self.signalling => "the last that was missing",
            Input::Weighed(verdict) | Input::Restart(verdict) => {
                self.guard_verdict(*verdict, self.young)
            }
            _ => self.guard_common(event),
        }
    }

    fn guard_restarting(&self, event: &Input) -> &'static str {
        match event {
            Input::IceFailed
            | Input::Gone
            | Input::StepFailed
            | Input::Fired(Timer::Offer | Timer::Reply | Timer::Check) => {
                match (self.has_way(), self.is_initiator()) {
                    (false, _) => "no way",
                    (true, true) => "the initiator",
                    (true, false) => "the responder",
                }
            }
            _ => self.guard_recovering(event),
        }
    }

    fn guard_failed(&self, reason: Reason, event: &Input) -> &'static str {
        match event {
            Input::NetworkUp if self.network => "known",
            Input::SignallingUp if self.signalling => "known",
            Input::NetworkUp | Input::SignallingUp | Input::NetworkChanged { major: true, .. }
                if !self.is_resumable() =>
            {
                "nothing to resume"
            }
            Input::Close | Input::PeerClosed | Input::Fired(Timer::Detach) => match reason {
                Reason::ConnectionFailed => "never connected",
                Reason::SessionLost => "the session is lost",
                Reason::ConnectionLost | Reason::Normal => "the connection is lost",
            },
            Input::Asked { .. } if !self.is_initiator() => "the responder",
            Input::Asked { .. } if self.is_resumable() => "the session is kept",
            Input::Asked { .. } => "nothing to resume",
            Input::Restart(_) | Input::Offered { .. } if self.session == Session::Lost => {
                if self.is_initiator() {
                    "the initiator, the session is lost"
                } else {
                    "the responder, the session is lost"
                }
            }
            Input::Restart(verdict) => self.guard_verdict(*verdict, false),
            _ => self.guard_common(event),
        }
    }

    fn guard_verdict(&self, verdict: Verdict, young: bool) -> &'static str {
        match verdict {
            Verdict::Wait { .. } => "too soon",
            Verdict::Go { .. } if !self.has_way() => "no way",
            Verdict::Go { restart: true, .. } if young && self.is_initiator() => {
                "the initiator, a restart"
            }
            Verdict::Go { .. } if self.is_initiator() => "the initiator, a new connection",
            Verdict::Go { .. } => "the responder",
        }
    }
}
