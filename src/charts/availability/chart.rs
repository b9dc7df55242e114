//! What the explorer and the drawing want to know of `availability`.

use super::{Act, Availability, Input, Out, Status, Timer};
use crate::charts::machine::{Chart, chart_core, words};
use crate::charts::{JobId, PeerId};

impl Chart for Availability {
    const NAME: &'static str = "availability";
    const ABOUT: &'static str = "Who may use the worker: the one owner of its status. A reservation is a lease; \
        only its holder is listened to.";
    chart_core!();

    fn starts() -> Vec<Self> {
        vec![Self::new()]
    }

    fn alphabet() -> Vec<Input> {
        let peers = [PeerId::from("ann"), PeerId::from("ben")];
        let jobs = [JobId::from("j1"), JobId::from("j2")];
        let mut events = Vec::new();
        for from in &peers {
            for job in &jobs {
                for fits in [true, false] {
                    events.push(Input::JobRequested {
                        from: from.clone(),
                        job: job.clone(),
                        fits,
                    });
                }
                events.push(Input::JobAssigned {
                    from: from.clone(),
                    job: job.clone(),
                });
                events.push(Input::JobBegun {
                    from: from.clone(),
                    job: job.clone(),
                });
            }
            events.push(Input::Offer { from: from.clone() });
            events.push(Input::PackageAnnounced { from: from.clone() });
            events.push(Input::PeerLost { from: from.clone() });
        }
        events.extend(jobs.map(|job| Input::JobEnded { job }));
        events.extend([Input::ConnectionsGone, Input::Drain, Input::Shutdown]);
        events
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Lease, Timer::HangUp]
    }

    fn guard(&self, event: &Input) -> &'static str {
        match (event, self.status()) {
            (Input::JobRequested { fits: true, .. }, Status::Available) => {
                return "the machine can do it";
            }
            (Input::JobRequested { fits: false, .. }, Status::Available) => {
                return "the machine cannot do it";
            }
            _ => {}
        }
        match (self.holder(), event.from(), self.job(), event) {
            (None, ..) => "",
            (Some(holder), Some(from), ..) if holder != from => "from another peer",
            (_, Some(_), Some(own), Input::JobAssigned { job, .. }) if own != job => {
                "from the holder, another job"
            }
            (_, Some(_), ..) => "from the holder",
            (_, None, Some(own), Input::JobEnded { job }) if own == job => "the current job",
            (_, None, Some(_), Input::JobEnded { .. }) => "another job",
            (_, None, ..) => "",
        }
    }

    fn act_name(act: &Act) -> String {
        match act {
            Act::Publish {
                status, draining, ..
            } => {
                let last = if *draining { " (draining)" } else { "" };
                format!("publish {}{last}", status.as_str())
            }
            Act::RejectJob { reason, .. } => format!("reject job: {reason}"),
            other => words(other.as_ref()),
        }
    }
}
