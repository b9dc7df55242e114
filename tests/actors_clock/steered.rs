//! Charts whose concrete actors need real parts (processes, connections, a hub): here they run in the generic actor, and
//! what they ask for is noted. So their timers are those of the product, and only the deeds are not done.

use actix::prelude::*;
use loaner::actors::{ChartActor, Perform, start};
use loaner::charts::Chart;
use loaner::charts::job::{self, Job, Outcome, Why};
use loaner::charts::peer::{self, Lost, Peer, Side};
use loaner::charts::session::{self, Session};
use loaner::charts::submission::{self, Submission};

use super::clock::{Seen, feed, on_paused_clock, pass};

struct Steered<C: Chart>(Seen<C::Act>);

impl<C: Chart + Unpin> Perform for Steered<C> {
    type Chart = C;

    fn perform(&mut self, act: C::Act, _: &mut Context<ChartActor<Self>>) {
        self.0.note(act);
    }
}

fn steer<C: Chart + Unpin>(chart: C) -> (Addr<ChartActor<Steered<C>>>, Seen<C::Act>) {
    let seen = Seen::new();
    (start(chart, Steered(seen.clone()), C::NAME, None), seen)
}

async fn feed_all<C: Chart + Unpin>(
    actor: &Addr<ChartActor<Steered<C>>>,
    events: impl IntoIterator<Item = C::Input>,
) {
    for event in events {
        feed(actor, event).await;
    }
}

/// What a job has done when its commands run.
fn run() -> Vec<(f64, job::Act)> {
    use job::Act::{Prepare, ReportBegun, Run};
    vec![(0.0, ReportBegun), (0.0, Prepare), (0.0, Run)]
}

async fn running() -> (Addr<ChartActor<Steered<Job>>>, Seen<job::Act>) {
    use job::Input::{PackageAnnounced, PackageReceived, Prepared};
    let (job, seen) = steer(Job::new());
    feed_all(&job, [PackageAnnounced, PackageReceived, Prepared]).await;
    (job, seen)
}

/// PEER-08; reading.md 8: SIGTERM, 10 s, SIGKILL, and again every 10 s; job_cancelled only when everything is gone.
#[test]
fn a_job_that_does_not_stop_is_killed_after_10_s() {
    use job::Act::{KillWork, RemoveScratch, ReportEnded, SendTerminal, TerminateWork};
    on_paused_clock(async {
        let (job, seen) = running().await;
        pass(100.0).await;
        feed(&job, job::Input::CancelRequested).await;
        pass(25.0).await;
        let mut expected = run();
        expected.extend([(100.0, TerminateWork), (110.0, KillWork), (120.0, KillWork)]);
        seen.is(&expected);
        feed(&job, job::Input::WorkGone).await;
        pass(30.0).await;
        expected.push((125.0, RemoveScratch));
        seen.is(&expected);
        feed(&job, job::Input::ScratchGone).await;
        expected.extend([
            (155.0, SendTerminal(Outcome::Cancelled)),
            (155.0, ReportEnded),
        ]);
        pass(600.0).await;
        seen.is(&expected);
        assert!(!job.connected());
    });
}

/// A command that is asked to stop has the time that was said, and is killed then; what it wrote by then is packed.
#[test]
fn a_command_that_does_not_stop_in_its_time_is_killed() {
    use job::Act::{AskToStop, KillWork, Pack};
    on_paused_clock(async {
        let (job, seen) = running().await;
        pass(100.0).await;
        let deadline = std::time::Duration::from_secs(60);
        feed(&job, job::Input::StopRequested { deadline }).await;
        pass(75.0).await;
        let mut expected = run();
        expected.extend([(100.0, AskToStop), (160.0, KillWork), (170.0, KillWork)]);
        seen.is(&expected);
        feed(&job, job::Input::RunEnded { ok: true }).await;
        expected.push((175.0, Pack));
        feed_all(&job, [job::Input::NothingToReturn, job::Input::ScratchGone]).await;
        let outcome = Outcome::Failed(Why::NotStopped);
        assert!(seen.all().contains(&job::Act::SendTerminal(outcome)));
    });
}

/// PEER-08: a process group that goes on SIGTERM is never killed.
#[test]
fn a_job_that_stops_in_time_is_not_killed() {
    on_paused_clock(async {
        let (job, seen) = running().await;
        feed(&job, job::Input::CancelRequested).await;
        pass(9.9).await;
        feed_all(&job, [job::Input::WorkGone, job::Input::ScratchGone]).await;
        pass(600.0).await;
        assert!(!seen.all().contains(&job::Act::KillWork));
        assert_eq!(seen.all().last(), Some(&job::Act::ReportEnded));
    });
}

