//! What comes on a channel, from the stack to whoever receives it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use webrtc::data_channel::{
    DataChannel, DataChannelEvent, RTCDataChannelMessage, RTCDataChannelState,
};

use super::{Held, Incoming, Phase, mark_closed, shut};
use crate::rtc::shared::Shared;

/// How many bytes of messages are taken from the stack before the consumer asks for them. The stack itself counts
/// messages, not bytes, and forgets those past the first 256 when the peer closes; so small ones are fetched early.
const AHEAD_BYTES: usize = 1 << 20;

/// What a message counts for beside its bytes.
const AHEAD_OVERHEAD: usize = 64;

/// How long no message must follow another until the stack is nudged, to see whether it holds more.
const QUIET: Duration = Duration::from_millis(1);

/// How often a channel whose consumer does not read is asked whether it still lives.
const STALLED_CHECK: Duration = Duration::from_millis(100);

/// Reads a channel's events from the stack: its life into `phase`, its messages into `incoming`.
pub(super) struct Pump {
    pub(super) label: String,
    pub(super) stack: Arc<dyn DataChannel>,
    pub(super) phase: Arc<watch::Sender<Phase>>,
    pub(super) incoming: mpsc::UnboundedSender<Held>,
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
}

/// What there is to remember.
pub(super) struct State {
    ahead: Arc<Semaphore>,
    warned: bool,
    /// Whether a message came since the last nudge.
    flowing: bool,
}

impl Default for State {
    fn default() -> Self {
        State {
            ahead: Arc::new(Semaphore::new(AHEAD_BYTES)),
            warned: false,
            flowing: false,
        }
    }
}

impl Pump {
    pub(super) async fn run(mut self) {
        loop {
            let event = tokio::select! {
                biased;
                event = self.stack.poll() => event,
                () = tokio::time::sleep(QUIET), if self.state.flowing => {
                    self.state.flowing = false;
                    self.shared.nudge.nudge();
                    continue;
                }
                () = self.shared.ended() => None,
                // Nobody holds the channel any more.
                () = self.incoming.closed() => {
                    mark_closed(&self.phase);
                    shut(self.stack.clone()).await;
                    None
                }
            };
            match event {
                Some(DataChannelEvent::OnOpen) => {
                    self.shared.setup_over();
                    self.phase.send_if_modified(|phase| {
                        let opening = *phase == Phase::Opening;
                        if opening {
                            *phase = Phase::Open;
                        }
                        opening
                    });
                }
                Some(DataChannelEvent::OnMessage(message)) => {
                    self.state.flowing = true;
                    match decode(message) {
                        Some(message) => self.deliver(message).await,
                        None => self.warn_of_text(),
                    }
                }
                Some(DataChannelEvent::OnClose) | None => break,
                Some(_) => {}
            }
        }
        self.shared.channel_closed();
        mark_closed(&self.phase);
    }

    /// Said once, so that a peer cannot flood the log.
    fn warn_of_text(&mut self) {
        if !std::mem::replace(&mut self.state.warned, true) {
            tracing::warn!(
                label = self.label,
                "text messages that are not UTF-8 are dropped"
            );
        }
    }

    /// Waits for room. Meanwhile the events behind this message are out of sight, so the stack is asked.
    async fn deliver(&self, message: Incoming) {
        let bytes = match &message {
            Incoming::Text(text) => text.len(),
            Incoming::Binary(data) => data.len(),
        };
        let share = (bytes + AHEAD_OVERHEAD).min(AHEAD_BYTES) as u32;
        let room = self.state.ahead.clone().acquire_many_owned(share);
        tokio::pin!(room);
        loop {
            tokio::select! {
                room = &mut room => {
                    if let Ok(share) = room {
                        // Fails when nobody holds the channel any more, which the caller finds out next.
                        let _ = self.incoming.send((message, share));
                    }
                    return;
                }
                () = tokio::time::sleep(STALLED_CHECK) => {
                    if !matches!(self.stack.ready_state().await, Ok(RTCDataChannelState::Open)) {
                        mark_closed(&self.phase);
                    }
                }
            }
        }
    }
}

/// A message of the stack as ours; `None` for a text that is not UTF-8.
fn decode(message: RTCDataChannelMessage) -> Option<Incoming> {
    if message.is_string {
        String::from_utf8(message.data.into())
            .ok()
            .map(Incoming::Text)
    } else {
        Some(Incoming::Binary(message.data.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;

    #[test]
    fn only_text_must_be_utf8() {
        let message = |is_string, data: &[u8]| RTCDataChannelMessage {
            is_string,
            data: BytesMut::from(data),
        };
        let odd = [b'a', 0xff, 0xc0];
        assert_eq!(decode(message(true, &odd)), None);
        assert_eq!(
            decode(message(false, &odd)),
            Some(Incoming::Binary(Bytes::copy_from_slice(&odd)))
        );
        assert_eq!(
            decode(message(true, "ä".as_bytes())),
            Some(Incoming::Text("ä".into()))
        );
    }
}
