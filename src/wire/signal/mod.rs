//! Signalling: what a worker or a client says to the hub and hears from it (protocol page, sections 1 and 2).
//!
//! Frames are JSON objects in text messages, told apart by `type`. The names of fields differ from frame to frame
//! (`sender`, `from_peer_id`, `peer_id`) and are kept as the field's peers know them.
//!
//! What a peer *sends* ([`ToHub`]) is read strictly. What it *hears* ([`FromHub`]) is read leniently wherever one bad
//! entry, written by some third peer in the room, would otherwise hide the good ones.

mod from_hub;
mod http;
mod parts;
mod to_hub;

pub use from_hub::{FromHub, RegisteredAuth};
pub use http::{DeletePeer, RoomCredentials, SignIn, SignInAgain};
pub use parts::{DRAINING, Filters, HubError, IceServer, Metadata, PeerInfo, Properties, Refusal};
pub use to_hub::{Register, ToHub};
