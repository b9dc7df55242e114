//! Where receipts go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::super::engine::*;
use super::super::MailLimits;
use super::world::{Socket, World, key, to, with_id};
use crate::wire::close::RESUME_TIME;

const STORED: (Status, bool) = (Status::Stored, false);

#[test]
fn receipts_are_kept_for_a_session_that_is_resumed() {
    let mut world = World::new();
    let (_, conn, first) = world.attach_with("a/1", None, None);
    assert!(!first.resumed && first.session.starts_with("node1."));
    world.post("a/1", to("b/1", "0")).unwrap();
    world.mail.detach(&key("a/1"), conn, true);
    world.store.settle();
    let (from, conn, again) = world.attach_with("a/1", Some(&first.session), None);
    assert!(again.resumed && again.session == first.session);
    assert_eq!(from.take_receipts(), [STORED]);
    // The next receipt is for whoever is there then.
    world.post("a/1", to("b/1", "1")).unwrap();
    world.mail.detach(&key("a/1"), conn, true);
    let (from, conn, again) = world.attach_with("a/1", Some("node1.0"), None);
    assert!(!again.resumed && again.session != first.session);
    world.store.settle();
    assert_eq!(from.take_receipts(), [STORED]);
    // Too late, and not resumable.
    for (resumable, wait) in [(true, RESUME_TIME), (false, Duration::ZERO)] {
        let (_, conn, was) = world.attach_with("a/1", None, None);
        world.post("a/1", to("b/1", "2")).unwrap();
        world.mail.detach(&key("a/1"), conn, resumable);
        world.store.settle();
        world.pass(wait);
        let (from, _, now) = world.attach_with("a/1", Some(&was.session), None);
        assert!(!now.resumed);
        assert_eq!(from.take_receipts(), []);
    }
    assert!(conn > 0);
    world.store.settle();
    world.audit();
}

#[test]
fn receipts_that_could_not_be_kept_make_the_session_end() {
    let limits = MailLimits {
        unconfirmed: 2,
        ..MailLimits::default()
    };
    let mut world = World::with(limits);
    let (_, conn, first) = world.attach_with("a/1", None, None);
    world.mail.detach(&key("a/1"), conn, true);
    for round in 0..3 {
        world.post("a/1", to("b/1", &round.to_string())).unwrap();
        world.store.settle();
    }
    let (from, _, again) = world.attach_with("a/1", Some(&first.session), None);
    assert!(!again.resumed);
    assert_eq!(from.take_receipts(), []);
}

#[test]
fn an_answer_goes_where_it_was_asked_to() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let answers = Arc::new(Socket::default());
    world
        .mail
        .post(&key("a/1"), to("b/1", "0"), Some(answers.clone()))
        .unwrap();
    world.store.settle();
    assert_eq!(answers.take_receipts(), [STORED]);
    assert_eq!(from.take_receipts(), []);
}

/// A device that is away when the hub stops has its session, its receipts and its place when it comes back.
#[test]
fn a_session_outlives_a_planned_restart() {
    let mut world = World::new();
    let (_, conn, first) = world.attach_with("a/1", None, None);
    let (at, theirs, other) = world.attach_with("b/1", None, None);
    world.post("a/1", with_id("x", to("b/1", "0"))).unwrap();
    world.mail.detach(&key("a/1"), conn, true);
    // One is delivered while the sender is away, one is under way until the end.
    world.mail.acknowledge(&key("b/1"), theirs, at.last());
    world.post("a/1", with_id("y", to("b/1", "1"))).unwrap();
    let last = at.last();
    world.mail.detach(&key("b/1"), theirs, true);
    world.stop_and_start();

    let (from, conn, again) = world.attach_with("a/1", Some(&first.session), None);
    assert!(again.resumed && again.session == first.session);
    assert_eq!(from.take_receipts(), [(Status::Delivered, false), STORED]);
    // What it knows by now is known if it is sent again all the same.
    world.post("a/1", with_id("x", to("b/1", "0"))).unwrap();
    assert_eq!(from.take_receipts(), [(Status::Delivered, true)]);
    // The other has both, and says so.
    let (at, _, again) = world.attach_with("b/1", Some(&other.session), Some(last));
    assert!(again.resumed);
    world.store.settle();
    assert_eq!(at.texts().len(), 0);
    world.audit();
    assert_eq!(world.mail.figures().waiting, 0);

    // A hub that is killed has saved nothing, nor is anything left of the planned stop before.
    world.mail.detach(&key("a/1"), conn, true);
    world.restart();
    let (_, _, again) = world.attach_with("a/1", Some(&first.session), None);
    assert!(!again.resumed && again.session != first.session);
}

