//! A small model of one socket at the hub, written from websocket-connection.md and reading.md 20, 24 and 25 alone.

use std::time::Duration;

use loaner::charts::hub_connection::{Act, Input, Timer};
use loaner::wire::close::CloseCode;

const SILENCE: Duration = Duration::from_secs(25);
const ANSWER: Duration = Duration::from_secs(10);
const WARNING: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(10);
const FORGIVE: Duration = Duration::from_secs(10);
const CLOSING: Duration = Duration::from_secs(2);
const RESUME: Duration = Duration::from_secs(120);
/// The limit of strikes, and of overruns, that the chart's starts have.
const LIMIT: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Opening,
    Open,
    Suspect,
    Draining,
    Waiting,
    Over,
}

/// Where a socket is, since when, and whose the session is.
#[derive(Debug)]
pub struct Model {
    pub stage: Stage,
    since: Duration,
    device: bool,
    /// Whether it ever had a session that is still its own.
    session: bool,
    /// Whether the session may wait for its device.
    waits: bool,
    /// When the token was seen, and how long it was good for.
    token: Option<(Duration, Duration)>,
    /// When the first offence since the last pardon was, and all of them: whether each was rubbish.
    offences: (Duration, Vec<bool>),
}

impl Model {
    pub fn new(device: bool) -> Self {
        Model {
            stage: Stage::Opening,
            since: Duration::ZERO,
            device,
            session: false,
            waits: false,
            token: None,
            offences: (Duration::ZERO, Vec::new()),
        }
    }

    fn goes(&mut self, at: Duration, stage: Stage, acts: &[Act]) -> Vec<Act> {
        (self.stage, self.since) = (stage, at);
        acts.to_vec()
    }

    /// The connection is out of everything, at once; `code` is what the peer is told, if it can be told anything.
    fn ends(&mut self, at: Duration, code: Option<CloseCode>) -> Vec<Act> {
        self.session &= code != Some(CloseCode::Replaced);
        self.waits = self.session && code.is_none_or(CloseCode::is_resumable);
        let detach = Act::Detach {
            resumable: self.waits,
        };
        match code {
            Some(code) => self.goes(at, Stage::Draining, &[detach, Act::SendClose(code)]),
            None => [vec![detach], self.hangs_up(at)].concat(),
        }
    }

    fn hangs_up(&mut self, at: Duration) -> Vec<Act> {
        match (self.session, self.waits) {
            (true, true) => self.goes(at, Stage::Waiting, &[Act::HangUp]),
            (true, false) => self.goes(at, Stage::Over, &[Act::HangUp, Act::Forget]),
            (false, _) => self.goes(at, Stage::Over, &[Act::HangUp]),
        }
    }

    fn offends(&mut self, at: Duration, rubbish: bool) -> Vec<Act> {
        if self.offences.1.is_empty() {
            self.offences.0 = at;
        }
        self.offences.1.push(rubbish);
        if self
            .offences
            .1
            .iter()
            .filter(|other| **other == rubbish)
            .count()
            < LIMIT
        {
            return Vec::new();
        }
        let code = if rubbish {
            CloseCode::Rubbish
        } else {
            CloseCode::RateLimited
        };
        self.ends(at, Some(code))
    }

    /// What the socket does on an event, in order.
    pub fn hears(&mut self, at: Duration, event: &Input) -> Vec<Act> {
        use Stage::{Draining, Open, Opening, Over, Suspect, Waiting};
        let waited = at - self.since;
        match (self.stage, event) {
            (Over, Input::Fired(timer)) => panic!("{timer:?} fired at the end"),
            (Over, _) => Vec::new(),
            (Opening, Input::Admitted { token }) => {
                (self.session, self.token) = (self.device, token.map(|token| (at, token)));
                self.goes(at, Open, &[])
            }
            (Open | Suspect, Input::Admitted { token }) => {
                self.token = token.map(|token| (at, token));
                Vec::new()
            }
            (Open | Suspect, Input::Refreshed { token }) => {
                self.token = Some((at, *token));
                Vec::new()
            }
            (Open | Suspect, Input::Unseated) if !self.device => self.goes(at, Opening, &[]),
            (Open | Suspect, Input::Heard { ago }) if *ago < SILENCE => self.goes(at, Open, &[]),
            (Open, Input::Heard { .. }) => self.goes(at, Suspect, &[Act::Ping]),
            (Open, Input::Fired(Timer::Silence)) => vec![Act::Look],
            (Opening | Open | Suspect, Input::Rubbish) => self.offends(at, true),
            (Opening | Open | Suspect, Input::TooFast) => self.offends(at, false),
            (Opening | Open | Suspect, Input::End(code)) => self.ends(at, Some(*code)),
            (Opening | Open | Suspect, Input::Overflow) => {
                let code = if self.device {
                    CloseCode::SlowReader
                } else {
                    CloseCode::SlowReaderClassic
                };
                self.ends(at, Some(code))
            }
            (Opening | Open | Suspect, Input::PeerClosed) => self.ends(at, Some(CloseCode::Normal)),
            (Opening | Open | Suspect, Input::Lost) => self.ends(at, None),
            (Open | Suspect, Input::Resumed) if self.device => {
                self.ends(at, Some(CloseCode::Replaced))
            }
            (Opening, Input::Fired(Timer::Opening)) => {
                assert_eq!(waited.as_secs(), if self.device { 10 } else { 60 });
                self.ends(at, Some(CloseCode::NotRegistered))
            }
            (Suspect, Input::Fired(Timer::Answer)) => {
                assert_eq!(waited, ANSWER);
                let code = if self.device {
                    CloseCode::PingTimeout
                } else {
                    CloseCode::PingTimeoutClassic
                };
                self.ends(at, Some(code))
            }
            (Open | Suspect, Input::Fired(Timer::Expiring)) => {
                let (seen, token) = self.token.expect("there is a token to warn of");
                assert_eq!(at, seen + token - WARNING.min(token / 2));
                vec![Act::WarnOfExpiry]
            }
            (Open | Suspect, Input::Fired(Timer::Expired)) => {
                let (seen, token) = self.token.expect("there is a token that can end");
                assert_eq!(at, seen + token + GRACE);
                self.ends(at, Some(CloseCode::TokenExpired))
            }
            (Opening | Open | Suspect, Input::Fired(Timer::Forgive)) => {
                assert_eq!(at, self.offences.0 + FORGIVE);
                self.offences.1.clear();
                Vec::new()
            }
            (Draining | Waiting, Input::Resumed | Input::End(CloseCode::Replaced)) => {
                self.session = false;
                if self.stage == Waiting {
                    self.goes(at, Over, &[])
                } else {
                    Vec::new()
                }
            }
            (Draining, Input::End(code)) => {
                self.waits &= code.is_resumable();
                Vec::new()
            }
            (Waiting, Input::End(code)) if !code.is_resumable() => {
                self.goes(at, Over, &[Act::Forget])
            }
            (Draining, Input::Flushed | Input::Lost | Input::PeerClosed) => self.hangs_up(at),
            (Draining, Input::Fired(Timer::Closing)) => {
                assert_eq!(waited, CLOSING);
                self.hangs_up(at)
            }
            (Waiting, Input::Fired(Timer::Resume)) => {
                assert_eq!(waited, RESUME);
                self.goes(at, Over, &[Act::Forget])
            }
            (stage, Input::Fired(timer)) => panic!("{timer:?} fired in {stage:?}"),
            _ => Vec::new(),
        }
    }
}
