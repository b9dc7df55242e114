//! The laws of `tunnel`, with the ledger that it has in its actor; those of its attempts are in `tunnel_attempts`.

use std::time::Duration;

use loaner::charts::tunnel::{Act, Change, Input, Ledger, Public, Reason, Timer, Tunnel};
use loaner::charts::{Chart, Effect};
use proptest::prelude::*;

use super::history::{History, Subject, config, histories};
use super::tunnel_model::{Proof, public};

pub(super) const PATIENCE: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(90)];

/// The least by which times differ here.
const JUST: Duration = Duration::from_millis(1);

type Tube = History<Tunnel>;

/// The ledger as the actor keeps it: it sees every effect when it is performed.
fn ledger(history: &Tube) -> Ledger {
    let mut ledger = Ledger::new();
    for moment in &history.moments {
        for act in moment.acts() {
            ledger.note(moment.at, act);
        }
    }
    ledger
}

fn chart(history: &Tube) -> &Tunnel {
    &history.moments.last().unwrap().chart
}

pub(super) fn is_initiator(history: &Tube) -> bool {
    history.start == 0
}

impl Subject for Tunnel {
    fn weight(event: &Input) -> u32 {
        match event {
            Input::Pong | Input::PeerPing => 12,
            Input::Start | Input::OfferReady | Input::Answered | Input::Up => 8,
            Input::Restart(_) | Input::Offered { .. } | Input::Heard => 2,
            Input::SessionRefused | Input::Close | Input::PeerClosed => 1,
            Input::Weighed(_) | Input::Fired(_) => 0,
            _ => 3,
        }
    }

    /// A tube that comes up, and is lost in one way or another.
    fn lives() -> Vec<Vec<Input>> {
        let up = [Input::Start, Input::Up, Input::Pong, Input::PeerPing];
        let change = |change| Input::NetworkChanged {
            change,
            major: true,
        };
        let lost = [
            vec![Input::IceDisconnected],
            vec![Input::Gone],
            vec![change(Change::IpChange)],
            vec![Input::NetworkDown, Input::NetworkUp],
            vec![Input::Asked { rebuild: false }],
            vec![Input::Woke],
        ];
        let life = |lost: Vec<Input>| up.iter().cloned().chain(lost).collect();
        lost.into_iter().map(life).collect()
    }

    fn fill(history: &Tube, event: Input, dice: u8) -> Input {
        let chart = chart(history);
        match event {
            Input::Restart(_) => Input::Restart(ledger(history).weigh(history.now)),
            Input::Offered { rebuild, .. } => Input::Offered {
                generation: chart.generation() + 1 + u64::from(dice % 2),
                rebuild,
            },
            Input::Quiet { busy, .. } => Input::Quiet {
                silent: Duration::from_millis(u64::from(dice) * 40),
                busy,
            },
            // Some come too late.
            Input::Pong | Input::PeerPing | Input::Answered if dice % 8 == 1 => {
                chart.judge(chart.generation() - 1, event)
            }
            other => other,
        }
    }

    fn answer(history: &Tube, act: &Act) -> Option<Input> {
        (*act == Act::Weigh).then(|| Input::Weighed(ledger(history).weigh(history.now)))
    }
}

