//! What a law asks of a history: its moments, its effects, and how long each state lasted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use loaner::charts::{Chart, Effect};
use proptest::prelude::*;

use super::History;

/// One event, and what the chart made of it.
#[derive(Clone)]
pub struct Moment<C: Chart> {
    /// When, since the beginning.
    pub at: Duration,
    /// What came; nothing at the very beginning.
    pub event: Option<C::Input>,
    /// The state before.
    pub from: &'static str,
    /// The state after.
    pub to: &'static str,
    /// The effects, timers included.
    pub effects: Vec<Effect<C::Timer, C::Act>>,
    /// Why the event was ignored, if it was.
    pub ignored: Option<&'static str>,
    /// Whether nobody decided it.
    pub undecided: bool,
    /// The chart after it.
    pub chart: C,
    /// The timers that run after it, by their deadlines.
    pub running: BTreeMap<C::Timer, Duration>,
}

impl<C: Chart> Moment<C> {
    /// The effects that are not about timers.
    pub fn acts(&self) -> impl Iterator<Item = &C::Act> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Act(act) => Some(act),
            Effect::Arm(..) | Effect::Cancel(_) => None,
        })
    }

    /// Whether this effect is among them.
    pub fn has(&self, wanted: &C::Act) -> bool {
        self.acts().any(|act| act == wanted)
    }

    /// The timer whose firing this was.
    pub fn fired(&self) -> Option<C::Timer> {
        self.event.as_ref().and_then(C::timer_of)
    }

    /// Whether the event counted.
    pub fn counted(&self) -> bool {
        self.ignored.is_none()
    }
}

/// The time that was spent in one state.
pub struct Stay<'a, C: Chart> {
    /// When it began.
    pub entered: Duration,
    /// What ended it; nothing, where the history ends first.
    pub ended: Option<&'a Moment<C>>,
    /// When it ended, or the history did.
    pub until: Duration,
}

impl<C: Chart> History<C> {
    /// Whether the chart is in this state now.
    pub fn chart_is(&self, state: &str) -> bool {
        self.chart.state() == state
    }

    /// Every effect but the timers', in order.
    pub fn acts(&self) -> impl Iterator<Item = &C::Act> {
        self.moments.iter().flat_map(Moment::acts)
    }

    /// How many effects are like this.
    pub fn count(&self, like: impl Fn(&C::Act) -> bool) -> usize {
        self.acts().filter(|act| like(act)).count()
    }

    /// Every stay in a state, also when it was left and entered at once.
    pub fn stays(&self, state: &str) -> Vec<Stay<'_, C>> {
        let mut stays = Vec::new();
        let mut entered = None;
        for moment in &self.moments {
            if let Some(since) = entered
                && moment.to != state
            {
                stays.push(Stay {
                    entered: since,
                    ended: Some(moment),
                    until: moment.at,
                });
                entered = None;
            }
            if moment.to == state && entered.is_none() {
                entered = Some(moment.at);
            }
        }
        stays.extend(entered.map(|entered| Stay {
            entered,
            ended: None,
            until: self.now,
        }));
        stays
    }

    /// A state ends within its time, and its timer ends it exactly then.
    pub fn lasts_at_most(
        &self,
        state: &str,
        timer: C::Timer,
        time: Duration,
    ) -> Result<(), TestCaseError> {
        for stay in self.stays(state) {
            let lasted = stay.until - stay.entered;
            prop_assert!(lasted <= time, "{state} lasted {lasted:?}");
            if stay
                .ended
                .is_some_and(|moment| moment.fired() == Some(timer))
            {
                prop_assert_eq!(lasted, time, "{} was ended by its timer", state);
            }
        }
        Ok(())
    }
}

impl<C: Chart> fmt::Debug for History<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (start {})", C::NAME, self.start)?;
        for moment in &self.moments {
            let Moment { from, to, .. } = moment;
            write!(f, "{:>11.3} s  {from}", moment.at.as_secs_f64())?;
            match &moment.event {
                Some(event) => write!(f, " -- {event:?}")?,
                None => write!(f, " -- the beginning")?,
            }
            match moment.ignored {
                Some(reason) => writeln!(f, " -- ignored: {reason}")?,
                None => writeln!(f, " -> {to} {:?}", moment.effects)?,
            }
        }
        write!(f, "{:>11.3} s  the present", self.now.as_secs_f64())
    }
}
