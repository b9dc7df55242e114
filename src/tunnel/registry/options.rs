//! How a tube is to be.

use std::time::Duration;

use thiserror::Error;

use crate::charts::tunnel::{PATIENCE, Role, Settings};
use crate::rtc::RtcConfig;
use crate::tunnel::message::MAX_ID_BYTES;

/// After how long without activity a keepalive is due, as the integration guide has it.
pub const KEEPALIVE: Duration = Duration::from_secs(5 * 60);

/// How a tube is to be.
#[derive(Debug, Clone)]
pub struct TubeOptions {
    /// Its id, the same on both sides: 1 to 256 bytes.
    pub tube_id: String,
    /// The conversation that its signals name: at most 256 bytes.
    pub conversation_id: String,
    /// Which side this is. The initiator makes the first offer, and all others; the responder answers.
    pub role: Role,
    /// How long a lost connection is tried to be brought back before the tube counts as failed.
    pub patience: Duration,
    /// After how long without activity a keepalive is due: 1 s at least.
    pub keepalive: Duration,
    /// How its connections are made.
    pub rtc: RtcConfig,
}

/// Options that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionsError {
    /// The id of the tube is empty, or too long.
    #[error("the id of a tube has 1 to {MAX_ID_BYTES} bytes")]
    TubeId,
    /// The id of the conversation is too long.
    #[error("the id of a conversation has at most {MAX_ID_BYTES} bytes")]
    ConversationId,
    /// The keepalive is due too often.
    #[error("a keepalive may be due once a second at most")]
    Keepalive,
    /// The runtime was shut down.
    #[error("the runtime is shut down; start another one")]
    Ended,
}

impl TubeOptions {
    /// As they usually are.
    pub fn new(tube_id: impl Into<String>, role: Role) -> Self {
        TubeOptions {
            tube_id: tube_id.into(),
            conversation_id: String::new(),
            role,
            patience: PATIENCE,
            keepalive: KEEPALIVE,
            rtc: RtcConfig::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), OptionsError> {
        if self.tube_id.is_empty() || self.tube_id.len() > MAX_ID_BYTES {
            Err(OptionsError::TubeId)
        } else if self.conversation_id.len() > MAX_ID_BYTES {
            Err(OptionsError::ConversationId)
        } else if self.keepalive < Duration::from_secs(1) {
            Err(OptionsError::Keepalive)
        } else {
            Ok(())
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            role: self.role,
            patience: self.patience,
        }
    }
}
