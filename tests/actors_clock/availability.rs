//! The actor of `availability` with a worker that only listens.

use actix::prelude::*;
use loaner::actors::availability::{Asked, AvailabilityActor, AvailabilityPerformer, Published};
use loaner::actors::start;
use loaner::charts::availability::{Act, Availability, Input, Status};
use loaner::charts::{JobId, PeerId};
use tokio::sync::watch;

use super::clock::{Seen, feed, listener, observe, on_paused_clock, pass};

struct Desk {
    actor: Addr<AvailabilityActor>,
    asked: Seen<Act>,
    published: watch::Receiver<Published>,
}

impl Desk {
    fn status(&self) -> Status {
        self.published.borrow().status
    }
}

fn desk() -> Desk {
    let (worker, asked) = listener(|asked: Asked| asked.0);
    let (published, read) = watch::channel(Published::free());
    let performer = AvailabilityPerformer { worker, published };
    Desk {
        actor: start(Availability::new(), performer, "worker", None),
        asked,
        published: read,
    }
}

fn ann() -> PeerId {
    PeerId::from("ann")
}

fn job() -> JobId {
    JobId::from("j1")
}

fn publish(status: Status, job: Option<JobId>) -> Act {
    let draining = false;
    Act::Publish {
        status,
        job,
        draining,
    }
}

/// What is published of a worker that leaves.
fn publish_last() -> Act {
    Act::Publish {
        status: Status::Busy,
        job: None,
        draining: true,
    }
}

/// STATE-03, PEER-03; reading.md 4: a reservation that becomes nothing is over after 60 s; its holder's connections are
/// closed, and the worker is published as available, without a job.
#[test]
fn a_lease_ends_after_60_s_and_the_worker_is_available_again() {
    on_paused_clock(async {
        let desk = desk();
        let (from, fits) = (ann(), true);
        feed(
            &desk.actor,
            Input::JobRequested {
                from,
                job: job(),
                fits,
            },
        )
        .await;
        pass(59.9).await;
        assert_eq!(desk.status(), Status::Reserved);
        assert_eq!(desk.published.borrow().job, Some(job()));
        pass(0.2).await;
        assert_eq!(*desk.published.borrow(), Published::free());
        desk.asked.is(&[
            (
                0.0,
                Act::AcceptJob {
                    to: ann(),
                    job: job(),
                },
            ),
            (0.0, publish(Status::Reserved, Some(job()))),
            (60.0, Act::ReleaseHolder { holder: ann() }),
            (60.0, publish(Status::Available, None)),
        ]);
    });
}

/// PEER-06, STATE-01; reading.md 4: an assignment ends the lease: a busy worker stays busy for as long as its job lasts.
#[test]
fn an_assignment_ends_the_lease() {
    on_paused_clock(async {
        let desk = desk();
        feed(&desk.actor, Input::Offer { from: ann() }).await;
        pass(59.9).await;
        feed(
            &desk.actor,
            Input::JobAssigned {
                from: ann(),
                job: job(),
            },
        )
        .await;
        pass(3600.0).await;
        assert_eq!(desk.status(), Status::Busy);
        assert!(observe(&desk.actor).await.timers.is_empty());
        feed(&desk.actor, Input::JobEnded { job: job() }).await;
        assert_eq!(*desk.published.borrow(), Published::free());
    });
}

/// CONN-02, CONN-03; reading.md 2: while one peer's reservation runs, another's offer is refused; after it, it is accepted, and
/// has a lease of its own.
#[test]
fn each_reservation_has_a_lease_of_its_own() {
    on_paused_clock(async {
        let desk = desk();
        let ben = PeerId::from("ben");
        feed(&desk.actor, Input::Offer { from: ann() }).await;
        pass(30.0).await;
        feed(&desk.actor, Input::Offer { from: ben.clone() }).await;
        feed(&desk.actor, Input::PeerLost { from: ann() }).await;
        feed(&desk.actor, Input::Offer { from: ben.clone() }).await;
        pass(600.0).await;
        desk.asked.is(&[
            (0.0, publish(Status::Reserved, None)),
            (0.0, Act::AcceptOffer { from: ann() }),
            (
                30.0,
                Act::RefuseOffer {
                    to: ben.clone(),
                    status: Status::Reserved,
                },
            ),
            (30.0, publish(Status::Available, None)),
            (30.0, publish(Status::Reserved, None)),
            (30.0, Act::AcceptOffer { from: ben.clone() }),
            (90.0, Act::ReleaseHolder { holder: ben }),
            (90.0, publish(Status::Available, None)),
        ]);
    });
}

