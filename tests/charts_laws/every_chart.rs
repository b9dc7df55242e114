//! What holds of every chart (the rules of the charts: every pair is decided, every state has its deadline).

use std::collections::BTreeSet;
use std::time::Duration;

use loaner::charts::availability::Availability;
use loaner::charts::hub_connection::HubConnection;
use loaner::charts::ice_watchdog::IceWatchdog;
use loaner::charts::job::Job;
use loaner::charts::keep_alive::KeepAlive;
use loaner::charts::outlook::outlook;
use loaner::charts::peer::Peer;
use loaner::charts::session::Session;
use loaner::charts::submission::Submission;
use loaner::charts::transfer::Transfer;
use loaner::charts::tunnel::Tunnel;
use loaner::charts::{Bound, Chart};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::history::{History, Subject, config, histories};

type Law = Result<(), TestCaseError>;

fn spec<C: Chart>(state: &str) -> Bound {
    C::states()
        .iter()
        .find(|spec| spec.name == state)
        .map(|spec| spec.bound)
        .unwrap()
}

fn every_event_is_decided<C: Chart>(history: &History<C>) -> Law {
    for moment in &history.moments {
        prop_assert!(!moment.undecided, "{:?} in {}", moment.event, moment.from);
    }
    Ok(())
}

fn what_is_ignored_changes_nothing<C: Chart>(history: &History<C>) -> Law {
    for moment in history.moments.iter().filter(|moment| !moment.counted()) {
        prop_assert!(moment.effects.is_empty());
        prop_assert_eq!(moment.from, moment.to);
    }
    Ok(())
}

fn every_state_has_the_deadline_that_it_names<C: Chart>(history: &History<C>) -> Law {
    for moment in &history.moments {
        let running: Vec<_> = moment
            .running
            .keys()
            .map(|timer| format!("{timer:?}"))
            .collect();
        match spec::<C>(moment.to) {
            Bound::Timer(name) => {
                prop_assert!(running.iter().any(|timer| timer == name), "{}", moment.to)
            }
            Bound::Open(_) => {}
            Bound::Final => prop_assert!(running.is_empty(), "{:?} in {}", running, moment.to),
        }
    }
    Ok(())
}

fn no_timer_fires_for_nothing<C: Chart>(history: &History<C>) -> Law {
    for moment in history
        .moments
        .iter()
        .filter(|moment| moment.fired().is_some())
    {
        prop_assert!(moment.counted(), "{:?} in {}", moment.event, moment.from);
    }
    Ok(())
}

fn nothing_comes_after_a_final_state<C: Chart>(history: &History<C>) -> Law {
    let mut over = None;
    for moment in &history.moments {
        if let Some(state) = over {
            prop_assert_eq!(moment.to, state);
            prop_assert!(moment.effects.is_empty());
        } else if spec::<C>(moment.to) == Bound::Final {
            over = Some(moment.to);
        }
    }
    Ok(())
}

/// Where a deadline leads is what a person was told before.
fn what_follows_is_told<C: Chart>(history: &History<C>) -> Law {
    for pair in history.moments.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let Some(fired) = after.fired() else { continue };
        let left = |timer: &C::Timer| (*timer == fired).then_some(Duration::ZERO);
        let told = outlook(&before.chart, left).unwrap();
        prop_assert_eq!(told.state.name, before.to);
        let next = told.next.map(|(_, next)| next.name);
        match spec::<C>(before.to) {
            Bound::Timer(name) if format!("{fired:?}") == name => {
                prop_assert_eq!(next.unwrap_or(before.to), after.to);
            }
            _ => prop_assert_eq!(next, None),
        }
    }
    Ok(())
}

