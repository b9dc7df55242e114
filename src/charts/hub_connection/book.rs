//! What the rules of `hub_connection` keep account of: offences, the token, and what comes after the end.

use std::time::Duration;

use statig::prelude::*;

use super::{Act, After, Dialect, LEAST, LONGEST_TOKEN, Out, Rules, State, Timer, Token};
use crate::wire::close::CloseCode;

impl Rules {
    pub(super) fn is_device(&self) -> bool {
        self.settings.dialect == Dialect::Device
    }

    pub(super) fn is_clean(&self) -> bool {
        self.rubbish == 0 && self.overruns == 0
    }

    /// The classic peers know 1011 alone.
    pub(super) fn ping_timeout(&self) -> CloseCode {
        match self.settings.dialect {
            Dialect::Signalling => CloseCode::PingTimeoutClassic,
            Dialect::Device => CloseCode::PingTimeout,
        }
    }

    /// A peer that does not read. The classic peers know 1011 alone.
    pub(super) fn slow_reader(&self) -> CloseCode {
        match self.settings.dialect {
            Dialect::Signalling => CloseCode::SlowReaderClassic,
            Dialect::Device => CloseCode::SlowReader,
        }
    }

    /// What comes after a connection that ends for this reason.
    pub(super) fn after(&self, code: CloseCode) -> After {
        if !self.session || code == CloseCode::Replaced {
            After::Nothing
        } else if code.is_resumable() {
            After::Resume
        } else {
            After::Forget
        }
    }

    pub(super) fn close(&mut self, code: CloseCode, context: &mut Out) -> Outcome<State> {
        let after = self.after(code);
        context.act(Act::Detach {
            resumable: after == After::Resume,
        });
        context.act(Act::SendClose(code));
        Transition(State::draining(after))
    }

    /// The first offence starts the time after which all are forgiven.
    pub(super) fn count(&mut self, context: &mut Out) {
        if self.is_clean() {
            context.arm(Timer::Forgive, self.settings.forgive);
        }
    }

    /// Looks again when the silence that has begun will have lasted long enough.
    pub(super) fn listen(&self, ago: Duration, context: &mut Out) {
        let left = self.settings.silence.saturating_sub(ago).max(LEAST);
        context.arm(Timer::Silence, left);
    }

    pub(super) fn count_on(&mut self, token: Duration, context: &mut Out) {
        let token = token.min(LONGEST_TOKEN);
        let good = token.saturating_sub(self.settings.warn).max(token / 2);
        self.token = Token::Good;
        context.arm(Timer::Expiring, good);
        context.arm(Timer::Expired, token.saturating_add(self.settings.grace));
    }

    pub(super) fn forget_token(&mut self, context: &mut Out) {
        self.token = Token::Absent;
        context.cancel(Timer::Expiring);
        context.cancel(Timer::Expired);
    }
}