proptest! {
    #![proptest_config(config())]

    /// Every path from a lost connection ends, within the patience, in one that works, in failure or in the end; and a failed
    /// tube that nobody restarts ends after a quarter of an hour.
    #[test]
    fn a_lost_connection_is_back_or_given_up_in_time(history in histories::<Tunnel>()) {
        let patience = PATIENCE[history.start];
        let alone = history.left_alone(patience + Duration::from_secs(900 + 31));
        let mut lost = None;
        for moment in &alone.moments {
            match public(moment.to) {
                Public::Reconnecting => {
                    let since = *lost.get_or_insert(moment.at);
                    prop_assert!(moment.at - since <= patience);
                }
                _ => lost = None,
            }
        }
        prop_assert!(["initializing", "connected", "terminated"].contains(&chart(&alone).state()));
        // What a state may last, its timer says; so no step can take longer than these.
        for effect in alone.moments.iter().flat_map(|moment| &moment.effects) {
            if let Effect::Arm(timer, time) = effect {
                let most = match timer {
                    Timer::Look | Timer::Answer | Timer::Settle => 1,
                    Timer::Suspect => 1,
                    Timer::Again => 2,
                    Timer::Reply | Timer::Check => 3,
                    Timer::Wish => 10,
                    Timer::Offer => 5,
                    Timer::Rebuild => 15,
                    Timer::Setup => 30,
                    Timer::Backoff => 60,
                    Timer::Young => 5,
                    Timer::Patience => patience.as_secs(),
                    Timer::Detach => 900,
                };
                prop_assert!(*time <= Duration::from_secs(most), "{timer:?} {time:?}");
            }
        }
    }

    /// reading.md 27: connected is claimed only after an answered ping and a ping of the other side on the present path, and
    /// the answer is younger than the loss. Where there was only doubt, any frame of that path clears it.
    #[test]
    fn connected_is_claimed_after_data_in_both_directions(history in histories::<Tunnel>()) {
        let mut proof = Proof::default();
        for moment in &history.moments {
            if let Some(event) = &moment.event {
                proof.hears(event);
            }
            let doubt_cleared = moment.from == "degraded" && moment.event == Some(Input::Heard);
            let claims = moment.has(&Act::Notify(Public::Connected));
            prop_assert!(!claims || proof.is_complete() || doubt_cleared);
            moment.acts().for_each(|act| proof.sees(act));
            if claims {
                proof.hears(&Input::Pong);
            }
        }
    }

    /// TUN-10: every change of the public state is told once, when it happens.
    #[test]
    fn every_change_is_told_once(history in histories::<Tunnel>()) {
        for moment in &history.left_alone(PATIENCE[0]).moments {
            let told: Vec<Public> = (moment.acts())
                .filter_map(|act| match act {
                    Act::Notify(public) => Some(*public),
                    _ => None,
                })
                .collect();
            let (from, to) = (public(moment.from), public(moment.to));
            let expected = if from == to { vec![] } else { vec![to] };
            prop_assert_eq!(told, expected);
            prop_assert_eq!(moment.chart.public(), to);
        }
    }

    /// The reason is never normal where the connection was lost, or never came up.
    #[test]
    fn a_lost_link_is_never_called_normal(history in histories::<Tunnel>()) {
        for moment in &history.left_alone(PATIENCE[0] * 3).moments {
            for act in moment.acts() {
                let lost = [Public::Reconnecting, Public::Failed].contains(&public(moment.from));
                match act {
                    Act::GiveUp(reason) => prop_assert_ne!(*reason, Reason::Normal),
                    Act::Close(reason) => prop_assert_eq!(*reason == Reason::Normal, !lost),
                    _ => {}
                }
            }
            let over = ["failed", "terminated"].contains(&moment.to);
            prop_assert_eq!(moment.chart.reason().is_some(), over);
        }
    }

    /// reading.md 29: what is of another generation is counted, and changes nothing; only an offer may be newer.
    #[test]
    fn stale_generations_change_nothing(history in histories::<Tunnel>(), other in 0_u64..6) {
        for moment in history.moments.iter().filter(|m| m.event == Some(Input::Stale)) {
            if moment.from == "terminated" {
                continue;
            }
            prop_assert_eq!(&moment.effects, &vec![Effect::Act(Act::CountStale)]);
            prop_assert_eq!(moment.from, moment.to);
        }
        let chart = chart(&history);
        let present = chart.generation();
        for event in Tunnel::alphabet() {
            let taken = chart.judge(other, event.clone()) != Input::Stale;
            let may = match event {
                Input::Offered { .. } => other > present,
                Input::Asked { .. } if chart.state() == "failed" => other <= present,
                Input::Stale => false,
                _ => other == present,
            };
            prop_assert_eq!(taken, may, "{:?}", event);
        }
    }

    /// Every path has a generation that is newer than that of the path before, and only the initiator makes one up.
    #[test]
    fn generations_only_grow_and_only_the_initiator_offers(history in histories::<Tunnel>()) {
        let mut last = 1;
        for act in history.acts() {
            match act {
                Act::Offer { generation } | Act::Rebuild { generation } => {
                    prop_assert!(is_initiator(&history));
                    prop_assert_eq!(*generation, last + 1);
                    last = *generation;
                }
                Act::Answer { generation, .. } => {
                    prop_assert!(!is_initiator(&history));
                    prop_assert!(*generation > last);
                    last = *generation;
                }
                Act::AskForRestart { generation, .. } => {
                    prop_assert!(!is_initiator(&history));
                    prop_assert_eq!(*generation, last);
                }
                Act::Ping { generation } => prop_assert_eq!(*generation, last),
                _ => {}
            }
        }
    }

    /// Writers wait exactly while the connection is lost.
    #[test]
    fn writers_are_held_while_the_connection_is_lost(history in histories::<Tunnel>()) {
        let mut held = false;
        for moment in &history.moments {
            for act in moment.acts() {
                match act {
                    Act::HoldWriters => prop_assert!(!std::mem::replace(&mut held, true)),
                    Act::ReleaseWriters => prop_assert!(std::mem::replace(&mut held, false)),
                    _ => {}
                }
            }
            prop_assert_eq!(held, public(moment.to) == Public::Reconnecting);
        }
    }

    /// What a person is told is true: how long it takes to the next step and to the end of patience, and what happens then.
    #[test]
    fn a_person_is_told_what_happens(history in histories::<Tunnel>()) {
        let moment = history.moments.last().unwrap();
        let left = |timer| moment.running.get(&timer).map(|at| at.saturating_sub(history.now));
        let status = chart(&history).status(&ledger(&history), history.now, left);
        prop_assert_eq!(status.public, public(moment.to));
        prop_assert_eq!(status.gives_up_in.is_some(), status.then.is_some());
        if let Some(next) = status.next_in {
            let alone = history.left_alone(next);
            prop_assert!(alone.moments.len() > history.moments.len());
            let first = |timer| left(timer).is_none_or(|left| left > next);
            if first(Timer::Patience) && first(Timer::Detach) {
                let left = |timer| alone.moments.last().unwrap().running.get(&timer).copied();
                let then = chart(&alone).status(&ledger(&alone), alone.now, left);
                prop_assert_eq!(status.next.unwrap_or(status.doing), then.doing);
            }
            // Nor does it take longer than that, unless patience is at its end before.
            if !next.is_zero() && status.gives_up_in.is_none_or(|patience| next <= patience) {
                let alone = history.left_alone(next.saturating_sub(JUST));
                prop_assert_eq!(chart(&alone).state(), moment.to);
            }
        }
        if status.public == Public::Reconnecting {
            let patience = status.gives_up_in.unwrap();
            if !patience.is_zero() {
                let alone = history.left_alone(patience.saturating_sub(JUST));
                prop_assert_eq!(alone.moments.last().unwrap().chart.public(), Public::Reconnecting);
            }
            let alone = history.left_alone(patience);
            let given_up = alone.chart_is("failed");
            prop_assert!(given_up, "{}", chart(&alone).state());
        }
    }

    /// Closing is final and idempotent: told once, and nothing follows, whatever comes.
    #[test]
    fn the_end_is_told_once(history in histories::<Tunnel>()) {
        let alone = history.left_alone(Duration::from_secs(3600));
        let over = usize::from(alone.chart_is("terminated"));
        prop_assert_eq!(alone.count(|act| *act == Act::Notify(Public::Terminated)), over);
        prop_assert_eq!(alone.count(|act| matches!(act, Act::Close(_))), over);
    }
}
