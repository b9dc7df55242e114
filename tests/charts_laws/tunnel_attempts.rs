//! The laws of what `tunnel` tries to bring a connection back: when, how often, and in which way.

use std::time::Duration;

use loaner::charts::Effect;
use loaner::charts::tunnel::{Act, Change, Input, Public, Reason, Refusal, Timer, Tunnel, Verdict};
use proptest::prelude::*;

use super::history::{Moment, config, histories};
use super::tunnel::{PATIENCE, is_initiator};
use super::tunnel_model::{Attempts, public};

const CHECK: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(300);
const GO: Verdict = Verdict::Go {
    n: 1,
    restart: true,
};

fn is_major(event: &Input) -> bool {
    matches!(event, Input::NetworkChanged { major: true, .. })
}

fn events(moments: &[Moment<Tunnel>]) -> impl Iterator<Item = &Input> {
    moments.iter().filter_map(|moment| moment.event.as_ref())
}

proptest! {
    #![proptest_config(config())]

    /// TUN-04; reading.md 28: attempts stand 5, 10, 20 and then 60 s apart, from the beginning of the last and from its failure,
    /// save one for which a network comes back; after 60 s of stability they are forgotten.
    #[test]
    fn attempts_stand_apart_by_the_backoff(history in histories::<Tunnel>()) {
        let mut attempts = Attempts::default();
        for moment in &history.left_alone(PATIENCE[0]).moments {
            let event = moment.event.as_ref();
            if event.is_some_and(|event| *event == Input::NetworkUp || is_major(event)) {
                attempts.network_is_back();
            }
            for act in moment.acts() {
                match act {
                    Act::Notify(public) => attempts.enters(moment.at, *public),
                    Act::AttemptFailed => attempts.fails(moment.at),
                    Act::Attempt { next_in: Duration::ZERO, .. } => {
                        attempts.makes(moment.at).map_err(TestCaseError::fail)?;
                    }
                    _ => {}
                }
            }
        }
    }

    /// reading.md 12: at most 5 ICE restarts in any 5 minutes, however often an address changes on a tube that comes back every
    /// time; what is more is a new connection.
    #[test]
    fn there_are_at_most_5_restarts_in_5_minutes(
        mut history in histories::<Tunnel>(),
        gaps in prop::collection::vec(prop_oneof![0_u64..60, 55_u64..59], 0..40),
    ) {
        let soon = Duration::from_millis(300);
        let change = Change::IpChange;
        for event in [Input::Start, Input::Up, Input::Pong, Input::PeerPing] {
            history.then(soon, event);
        }
        for gap in gaps {
            history.then(Duration::from_secs(gap), Input::NetworkChanged { change, major: true });
            for event in [Input::OfferReady, Input::Answered, Input::Up, Input::Pong, Input::PeerPing] {
                history.then(soon, event);
            }
        }
        let offers: Vec<Duration> = (history.moments.iter())
            .filter(|moment| moment.acts().any(|act| matches!(act, Act::Offer { .. })))
            .map(|moment| moment.at)
            .collect();
        for pair in offers.windows(6) {
            prop_assert!(pair[5] - pair[0] >= WINDOW, "{pair:?}");
        }
    }

    /// The measured rules: an ICE restart is for a loss of at most 5 s that ICE has not called final and that nobody slept
    /// through, unless somebody asks for it by hand; a restart has 3 s for its answer and 3 s for data, and then a new
    /// connection follows at once, in the same attempt.
    #[test]
    fn a_restart_is_for_a_young_loss_and_has_3_s(
        mut history in histories::<Tunnel>(),
        outages in prop::collection::vec(0_u64..9_000, 0..4),
    ) {
        // A network that goes and comes back is what makes a loss grow old.
        for outage in outages {
            history.then(Duration::from_millis(2_000), Input::Pong);
            history.then(Duration::from_millis(100), Input::NetworkDown);
            history.then(Duration::from_millis(outage), Input::NetworkUp);
            for event in [Input::OfferReady, Input::Answered, Input::PeerPing] {
                history.then(Duration::from_millis(400), event);
            }
        }
        let history = history.left_alone(Duration::from_secs(10));
        let mut lost: Option<usize> = None;
        for (place, moment) in history.moments.iter().enumerate() {
            if moment.from == "connected" && moment.to != "connected" {
                lost = Some(place);
            }
            let by_hand = matches!(moment.event, Some(Input::Restart(_)));
            if moment.to == "offering" && moment.from != "offering" && !by_hand {
                let since = lost.expect("a connection that was lost");
                let life = &history.moments[since..place];
                prop_assert!(moment.at - life[0].at <= Duration::from_secs(5));
                let hopeless = events(life).any(|event| {
                    matches!(event, Input::IceFailed | Input::Gone | Input::Woke | Input::Asked { rebuild: true })
                });
                prop_assert!(!hopeless);
            }
            let steps = [Timer::Offer, Timer::Reply, Timer::Check];
            let missed = moment.fired().is_some_and(|timer| steps.contains(&timer));
            if missed && is_initiator(&history) {
                let rebuilds = moment.acts().any(|act| matches!(act, Act::Rebuild { .. }));
                prop_assert!(rebuilds || moment.to == "waiting_for_network");
            }
        }
        history.lasts_at_most("awaiting_answer", Timer::Reply, CHECK)?;
        if is_initiator(&history) {
            history.lasts_at_most("checking", Timer::Check, CHECK)?;
        }
    }

    /// Nothing is tried without a way for it, and what waits for one goes on when there is one.
    #[test]
    fn nothing_is_offered_without_a_network_and_a_hub(history in histories::<Tunnel>()) {
        let (mut network, mut hub) = (true, true);
        for moment in &history.moments {
            match moment.event {
                Some(Input::NetworkDown) => network = false,
                Some(Input::NetworkUp) => network = true,
                Some(Input::SignallingDown) => hub = false,
                Some(Input::SignallingUp) => hub = true,
                _ => {}
            }
            for act in moment.acts() {
                let tries = matches!(act, Act::Offer { .. } | Act::Rebuild { .. } | Act::AskForRestart { .. });
                prop_assert!(!tries || (network && hub));
            }
            prop_assert!(moment.to != "waiting_for_network" || !(network && hub));
        }
    }

    /// TUN-05: a person's wish is done where the tube was connected once, the other side knows it, there is a way, and the ledger
    /// lets it; otherwise it is refused with the reason.
    #[test]
    fn a_restart_by_hand_is_done_or_refused(history in histories::<Tunnel>()) {
        let (mut network, mut hub, mut lost) = (true, true, false);
        for moment in &history.moments {
            match moment.event {
                Some(Input::NetworkDown) => network = false,
                Some(Input::NetworkUp) => network = true,
                Some(Input::SignallingDown) => hub = false,
                Some(Input::SignallingUp) => hub = true,
                Some(Input::SessionRefused) => lost |= moment.from == "rebuilding",
                _ => {}
            }
            let Some(Input::Restart(verdict)) = &moment.event else { continue };
            let tries = moment.acts().any(|act| matches!(act, Act::Attempt { .. }));
            let refused = moment.acts().find_map(|act| match act {
                Act::RefuseRestart(refusal) => Some(*refusal),
                _ => None,
            });
            let expected = match (moment.from, verdict) {
                ("terminated", _) => {
                    prop_assert!(!tries && refused.is_none());
                    continue;
                }
                ("initializing" | "connecting", _) => Some(Refusal::NotConnected),
                ("failed", _) if lost => Some(Refusal::SessionLost),
                (_, Verdict::Wait { wait, .. }) => Some(Refusal::Wait(*wait)),
                _ if !(network && hub) => Some(Refusal::NoWay),
                _ => None,
            };
            prop_assert_eq!(refused, expected, "in {}", moment.from);
            prop_assert_eq!(tries, expected.is_none());
        }
    }

    /// A connection that comes up is asked for a proof at once, also when its attempt is over already: a path that needs longer
    /// than an attempt lasts is not thrown away.
    #[test]
    fn a_connection_that_comes_up_is_asked_for_a_proof(history in histories::<Tunnel>()) {
        let waits = [Public::Connecting, Public::Reconnecting];
        for moment in history.moments.iter().filter(|moment| moment.event == Some(Input::Up)) {
            if waits.contains(&public(moment.from)) {
                let generation = moment.chart.generation();
                prop_assert_eq!(&moment.effects, &vec![Effect::Act(Act::Ping { generation })], "in {}", moment.from);
            }
        }
    }

    /// A session that the other side does not know any more is not tried again, whoever asks for it: it ends, and says why.
    #[test]
    fn a_session_that_was_refused_is_over(mut history in histories::<Tunnel>(), gaps in prop::collection::vec(0_u64..60, 0..8)) {
        let soon = Duration::from_millis(300);
        for event in [Input::Start, Input::Up, Input::Pong, Input::PeerPing, Input::Gone] {
            history.then(soon, event);
        }
        history.then(soon, Input::SessionRefused);
        let wishes = [Input::NetworkDown, Input::NetworkUp, Input::Asked { rebuild: true }, Input::Restart(GO)];
        for (gap, wish) in gaps.into_iter().zip(wishes.into_iter().cycle()) {
            history.then(Duration::from_secs(gap), wish);
        }
        let refused = (history.moments.iter()).position(|moment| {
            moment.event == Some(Input::SessionRefused) && moment.from == "rebuilding"
        });
        let Some(refused) = refused else { return Ok(()) };
        prop_assert!(history.moments[refused].has(&Act::GiveUp(Reason::SessionLost)));
        for moment in &history.moments[refused + 1..] {
            prop_assert!(["failed", "terminated"].contains(&moment.to));
            prop_assert_eq!(moment.chart.reason(), Some(Reason::SessionLost));
            let tries = moment.acts().any(|act| matches!(act, Act::Attempt { .. }));
            prop_assert!(!tries);
            let ends = moment.to == "terminated" && moment.from != "terminated";
            prop_assert_eq!(moment.has(&Act::Close(Reason::SessionLost)), ends);
        }
    }
}
