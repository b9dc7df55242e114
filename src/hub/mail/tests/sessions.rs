//! Where receipts go.

use std::sync::Arc;
use std::time::Duration;

use super::super::super::engine::*;
use super::super::MailLimits;
use super::world::{Socket, World, key, to};
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
