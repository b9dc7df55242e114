//! Why a token was refused.

/// Why a request's token was refused. The messages are for whoever sent it: they say what to do, and hold nothing of
/// the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error(
        "a token is needed: as `Authorization: Bearer ..`, as `?token=..`, or as the subprotocol `bearer...`"
    )]
    Missing,
    /// It is none of ours, or not well made; in which way.
    #[error("the token is not valid: {0}; sign in for a new one")]
    Invalid(&'static str),
    /// Its signature is right, its time is over.
    #[error("the token has expired; refresh it or sign in for a new one")]
    Expired,
    /// Its signature is right, its time has not come.
    #[error(
        "the token is not valid yet; if it should be, the clock here or at its issuer is wrong"
    )]
    NotYet,
    /// It names no device.
    #[error(
        "the token names no device; it needs the claim `device_id`, or a hub that derives it from the user"
    )]
    NoDevice,
    /// The keys it would be checked with could not be had so far.
    #[error(
        "the keys of the token's issuer cannot be had at the moment; try again in a few seconds"
    )]
    KeysUnavailable,
}

impl TokenError {
    /// The code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            TokenError::Missing => "TOKEN_MISSING",
            TokenError::Invalid(_) => "TOKEN_INVALID",
            TokenError::Expired => "TOKEN_EXPIRED",
            TokenError::NotYet => "TOKEN_NOT_YET_VALID",
            TokenError::NoDevice => "TOKEN_NO_DEVICE",
            TokenError::KeysUnavailable => "TOKEN_KEYS_UNAVAILABLE",
        }
    }

    /// Whether the same token may be accepted later.
    pub fn retryable(&self) -> bool {
        matches!(self, TokenError::NotYet | TokenError::KeysUnavailable)
    }
}

/// A token could not be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A user, a name or a device that no token can have.
    #[error("a user, a user's name and a device are 1 to 256 bytes without control characters")]
    Name,
    /// The signature could not be made.
    #[error("the token could not be signed")]
    Signing,
}
