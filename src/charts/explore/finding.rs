//! What can be wrong with a chart, each in a sentence.

use thiserror::Error;

/// Something that the explorer found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Finding {
    /// No state and no superstate decides the event.
    #[error("{state}: nobody decides \"{event}\"{}", bracketed(.guard))]
    Undecided {
        /// Where.
        state: &'static str,
        /// Which event.
        event: String,
        /// What a guard sees in it.
        guard: &'static str,
    },
    /// The event leaves no trace, and no reason was given for that.
    #[error("{state}: \"{event}\"{} changes nothing, asks for nothing, and is not ignored by name", bracketed(.guard))]
    Silent {
        /// Where.
        state: &'static str,
        /// Which event.
        event: String,
        /// What a guard sees in it.
        guard: &'static str,
    },
    /// The event is ignored by name, and yet something happens.
    #[error(
        "{state}: \"{event}\" is said to be ignored, and yet changes the chart or asks for an effect"
    )]
    IgnoredActs {
        /// Where.
        state: &'static str,
        /// Which event.
        event: String,
    },
    /// Nothing leads to the state.
    #[error("{state}: no event ever leads there")]
    Unreached {
        /// Which state.
        state: &'static str,
    },
    /// The chart reached a state that its list does not name.
    #[error("{state}: reached, but not in the chart's list of states")]
    UnlistedState {
        /// Which state.
        state: &'static str,
    },
    /// The chart armed a timer that its list does not name.
    #[error("{timer}: armed, but not in the chart's list of timers")]
    UnlistedTimer {
        /// Which timer.
        timer: String,
    },
    /// The timer runs on into a state that ignores it.
    #[error("{state}: {timer} is armed, yet its firing is ignored: it should have been cancelled")]
    DeafTimer {
        /// Where.
        state: &'static str,
        /// Which timer.
        timer: String,
    },
    /// The firing of a timer that is not armed has consequences.
    #[error("{state}: {timer} is not armed, yet its firing is not ignored")]
    StrayTimer {
        /// Where.
        state: &'static str,
        /// Which timer.
        timer: String,
    },
    /// A timer outlives the chart.
    #[error("{state}: final, yet {timer} is still armed")]
    LeakedTimer {
        /// Where.
        state: &'static str,
        /// Which timer.
        timer: String,
    },
    /// The deadline that the documentation promises is not there.
    #[error("{state}: its deadline is {timer}, which can be unarmed there")]
    NoDeadline {
        /// Where.
        state: &'static str,
        /// The timer that is missing.
        timer: &'static str,
    },
    /// A final state does something.
    #[error("{state}: final, yet \"{event}\" makes it act")]
    FinalActs {
        /// Where.
        state: &'static str,
        /// Which event.
        event: String,
    },
    /// The chart can come to a point here from which it never ends.
    #[error("{state}: no final state can be reached any more")]
    DeadEnd {
        /// Where.
        state: &'static str,
    },
    /// No state does anything with the event.
    #[error("\"{event}\" is ignored in every state")]
    DeadEvent {
        /// Which event.
        event: String,
    },
    /// No state arms the timer.
    #[error("{timer}: never armed")]
    NeverArmed {
        /// Which timer.
        timer: String,
    },
    /// There is no end of configurations.
    #[error("more than {limit} configurations: something in the chart grows without bound")]
    TooLarge {
        /// How many were allowed.
        limit: usize,
    },
}

fn bracketed(guard: &str) -> String {
    if guard.is_empty() {
        String::new()
    } else {
        format!(" [{guard}]")
    }
}
