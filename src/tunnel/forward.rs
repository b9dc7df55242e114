//! TCP over a tunnel: many streams over one channel, each with a window of its own.
//!
//! The client listens on its loopback addresses, and opens a stream for each connection that it accepts. The worker
//! connects to the place that the client names, where its policy allows it. A side that sends no more says so and may
//! still receive; a side that breaks says why. A receiver that does not read holds up only its own stream.
//!
//! A [`Carrier`] is all that is known of what lies beneath: streams live above it, as long as it lives.

mod carrier;
mod flow;
mod frame;
mod listen;
mod mux;
mod open;
mod place;
mod pump;
mod reach;
mod reason;
mod serve;
mod stream;
#[cfg(test)]
mod tests;

pub use carrier::Carrier;
pub use frame::{Frame, FrameError, MAX_DATA, MAX_HOST, MAX_WORDS, StreamId};
pub use listen::{Listener, Taken};
pub use mux::{Counts, MAX_STREAMS, too_many};
pub use open::{Tunnel, refuse};
pub use place::{Forward, NoForward, Pattern};
pub use pump::Passed;
pub use reach::AllowList;
pub use reason::{Reason, Reset};
pub use serve::{IDLE, serve};