/// `last` counts up to what the session had been given, and not beyond.
#[test]
fn a_device_does_not_take_what_it_was_not_given() {
    let mut world = World::new();
    let (_, conn, first) = world.attach_with("b/1", None, None);
    world.mail.detach(&key("b/1"), conn, true);
    world.post("a/1", to("b/1", "0")).unwrap();
    world.stop_and_start();
    let (at, _, again) = world.attach_with("b/1", Some(&first.session), Some(u64::MAX));
    world.store.settle();
    assert!(again.resumed && at.texts() == ["0"]);
}

/// A session whose answers could not all be kept, or that holds a refusal, does not go on after the restart.
#[test]
fn a_session_without_all_of_its_receipts_is_not_saved() {
    let limits = MailLimits {
        unconfirmed: 1,
        ..MailLimits::default()
    };
    for fails in [0, 1] {
        let mut world = World::with(limits.clone());
        let (_, conn, first) = world.attach_with("a/1", None, None);
        world.mail.detach(&key("a/1"), conn, true);
        world.store.settle();
        world.post("a/1", to("b/1", "0")).unwrap();
        world.store.fail(fails);
        world.store.settle();
        if fails == 0 {
            world.post("a/1", to("b/1", "1")).unwrap();
            world.store.settle();
        }
        world.stop_and_start();
        let (from, _, again) = world.attach_with("a/1", Some(&first.session), None);
        assert!(!again.resumed, "{fails} failed");
        assert_eq!(from.take_receipts(), []);
    }
}

/// The time of a session goes on while the hub is down, and one that was over is not saved at all.
#[test]
fn a_session_that_is_over_is_not_resumed_after_a_restart() {
    for (before, down, resumed) in [(0, 119, true), (60, 61, false), (120, 0, false)] {
        let mut world = World::new();
        let (_, conn, first) = world.attach_with("a/1", None, None);
        world.mail.detach(&key("a/1"), conn, true);
        let wait = |world: &World, seconds: u64| {
            let ms = Duration::from_secs(seconds).as_millis() as u64;
            world.clock.fetch_add(ms, Ordering::Relaxed);
        };
        wait(&world, before);
        drop(world.mail.close(Duration::ZERO));
        world.store.settle();
        let saved = world.store.look(|disk| disk.sessions.len());
        assert_eq!(saved, usize::from(before < 120));
        wait(&world, down);
        world.restart();
        let (_, _, again) = world.attach_with("a/1", Some(&first.session), None);
        assert_eq!(again.resumed, resumed, "{before} s and {down} s");
    }
}

/// A device that is told to stay away has no session to save, and neither has one that is here.
#[test]
fn only_what_can_be_resumed_is_saved() {
    let mut world = World::new();
    let (_, conn) = world.attach("a/1");
    world.mail.detach(&key("a/1"), conn, false);
    world.attach("a/2");
    let (_, conn) = world.attach("a/3");
    world.mail.detach(&key("a/3"), conn, true);
    drop(world.mail.flush(Duration::ZERO));
    world.store.settle();
    assert_eq!(world.store.count("sessions"), 0, "it is not yet the end");
    drop(world.mail.close(Duration::ZERO));
    world.store.settle();
    let saved = world.store.look(|disk| disk.sessions.clone());
    assert_eq!(saved.len(), 1);
    assert_eq!(saved[0].key, key("a/3"));
}

/// The stop hears whether the sessions are on disk.
#[tokio::test]
async fn a_close_that_could_not_save_the_sessions_says_so() {
    for fails in [0, 1] {
        let world = World::new();
        let closed = world.mail.close(Duration::from_secs(30));
        // All that came before them.
        world.store.write(1);
        world.store.tell(1);
        world.store.fail(fails);
        world.store.settle();
        assert_eq!(closed.await, fails == 0);
    }
}
