//! What a person is told of a chart as it stands: what its page says of the state, and what follows by itself.

use std::time::Duration;

use super::machine::{Bound, Chart, Out, StateSpec};

/// How a chart stands.
#[derive(Debug, Clone, Copy)]
pub struct Outlook {
    /// Its state, as its page shows it.
    pub state: StateSpec,
    /// How long until the deadline of the state, and the state that follows then; none where it is the same.
    pub next: Option<(Duration, StateSpec)>,
}

/// How `chart` stands; nothing for one whose state is not on its page. `left` says how long a timer still runs, if it does.
///
/// What follows is not said anywhere: a copy of the chart is shown that the timer has fired.
pub fn outlook<C: Chart>(
    chart: &C,
    left: impl Fn(&C::Timer) -> Option<Duration>,
) -> Option<Outlook> {
    let state = spec_of(chart)?;
    let next = deadline(chart).and_then(|timer| {
        let after = left(&timer)?;
        let mut then = chart.clone();
        then.dispatch(&C::fired(timer), &mut Out::default());
        let next = spec_of(&then).filter(|next| next.name != state.name)?;
        Some((after, next))
    });
    Some(Outlook { state, next })
}

fn spec_of<C: Chart>(chart: &C) -> Option<StateSpec> {
    let is_it = |spec: &&StateSpec| spec.name == chart.state();
    C::states().iter().find(is_it).copied()
}

/// The timer that bounds the present state.
fn deadline<C: Chart>(chart: &C) -> Option<C::Timer> {
    let Bound::Timer(name) = spec_of(chart)?.bound else {
        return None;
    };
    let mut timers = C::timers().into_iter();
    timers.find(|timer| format!("{timer:?}") == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::charts::ice_watchdog::{IceWatchdog, Input, PATIENCE};
    use crate::charts::peer::{Peer, Side};
    use crate::charts::{Effect, peer};

    /// A lost path is told with its deadline, and with what becomes of the connection then; a healthy one has neither.
    #[test]
    fn what_follows_is_what_the_chart_does() {
        let mut chart = IceWatchdog::new();
        let mut out = Out::default();
        chart.begin(&mut out);
        let shown = outlook(&chart, |_| None).unwrap();
        assert_eq!((shown.state.name, shown.next.is_none()), ("quiet", true));
        chart.dispatch(&Input::Disconnected, &mut out);
        let armed = |timer: &_| {
            out.effects().iter().find_map(|effect| match effect {
                Effect::Arm(armed, after) if armed == timer => Some(*after),
                _ => None,
            })
        };
        let shown = outlook(&chart, armed).unwrap();
        let (after, next) = shown.next.unwrap();
        assert_eq!((shown.state.name, after), ("suspect", PATIENCE));
        assert_eq!(
            (next.name, next.about),
            ("reset", "The connection was given up.")
        );
        // To be asked changes nothing.
        assert_eq!(chart.state(), "suspect");
    }

    /// The same deadline leads elsewhere in another state.
    #[test]
    fn a_deadline_that_does_not_run_is_not_told() {
        let mut chart = Peer::new(Side::Offerer);
        let mut out = Out::default();
        chart.begin(&mut out);
        chart.dispatch(&peer::Input::Begin, &mut out);
        assert!(outlook(&chart, |_| None).unwrap().next.is_none());
        let second = |_: &_| Some(Duration::from_secs(1));
        let (_, next) = outlook(&chart, second).unwrap().next.unwrap();
        assert_eq!(next.name, "closing");
    }
}
