//! The laws of `availability`.

use std::time::Duration;

use loaner::charts::availability::{Act, Availability, Input, Status, Timer};
use loaner::charts::{Effect, PeerId};
use proptest::prelude::*;

use super::availability_model::{Model, Who};
use super::history::{Moment, Subject, config, histories};

const LEASE: Duration = Duration::from_secs(60);
const LINGER: Duration = Duration::from_secs(30);

impl Subject for Availability {
    fn weight(event: &Input) -> u32 {
        match event {
            Input::Shutdown => 1,
            Input::Drain | Input::ConnectionsGone => 2,
            _ => 6,
        }
    }
}

/// Who an event is from, where that matters.
fn sender(event: &Input) -> Option<&PeerId> {
    match event {
        Input::JobRequested { from, .. }
        | Input::JobAssigned { from, .. }
        | Input::Offer { from }
        | Input::PackageAnnounced { from }
        | Input::JobBegun { from, .. }
        | Input::PeerLost { from } => Some(from),
        Input::JobEnded { .. }
        | Input::ConnectionsGone
        | Input::Drain
        | Input::Shutdown
        | Input::Fired(_) => None,
    }
}

/// Who held the worker before a moment.
fn holder_before(moments: &[Moment<Availability>], index: usize) -> Option<&PeerId> {
    index
        .checked_sub(1)
        .and_then(|before| moments[before].chart.holder())
}

/// A state without what a drain adds to it.
fn plain(state: &str) -> &str {
    state.strip_prefix("draining_").unwrap_or(state)
}

fn sorted<'a>(acts: impl Iterator<Item = &'a Act>) -> Vec<String> {
    let mut texts: Vec<_> = acts.map(|act| format!("{act:?}")).collect();
    texts.sort();
    texts
}