/// PEER-06, PEER-07: an assigned job whose client never comes is given up after 60 s; a directory that cannot be removed holds
/// up the end for 60 s more, and no longer.
#[test]
fn a_job_without_a_package_is_given_up_after_60_s() {
    use job::Act::{RemoveScratch, ReportEnded, SendTerminal};
    on_paused_clock(async {
        let (_job, seen) = steer(Job::new());
        pass(600.0).await;
        seen.is(&[
            (60.0, RemoveScratch),
            (120.0, SendTerminal(Outcome::Failed(Why::NoPackage))),
            (120.0, ReportEnded),
        ]);
    });
}

async fn connected() -> (Addr<ChartActor<Steered<Peer>>>, Seen<peer::Act>) {
    use peer::Input::{Agreed, Begin, ChannelOpen, IceConnected};
    let (peer, seen) = steer(Peer::new(Side::Answerer));
    feed_all(&peer, [Begin, Agreed, IceConnected, ChannelOpen]).await;
    (peer, seen)
}

/// CONN-13, CONN-14: while a connection closes, whatever ICE does is ignored, and after 5 s it counts as closed.
#[test]
fn ice_is_ignored_while_a_connection_closes() {
    use peer::Input::{Close, GivenUp, IceConnected, IceDisconnected, IceFailed};
    on_paused_clock(async {
        let (peer, seen) = connected().await;
        let before = seen.all().len();
        pass(10.0).await;
        feed_all(
            &peer,
            [Close, IceDisconnected, IceConnected, IceFailed, GivenUp],
        )
        .await;
        pass(600.0).await;
        let after: Vec<_> = seen.all().split_off(before);
        let end = [
            peer::Act::EndWatchdog,
            peer::Act::CloseStack,
            peer::Act::ReportClosed,
        ];
        assert_eq!(after, end);
        assert!(!peer.connected());
    });
}

/// reading.md 11: an idle connection is closed 30 s after its job, and not while the next job runs on it.
#[test]
fn an_idle_connection_is_closed_after_30_s() {
    use peer::Act::{CloseStack, EndWatchdog, ReportClosed};
    on_paused_clock(async {
        let (peer, seen) = connected().await;
        let before = seen.all().len();
        feed_all(&peer, [peer::Input::JobBegan, peer::Input::JobEnded]).await;
        pass(29.9).await;
        feed(&peer, peer::Input::JobBegan).await;
        pass(600.0).await;
        assert_eq!(seen.all().len(), before);
        feed(&peer, peer::Input::JobEnded).await;
        pass(29.9).await;
        assert_eq!(seen.all().len(), before);
        pass(0.2).await;
        assert_eq!(seen.all().split_off(before), [EndWatchdog, CloseStack]);
        feed(&peer, peer::Input::StackClosed).await;
        assert_eq!(seen.all().last(), Some(&ReportClosed));
    });
}

/// CONN-01: a connection that does not come up is given up: after 20 s without descriptions, or 30 s after them.
#[test]
fn a_connection_that_does_not_come_up_is_given_up() {
    use peer::Act::{CloseStack, EndWatchdog, ReportClosed, ReportLost, SendAnswer, SendOffer};
    on_paused_clock(async {
        let (answering, answerer) = steer(Peer::new(Side::Answerer));
        let (offering, offerer) = steer(Peer::new(Side::Offerer));
        feed(&answering, peer::Input::Begin).await;
        feed(&offering, peer::Input::Begin).await;
        pass(10.0).await;
        feed(&answering, peer::Input::Agreed).await;
        pass(600.0).await;
        let given_up = |mine, at| {
            vec![
                (0.0, mine),
                (at, ReportLost(Lost::NeverOpened)),
                (at, EndWatchdog),
                (at, CloseStack),
                (at + 5.0, ReportClosed),
            ]
        };
        answerer.is(&given_up(SendAnswer, 40.0));
        offerer.is(&given_up(SendOffer, 20.0));
    });
}

