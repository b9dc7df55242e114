//! What the explorer and the drawing want to know of `hub_connection`.

use std::time::Duration;

use super::{Act, After, HubConnection, Input, Out, Rules, Settings, State, Timer, Token};
use crate::charts::machine::{self, Chart, chart_core};
use crate::wire::close::CloseCode;

/// The session will wait for its device.
const RESUMED: &str = "to be resumed";
/// Nothing will wait.
const FOR_GOOD: &str = "for good";

impl Chart for HubConnection {
    const NAME: &'static str = "hub_connection";
    const ABOUT: &'static str = "One socket at the hub: let in within its time, asked for a sign of life when it falls silent, \
        out of everything at once when it ends, for whatever reason, and, for a device, kept to be resumed.";
    chart_core!();

    /// One of each dialect. Small limits show the same as large ones.
    fn starts() -> Vec<Self> {
        [Settings::signalling(), Settings::device()]
            .map(|settings| {
                Self::new(Settings {
                    strikes: 2,
                    overruns: 2,
                    ..settings
                })
            })
            .to_vec()
    }

    fn alphabet() -> Vec<Input> {
        let token = Duration::from_secs(3600);
        vec![
            Input::Admitted { token: Some(token) },
            Input::Admitted { token: None },
            Input::Unseated,
            Input::Heard {
                ago: Duration::ZERO,
            },
            Input::Heard {
                ago: Settings::device().silence,
            },
            Input::Refreshed { token },
            Input::Rubbish,
            Input::TooFast,
            Input::Overflow,
            // One reason after which a device can resume, one after which it cannot, and the one by which it has.
            Input::End(CloseCode::GoingAway),
            Input::End(CloseCode::Forbidden),
            Input::End(CloseCode::Replaced),
            Input::PeerClosed,
            Input::Lost,
            Input::Flushed,
            Input::Resumed,
        ]
    }

    fn timers() -> Vec<Timer> {
        vec![
            Timer::Opening,
            Timer::Silence,
            Timer::Answer,
            Timer::Expiring,
            Timer::Expired,
            Timer::Forgive,
            Timer::Closing,
            Timer::Resume,
        ]
    }

    fn guard(&self, event: &Input) -> &'static str {
        let rules = self.0.inner();
        match self.0.state() {
            State::Opening {} => rules.guard_opening(event),
            State::Open {} | State::Suspect {} => rules.guard_live(event),
            State::Draining { after } => guard_draining(*after, event),
            State::Resumable {} => match event {
                Input::End(CloseCode::Replaced) => "replaced",
                Input::End(code) if code.is_resumable() => RESUMED,
                Input::End(_) => FOR_GOOD,
                _ => "",
            },
            State::Closed {} => "",
        }
    }

    fn act_name(act: &Act) -> String {
        match act {
            // What the chart closes for by itself; any other reason is one that it was given.
            Act::SendClose(
                code @ (CloseCode::Normal
                | CloseCode::NotRegistered
                | CloseCode::Rubbish
                | CloseCode::RateLimited
                | CloseCode::TokenExpired
                | CloseCode::PingTimeout
                | CloseCode::PingTimeoutClassic
                | CloseCode::SlowReader
                | CloseCode::SlowReaderClassic
                | CloseCode::Replaced),
            ) => format!("send close {}", code.code()),
            Act::SendClose(_) => "send close with that code".to_owned(),
            Act::Detach { resumable: true } => format!("detach {RESUMED}"),
            Act::Detach { resumable: false } => format!("detach {FOR_GOOD}"),
            other => machine::words(other.as_ref()),
        }
    }
}

impl Rules {
    fn guard_opening(&self, event: &Input) -> &'static str {
        match event {
            Input::Admitted { token: Some(_) } => "with a token",
            Input::Admitted { token: None } => "without one",
            Input::Rubbish | Input::TooFast => self.guard_offence(event),
            Input::End(code) => self.guard_end(*code),
            Input::Overflow if self.is_device() => "a device",
            Input::Overflow => "a peer",
            Input::PeerClosed | Input::Lost => self.guard_end(CloseCode::Normal),
            Input::Fired(Timer::Forgive) if self.is_clean() => "none",
            _ => "",
        }
    }

    fn guard_live(&self, event: &Input) -> &'static str {
        match event {
            Input::Admitted { token: Some(_) } => "with a token",
            Input::Admitted { token: None } => "without one",
            Input::Unseated | Input::Resumed if self.is_device() => "a device",
            Input::Unseated | Input::Resumed => "a peer",
            Input::Heard { ago } if *ago < self.settings.silence => "lately",
            Input::Heard { .. } => "too long ago",
            Input::Rubbish | Input::TooFast => self.guard_offence(event),
            Input::End(code) => self.guard_end(*code),
            Input::Overflow if self.is_device() => "a device",
            Input::Overflow => "a peer",
            Input::PeerClosed | Input::Lost => self.guard_end(CloseCode::Normal),
            Input::Fired(Timer::Answer) => self.guard_end(self.ping_timeout()),
            Input::Fired(Timer::Expiring) if self.token != Token::Good => "no token",
            Input::Fired(Timer::Expired) if self.token == Token::Absent => "no token",
            Input::Fired(Timer::Expired) => self.guard_end(CloseCode::TokenExpired),
            Input::Fired(Timer::Forgive) if self.is_clean() => "none",
            Input::Refreshed { .. } | Input::Flushed | Input::Fired(_) => "",
        }
    }

    fn guard_end(&self, code: CloseCode) -> &'static str {
        match self.after(code) {
            _ if code == CloseCode::Replaced => "replaced",
            After::Resume => RESUMED,
            After::Forget | After::Nothing => FOR_GOOD,
        }
    }

    fn guard_offence(&self, event: &Input) -> &'static str {
        let (count, limit, code) = match event {
            Input::Rubbish => (self.rubbish, self.settings.strikes, CloseCode::Rubbish),
            _ => (
                self.overruns,
                self.settings.overruns,
                CloseCode::RateLimited,
            ),
        };
        match self.after(code) {
            After::Resume if count + 1 >= limit => "one too many, to be resumed",
            _ if count + 1 >= limit => "one too many",
            _ if self.is_clean() => "the first",
            _ => "one more",
        }
    }
}

fn guard_draining(after: After, event: &Input) -> &'static str {
    match event {
        Input::Flushed | Input::PeerClosed | Input::Lost | Input::Fired(Timer::Closing) => {
            match after {
                After::Resume => RESUMED,
                After::Forget => "the session ends",
                After::Nothing => "no session",
            }
        }
        Input::Resumed if after == After::Nothing => "no session",
        Input::Resumed => "the session moves on",
        Input::End(CloseCode::Replaced) if after != After::Nothing => "the session moves on",
        Input::End(code) if after == After::Resume && !code.is_resumable() => "the session ends",
        _ => "",
    }
}
