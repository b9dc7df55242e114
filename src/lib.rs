//! **Loaner lends a GPU across the internet.**
//!
//! A *worker* on the GPU machine registers with a *hub*; a *client* finds it, reserves it, connects peer to peer
//! over WebRTC, sends a package, watches it run, and gets the results. The hub introduces them and then steps aside.
//!
//! The map of the house:
//!
//! * [`charts`] **decide**: pure statecharts. No I/O, no clock, no randomness, no async, no lock.
//! * [`actors`] **act**: thin actix actors, one per chart; they feed events in and perform the effects that come out.
//! * [`wire`] **speaks**: types and codecs of every frame and message, and the session string.
//! * [`rtc`] **carries**: the only place that names the WebRTC stack.
//! * [`identity`] keeps who this machine is at a hub.
//! * [`doctor`] looks at a machine and its way to a hub.
//! * [`status`] tells others on a machine what a process is at.
//! * [`files`] stream file bytes between channel and disk, beside the actors.
//! * [`tunnel`] keeps a way to a peer through changes of the network, and carries TCP connections over it.
//! * [`worker`], [`hub`] and [`client`] are the three parts, assembled.
//!
//! Control goes through actors; file bytes and log bytes go around them, as streams between channel and disk.

pub mod actors;
pub mod charts;
pub mod client;
pub mod doctor;
pub mod files;
pub mod hub;
pub mod identity;
pub mod rtc;
pub mod status;
pub mod tunnel;
pub mod wire;
pub mod worker;