proptest! {
    #![proptest_config(config())]

    /// The chart and the model, each written for itself, do the same (reading.md 1 to 5; worker-state.md; PEER-03 to PEER-09).
    #[test]
    fn the_chart_does_what_the_model_does(history in histories::<Availability>()) {
        let mut model = Model::new();
        for moment in &history.moments {
            let Some(event) = &moment.event else { continue };
            let expected = model.hears(moment.at, event);
            prop_assert_eq!(sorted(moment.acts()), sorted(expected.iter()), "{:?}", event);
            prop_assert_eq!(moment.chart.draining(), model.draining);
            if !matches!(model.who, Who::Down) {
                let shown = (moment.chart.status(), moment.chart.job().cloned());
                prop_assert_eq!(shown, model.published());
            }
        }
    }

    /// reading.md 1 and 4; worker-state.md, Worker Status Updates (STATE-01 to STATE-03): available, reserved, busy,
    /// available; a reservation may end early; a shutdown comes from anywhere; nothing else.
    #[test]
    fn the_status_goes_round_and_nowhere_else(history in histories::<Availability>()) {
        for moment in history.moments.iter().filter(|moment| moment.from != moment.to) {
            let way = (moment.from, moment.to);
            let round = [
                ("available", "reserved"),
                ("reserved", "busy"),
                ("busy", "available"),
                ("reserved", "available"),
            ];
            let drain = [
                ("available", "leaving"),
                ("reserved", "draining_reserved"),
                ("busy", "draining_busy"),
            ];
            let drained = [
                ("draining_reserved", "draining_busy"),
                ("draining_reserved", "leaving"),
                ("draining_busy", "leaving"),
            ];
            match &moment.event {
                Some(Input::Shutdown) => prop_assert_eq!(moment.to, "shutting_down"),
                Some(Input::ConnectionsGone) => prop_assert_eq!(way, ("leaving", "shutting_down")),
                Some(Input::Drain) => prop_assert!(drain.contains(&way), "{way:?}"),
                _ => prop_assert!(round.contains(&way) || drained.contains(&way), "{way:?}"),
            }
        }
    }

    /// A drain keeps who is there and lets nobody else in; the worker has drained, once, when nobody holds it, and not before;
    /// it leaves after that, once, when nobody is connected.
    #[test]
    fn a_drained_worker_serves_whom_it_has_and_leaves(history in histories::<Availability>()) {
        let (mut draining, mut drained, mut left) = (false, false, false);
        for (index, moment) in history.moments.iter().enumerate() {
            let before = holder_before(&history.moments, index);
            for act in moment.acts() {
                if draining {
                    let lets_in = match act {
                        Act::AcceptJob { .. } => true,
                        Act::AcceptOffer { from } | Act::AdmitPackage { from } => Some(from) != before,
                        Act::Publish { status, draining, .. } => *status == Status::Available || !draining,
                        _ => false,
                    };
                    prop_assert!(!lets_in, "{act:?}");
                }
                if *act == Act::Drained {
                    prop_assert!(!drained && moment.chart.holder().is_none());
                    drained = true;
                }
                if *act == Act::Leave {
                    prop_assert!(drained && !left);
                    prop_assert_eq!(&moment.event, &Some(Input::ConnectionsGone));
                    left = true;
                }
            }
            if moment.event == Some(Input::Drain) && moment.from != "shutting_down" {
                draining = true;
                prop_assert_eq!(moment.chart.holder(), before);
                prop_assert_eq!(drained, before.is_none());
            }
            if draining && moment.from != moment.to && moment.to == "shutting_down" && moment.event != Some(Input::Shutdown) {
                prop_assert!(left);
            }
        }
    }

    /// Who asks a worker that leaves is told no, as long as anybody is connected, and what it shows does not change any more.
    #[test]
    fn a_worker_that_leaves_answers_everybody_with_no(history in histories::<Availability>()) {
        for moment in history.moments.iter().filter(|moment| moment.from == "leaving") {
            let refused = moment.acts().all(|act| {
                matches!(act, Act::RejectJob { reason: "busy", .. } | Act::RefuseOffer { status: Status::Busy, .. } | Act::RefusePackage { .. })
            });
            match &moment.event {
                Some(Input::JobRequested { .. } | Input::Offer { .. } | Input::PackageAnnounced { .. }) => {
                    prop_assert!(refused && moment.acts().count() == 1);
                }
                Some(Input::Fired(Timer::HangUp)) => prop_assert!(moment.has(&Act::HangUp)),
                Some(Input::ConnectionsGone) => prop_assert!(moment.has(&Act::Leave)),
                _ => prop_assert_eq!(moment.acts().count(), 0),
            }
        }
    }

    /// Who is connected to a worker that leaves has 30 s to read; then it hangs up, and again where that was not enough.
    #[test]
    fn a_worker_that_leaves_hangs_up_every_30_s(history in histories::<Availability>()) {
        let alone = history.left_alone(LINGER);
        let since = |moment: &Moment<Availability>| moment.from == "leaving" || moment.to == "leaving";
        let mut last = None;
        for moment in alone.moments.iter().filter(|moment| since(moment)) {
            match moment.has(&Act::HangUp) {
                true => prop_assert_eq!(last.replace(moment.at), Some(moment.at - LINGER)),
                false => last = last.or(Some(moment.at)),
            }
        }
        prop_assert!(!history.chart_is("leaving") || alone.moments.last().is_some_and(|moment| moment.has(&Act::HangUp)));
    }

    /// A drain neither lengthens nor shortens a reservation: it has one lease, and left alone the worker leaves at its end.
    #[test]
    fn a_drain_leaves_the_lease_as_it_is(history in histories::<Availability>()) {
        for moment in &history.moments {
            if moment.event == Some(Input::Drain) {
                prop_assert!(moment.effects.iter().all(|effect| matches!(effect, Effect::Act(_) | Effect::Arm(Timer::HangUp, _))));
            }
        }
        let alone = history.left_alone(LEASE);
        prop_assert!(!alone.chart_is("draining_reserved"));
        prop_assert!(!history.chart_is("draining_reserved") || alone.chart_is("leaving"));
    }

    /// reading.md 4: a lease lasts 60 s, and it ends with an assignment, with the connection, or with its deadline.
    #[test]
    fn a_lease_lasts_60_s_and_ends_by_its_deadline_a_loss_or_a_job(history in histories::<Availability>()) {
        history.lasts_at_most("reserved", Timer::Lease, LEASE)?;
        for (index, moment) in history.moments.iter().enumerate() {
            if plain(moment.from) != "reserved" || plain(moment.to) == "reserved" {
                continue;
            }
            let holder = holder_before(&history.moments, index);
            let free = if moment.from == "reserved" { "available" } else { "leaving" };
            match (&moment.event, plain(moment.to)) {
                (Some(Input::Fired(Timer::Lease)), to) if to == free => {}
                (Some(Input::PeerLost { from }), to) if to == free => prop_assert_eq!(Some(from), holder),
                (Some(Input::JobAssigned { from, .. } | Input::JobBegun { from, .. }), "busy") => {
                    prop_assert_eq!(Some(from), holder);
                }
                (Some(Input::Shutdown), "shutting_down") => {}
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    /// reading.md 4: nothing keeps a reserved worker longer than its lease: left alone, it is available again.
    #[test]
    fn left_alone_a_reserved_worker_is_available_again(history in histories::<Availability>()) {
        let alone = history.left_alone(LEASE);
        prop_assert!(!alone.chart_is("reserved"));
        prop_assert!(!history.chart_is("reserved") || alone.chart_is("available"));
    }

    /// reading.md 5: at most one peer holds the worker, and it changes only by the worker's being free in between.
    #[test]
    fn there_is_at_most_one_holder(history in histories::<Availability>()) {
        for (index, moment) in history.moments.iter().enumerate() {
            let (before, after) = (holder_before(&history.moments, index), moment.chart.holder());
            if let (Some(before), Some(after)) = (before, after) {
                prop_assert_eq!(before, after);
            }
            prop_assert_eq!(after.is_some(), ["reserved", "busy"].contains(&plain(moment.to)));
        }
    }

    /// reading.md 5: what another peer than the holder sends changes nothing; it is answered with a refusal, or not at all.
    #[test]
    fn only_the_holder_counts(history in histories::<Availability>()) {
        for (index, moment) in history.moments.iter().enumerate() {
            let (Some(holder), Some(from)) =
                (holder_before(&history.moments, index), moment.event.as_ref().and_then(sender))
            else {
                continue;
            };
            if holder == from {
                continue;
            }
            prop_assert_eq!(moment.from, moment.to);
            for act in moment.acts() {
                let refusal = matches!(act, Act::RejectJob { .. } | Act::RefuseOffer { .. } | Act::RefusePackage { .. });
                prop_assert!(refusal, "{act:?}");
            }
        }
    }

    /// worker-peer-messaging.md, Job Request Handling (PEER-03 to PEER-05): every request is answered exactly once, to its
    /// sender and for its job; "busy" while somebody holds the worker, else by whether the machine can do it.
    #[test]
    fn every_job_request_is_answered_exactly_once(history in histories::<Availability>()) {
        for moment in &history.moments {
            let answers: Vec<_> = moment
                .acts()
                .filter(|act| matches!(act, Act::AcceptJob { .. } | Act::RejectJob { .. }))
                .collect();
            let Some(Input::JobRequested { from, job, fits }) = &moment.event else {
                prop_assert!(answers.is_empty());
                continue;
            };
            let (to, job) = (from.clone(), job.clone());
            let expected = match (moment.from, fits) {
                ("shutting_down", _) => None,
                ("available", true) => Some(Act::AcceptJob { to, job }),
                ("available", false) => Some(Act::RejectJob { to, job, reason: "incompatible" }),
                _ => Some(Act::RejectJob { to, job, reason: "busy" }),
            };
            prop_assert_eq!(answers, expected.iter().collect::<Vec<_>>());
        }
    }

    /// worker-connection.md, Reject offer when busy and Accept offer when available (CONN-02, CONN-03); reading.md 2: an
    /// offer is accepted when the worker is free or the offer is the holder's; every other is refused with the status.
    #[test]
    fn an_offer_is_accepted_when_free_or_from_the_holder(history in histories::<Availability>()) {
        for (index, moment) in history.moments.iter().enumerate() {
            let answers: Vec<_> = moment
                .acts()
                .filter(|act| matches!(act, Act::AcceptOffer { .. } | Act::RefuseOffer { .. }))
                .collect();
            let Some(Input::Offer { from }) = &moment.event else {
                prop_assert!(answers.is_empty());
                continue;
            };
            let expected = match (moment.from, holder_before(&history.moments, index)) {
                ("shutting_down", _) => None,
                ("leaving", _) => Some(Act::RefuseOffer { to: from.clone(), status: Status::Busy }),
                (_, None) => Some(Act::AcceptOffer { from: from.clone() }),
                (_, Some(holder)) if holder == from => Some(Act::AcceptOffer { from: from.clone() }),
                // A reservation that is the last one frees nothing for others.
                ("reserved", _) => Some(Act::RefuseOffer { to: from.clone(), status: Status::Reserved }),
                _ => Some(Act::RefuseOffer { to: from.clone(), status: Status::Busy }),
            };
            prop_assert_eq!(answers, expected.iter().collect::<Vec<_>>());
        }
    }

    /// worker-connection.md, Accept offer when available (CONN-03): the status is reserved before the answer is made.
    #[test]
    fn an_offer_is_answered_under_a_reservation(history in histories::<Availability>()) {
        for moment in history.moments.iter().filter(|moment| moment.from == "available") {
            let acts: Vec<_> = moment.acts().collect();
            if let Some(accepted) = acts.iter().position(|act| matches!(act, Act::AcceptOffer { .. })) {
                let published = acts.iter().position(|act| {
                    matches!(act, Act::Publish { status: Status::Reserved, .. })
                });
                prop_assert!(published.is_some_and(|published| published < accepted));
            }
        }
    }

    /// worker-state.md, Worker Status Updates (STATE-01 to STATE-03) and Periodic status updates (STATE-16); reading.md 9:
    /// every change of the status is published once, with its job, and without one when the worker is available.
    #[test]
    fn every_change_of_the_status_is_published_once(history in histories::<Availability>()) {
        for moment in &history.moments {
            let published: Vec<_> = moment
                .acts()
                .filter_map(|act| match act {
                    Act::Publish { status, job, .. } => Some((*status, job.clone())),
                    _ => None,
                })
                .collect();
            let changed = moment.from != moment.to && moment.to != "shutting_down";
            let expected = changed.then(|| (moment.chart.status(), moment.chart.job().cloned()));
            prop_assert_eq!(&published, &expected.into_iter().collect::<Vec<_>>());
            for (status, job) in published {
                match status {
                    Status::Available => prop_assert!(job.is_none()),
                    Status::Reserved => {}
                    Status::Busy => prop_assert_eq!(job.is_none(), moment.to == "leaving"),
                }
            }
        }
    }

    /// worker-peer-messaging.md, Store job assignment details (PEER-06) and reading.md 8: a busy worker is free again only
    /// when its current job has ended; neither a loss nor another job's end does that.
    #[test]
    fn busy_ends_with_the_current_job_and_nothing_else(history in histories::<Availability>()) {
        for (index, moment) in history.moments.iter().enumerate() {
            let free = [("busy", "available"), ("draining_busy", "leaving")];
            if free.contains(&(moment.from, moment.to)) && moment.event != Some(Input::Shutdown) {
                let job = history.moments[index - 1].chart.job().cloned().unwrap();
                prop_assert_eq!(&moment.event, &Some(Input::JobEnded { job }));
            }
        }
    }

    /// reading.md 14: nothing but the end follows a shutdown, and a worker that ends is not to be chosen any more.
    #[test]
    fn nothing_follows_a_shutdown(history in histories::<Availability>()) {
        let mut down = false;
        for moment in history.left_alone(LEASE * 2).moments {
            prop_assert!(!(down && moment.acts().next().is_some()));
            down |= moment.event == Some(Input::Shutdown) || moment.has(&Act::Leave);
            if down {
                prop_assert_eq!(moment.to, "shutting_down");
                prop_assert_eq!(moment.chart.status(), Status::Busy);
                prop_assert!(moment.running.is_empty());
            }
        }
    }
}
