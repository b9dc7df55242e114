//! The hub's figures: each load is this process, and the hub another one. A plain relay in Python carries the same loads
//! in the same run.

mod comeback;
mod handshakes;
mod idle;
mod load;
mod pairs;
mod restart;
mod routed;
mod server;
mod socket;
mod stored;
mod template;
mod tokens;

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::report::Figure;
use load::{Bench, Size};
use tokens::Issuer;

/// What is measured of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Idle,
    Routed,
    Stored,
    Handshakes,
    Restart,
}

impl Load {
    /// All, in their order.
    pub const ALL: [Load; 5] = [
        Load::Idle,
        Load::Routed,
        Load::Stored,
        Load::Handshakes,
        Load::Restart,
    ];
}

/// Measures one load, in full or just long enough to see whether it works. A message that is lost is an error.
pub async fn measure(load: Load, short: bool, dir: &Path) -> Result<Vec<Figure>> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("the limit on open files")?;
    let issuer = Issuer::new()?;
    let bench = Bench {
        issuer: &issuer,
        dir,
        size: if short { Size::SHORT } else { Size::WHOLE },
    };
    let figures = match load {
        Load::Idle => idle::measure(bench).await,
        Load::Routed => routed::measure(bench).await,
        Load::Stored => stored::measure(bench).await,
        Load::Handshakes => handshakes::measure(bench).await,
        Load::Restart => restart::measure(bench).await,
    };
    figures.with_context(|| format!("{load:?}"))
}
