//! Bad input at a hub that runs: forged and stolen credentials, peers that stall, flood, break off or talk nonsense, and
//! every limit with its code and its metric.
#![allow(clippy::unwrap_used)]

#[path = "hub_hostile/credentials.rs"]
mod credentials;
#[path = "hub_hostile/device.rs"]
mod device;
#[path = "hub_hostile/floods.rs"]
mod floods;
#[path = "hub_hostile/identities.rs"]
mod identities;
#[path = "hub_hostile/limits.rs"]
mod limits;
#[path = "hub_hostile/mob.rs"]
mod mob;
#[path = "hub_hostile/quotas.rs"]
mod quotas;
#[path = "hub_hostile/secrets.rs"]
mod secrets;
#[path = "hub_hostile/stalls.rs"]
mod stalls;
// Shared with the other tests of the hub, which use more of it.
#[allow(dead_code)]
#[path = "hub/support.rs"]
mod support;