/// reading.md 15: a lost hub is met again with a backoff that doubles, and a step that hangs is given up after 10 s.
#[test]
fn a_lost_hub_is_tried_again_with_a_backoff() {
    use session::Act::{DropSocket, OpenSocket, ReportDown, SendRegister};
    use session::Input::{Registered, RoomCreated, SignedIn, SocketLost, SocketOpen, Start};
    on_paused_clock(async {
        let (session, seen) = steer(Session::new(true));
        feed_all(
            &session,
            [Start, SignedIn, RoomCreated, SocketOpen, Registered],
        )
        .await;
        let before = seen.all().len();
        pass(1000.0).await;
        feed(
            &session,
            SocketLost {
                jitter: 255,
                stale: false,
            },
        )
        .await;
        // The socket hangs, and hangs again; then it opens.
        pass(14.5).await;
        feed(&session, SocketOpen).await;
        let after = seen.all().split_off(before);
        let expected = [
            ReportDown, OpenSocket, DropSocket, ReportDown, OpenSocket, SendRegister,
        ];
        assert_eq!(after, expected);
        let mut expected_at: Vec<_> = seen
            .all()
            .into_iter()
            .take(before)
            .map(|act| (0.0, act))
            .collect();
        let times = [1000.0, 1001.0, 1011.0, 1011.0, 1012.0, 1014.5];
        expected_at.extend(times.into_iter().zip(expected));
        seen.is(&expected_at);
    });
}

/// CONN-13, STATE-12: a hub that does not answer the goodbye holds up the end for 5 s, and no longer.
#[test]
fn a_goodbye_without_an_answer_takes_5_s() {
    use session::Act::{ReportClosed, SayGoodbye, SignIn};
    on_paused_clock(async {
        let (session, seen) = steer(Session::new(true));
        feed(&session, session::Input::Start).await;
        pass(3.0).await;
        feed(&session, session::Input::Shutdown).await;
        pass(600.0).await;
        seen.is(&[(0.0, SignIn), (3.0, SayGoodbye), (8.0, ReportClosed)]);
    });
}

/// CONN-16, STATE-10: a hub that never answers at the start is given up after 10 s, and that is a failure.
#[test]
fn a_hub_that_never_answers_ends_the_start() {
    use session::Act::{DropSocket, ReportFailed, SayGoodbye, SignIn};
    on_paused_clock(async {
        let (session, seen) = steer(Session::new(true));
        feed(&session, session::Input::Start).await;
        pass(600.0).await;
        let acts: Vec<_> = seen
            .all()
            .into_iter()
            .filter(|act| *act != DropSocket)
            .collect();
        assert_eq!(acts, [SignIn, SayGoodbye, ReportFailed]);
        assert!(!session.connected());
    });
}

/// Protocol page, 5: a worker that does not say whether it has the file is given up after 30 s.
#[test]
fn a_named_file_is_not_asked_for_in_vain_for_ever() {
    use submission::Act::{Dial, Discover, NameFile, ReportFailed};
    use submission::Input::{ChannelOpen, Start, WorkerChosen};
    on_paused_clock(async {
        let (named, worker) = steer(Submission::named());
        feed_all(
            &named,
            [Start, WorkerChosen { negotiates: false }, ChannelOpen],
        )
        .await;
        pass(29.9).await;
        assert_eq!(worker.all(), [Discover, Dial, NameFile]);
        pass(0.2).await;
        let why = submission::Why::NotValidated;
        assert_eq!(worker.all().last(), Some(&ReportFailed(why)));
    });
}

/// PEER-08, from the client's side: a cancel that nobody acknowledges is over after 25 s; three connections are tried, for
/// 30 s each.
#[test]
fn a_submission_does_not_wait_for_ever() {
    use submission::Act::{Dial, DropConnection, ReportFailed, SendJobCancel, StopStreams};
    use submission::Input::{ChannelOpen, Interrupt, Start, WorkerChosen};
    use submission::Why::{Interrupted, NotConnected};
    on_paused_clock(async {
        let (dialling, dialler) = steer(Submission::new());
        feed_all(&dialling, [Start, WorkerChosen { negotiates: false }]).await;
        let (cancelling, canceller) = steer(Submission::new());
        feed_all(&cancelling, [Start, WorkerChosen { negotiates: true }]).await;
        feed_all(
            &cancelling,
            [submission::Input::JobAccepted, ChannelOpen, Interrupt],
        )
        .await;
        let before = canceller.all().len() - 2;
        pass(24.9).await;
        assert_eq!(
            canceller.all().split_off(before),
            [StopStreams, SendJobCancel]
        );
        pass(0.2).await;
        assert_eq!(canceller.all().last(), Some(&ReportFailed(Interrupted)));
        pass(600.0).await;
        dialler.is(&[
            (0.0, submission::Act::Discover),
            (0.0, Dial),
            (30.0, DropConnection),
            (30.0, Dial),
            (60.0, DropConnection),
            (60.0, Dial),
            (90.0, DropConnection),
            (90.0, ReportFailed(NotConnected)),
        ]);
    });
}