/// CONN-13; reading.md 14: a shutdown ends the lease with everything else.
#[test]
fn nothing_happens_after_a_shutdown() {
    on_paused_clock(async {
        let desk = desk();
        feed(&desk.actor, Input::Offer { from: ann() }).await;
        pass(30.0).await;
        feed(&desk.actor, Input::Shutdown).await;
        pass(600.0).await;
        assert!(!desk.actor.connected());
        assert_eq!(desk.asked.all().len(), 2);
    });
}

/// A drain lets a reservation end when it would have ended anyway; then the worker is to leave, and nothing is published as
/// available.
#[test]
fn a_drain_waits_for_the_end_of_the_lease() {
    on_paused_clock(async {
        let desk = desk();
        feed(&desk.actor, Input::Offer { from: ann() }).await;
        pass(30.0).await;
        feed(&desk.actor, Input::Drain).await;
        assert!(desk.published.borrow().draining);
        assert_eq!(desk.status(), Status::Reserved);
        pass(29.9).await;
        assert!(desk.actor.connected());
        pass(0.2).await;
        feed(&desk.actor, Input::ConnectionsGone).await;
        pass(600.0).await;
        desk.asked.is(&[
            (0.0, publish(Status::Reserved, None)),
            (0.0, Act::AcceptOffer { from: ann() }),
            (
                30.0,
                Act::Publish {
                    status: Status::Reserved,
                    job: None,
                    draining: true,
                },
            ),
            (60.0, Act::ReleaseHolder { holder: ann() }),
            (60.0, publish_last()),
            (60.0, Act::Drained),
            (60.1, Act::Leave),
        ]);
        assert!(!desk.actor.connected());
    });
}

/// A worker that leaves answers who comes, hangs up 30 s after it was done and every 30 s after that, and leaves when nobody
/// is connected.
#[test]
fn a_worker_that_leaves_hangs_up_after_30_s() {
    on_paused_clock(async {
        let desk = desk();
        feed(&desk.actor, Input::Drain).await;
        assert!(desk.published.borrow().draining);
        assert_eq!(desk.status(), Status::Busy);
        pass(29.9).await;
        feed(&desk.actor, Input::Offer { from: ann() }).await;
        pass(35.0).await;
        feed(&desk.actor, Input::ConnectionsGone).await;
        pass(600.0).await;
        let (to, status) = (ann(), Status::Busy);
        desk.asked.is(&[
            (0.0, publish_last()),
            (0.0, Act::Drained),
            (29.9, Act::RefuseOffer { to, status }),
            (30.0, Act::HangUp),
            (60.0, Act::HangUp),
            (64.9, Act::Leave),
        ]);
        assert!(!desk.actor.connected());
    });
}

/// A job that runs has all its time, drained or not.
#[test]
fn a_drain_waits_for_the_job_without_a_deadline() {
    on_paused_clock(async {
        let desk = desk();
        feed(&desk.actor, Input::Offer { from: ann() }).await;
        let assigned = Input::JobAssigned {
            from: ann(),
            job: job(),
        };
        feed(&desk.actor, assigned).await;
        feed(&desk.actor, Input::Drain).await;
        pass(24.0 * 3600.0).await;
        assert!(observe(&desk.actor).await.timers.is_empty());
        assert!(!desk.asked.all().contains(&Act::Drained));
        feed(&desk.actor, Input::JobEnded { job: job() }).await;
        assert!(desk.asked.all().contains(&Act::Drained));
    });
}