/// The laws would hold of nothing if the histories were poor: together they see every state and every effect.
fn histories_are_rich<C: Subject>(acts: &[&str]) {
    let mut runner = TestRunner::deterministic();
    let (mut states, mut done) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..1024 {
        let history = histories::<C>().new_tree(&mut runner).unwrap().current();
        states.extend(history.moments.iter().map(|moment| moment.to));
        done.extend(history.acts().map(|act| act.as_ref().to_owned()));
    }
    let all: BTreeSet<_> = C::states().iter().map(|spec| spec.name).collect();
    assert_eq!(states, all);
    let all: BTreeSet<_> = acts.iter().map(|act| (*act).to_owned()).collect();
    assert_eq!(done, all);
}

macro_rules! every_chart {
    ($( $name:ident: $chart:ty, [$( $act:literal ),+]; )+) => { $(
        mod $name {
            use super::*;

            #[test]
            fn histories_are_rich() {
                super::histories_are_rich::<$chart>(&[$( $act ),+]);
            }

            proptest! {
                #![proptest_config(config())]

                #[test]
                fn every_event_is_decided(history in histories::<$chart>()) {
                    super::every_event_is_decided(&history)?;
                }

                #[test]
                fn what_is_ignored_changes_nothing(history in histories::<$chart>()) {
                    super::what_is_ignored_changes_nothing(&history)?;
                }

                #[test]
                fn every_state_has_the_deadline_that_it_names(history in histories::<$chart>()) {
                    super::every_state_has_the_deadline_that_it_names(&history)?;
                }

                #[test]
                fn no_timer_fires_for_nothing(history in histories::<$chart>()) {
                    super::no_timer_fires_for_nothing(&history)?;
                }

                #[test]
                fn nothing_comes_after_a_final_state(history in histories::<$chart>()) {
                    super::nothing_comes_after_a_final_state(&history)?;
                }

                #[test]
                fn what_follows_is_told(history in histories::<$chart>()) {
                    super::what_follows_is_told(&history)?;
                }
            }
        }
    )+ };
}

every_chart! {
    availability: Availability, [
        "AcceptJob", "RejectJob", "AcceptOffer", "RefuseOffer", "AdmitPackage", "RefusePackage", "ExpectJob", "Drained", "HangUp", "Leave",
        "Publish", "ReleaseHolder"
    ];
    hub_connection: HubConnection, [
        "Look", "Ping", "WarnOfExpiry", "SendClose", "Detach", "HangUp", "Forget"
    ];
    ice_watchdog: IceWatchdog, ["LookAtIce", "ReportSuspect", "ReportRecovered", "ResetConnection"];
    job: Job, [
        "ReportBegun", "Prepare", "Run", "SendStarting", "SendStepDone", "Pack", "ReturnResults", "AskToStop", "TerminateWork", "KillWork",
        "RemoveScratch", "SendTerminal", "ReportEnded"
    ];
    keep_alive: KeepAlive, ["SendKeepAlive"];
    peer: Peer, [
        "SendOffer", "SendAnswer", "LogConnected", "ServeChannel", "TellWatchdogConnected", "TellWatchdogDisconnected",
        "TellWatchdogFailed", "EndWatchdog", "ReportOpen", "ReportLost", "CloseStack", "ReportClosed"
    ];
    session: Session, [
        "SignIn", "CreateRoom", "OpenSocket", "SendRegister", "ReportUp", "ReportDown", "DropSocket", "SayGoodbye",
        "ReportClosed", "ReportFailed"
    ];
    submission: Submission, [
        "Discover", "Choose", "SendJobRequest", "SendJobAssignment", "Dial", "DropConnection", "SendPackage",
        "NameFile", "ReleaseWorker", "ReceiveResults", "StopStreams", "SendJobCancel", "ReportDone", "ReportFailed"
    ];
    transfer: Transfer, ["StopStream", "ReportDone", "ReportFailed"];
    tunnel: Tunnel, [
        "Open", "Look", "Ping", "Weigh", "Offer", "AskForRestart", "Answer", "TakeAnswer", "Rebuild", "HoldWriters",
        "ReleaseWriters", "Notify", "ChangeDetected", "Attempt", "AttemptFailed", "WaiveBackoff", "RefuseRestart",
        "CountStale", "GiveUp", "Close"
    ];
}
