//! Whether the machine slept.

use std::time::Duration;

/// Sleep that matters: a connection lives through less.
const SLEPT: Duration = Duration::from_secs(10);

/// Two clocks at one moment. Where each begins is of no importance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clocks {
    /// One that stands still while the machine sleeps.
    pub awake: Duration,
    /// One that does not.
    pub always: Duration,
}

impl Clocks {
    /// The clocks of this machine.
    #[cfg(target_os = "linux")]
    pub(super) fn read() -> Self {
        use nix::time::{ClockId, clock_gettime};
        let read = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
        Clocks {
            awake: read(ClockId::CLOCK_MONOTONIC),
            always: read(ClockId::CLOCK_BOOTTIME),
        }
    }

    /// The clocks of this machine. A clock that is set by more than 10 s looks like sleep, too.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read() -> Self {
        use std::sync::LazyLock;
        use std::time::{Instant, SystemTime, UNIX_EPOCH};
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        Clocks {
            awake: BEGUN.elapsed(),
            always: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// Whether the machine slept between two moments.
    pub(super) fn slept(before: Clocks, now: Clocks) -> bool {
        let awake = now.awake.saturating_sub(before.awake);
        let always = now.always.saturating_sub(before.always);
        always.saturating_sub(awake) > SLEPT
    }
}
