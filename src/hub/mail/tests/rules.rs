//! Routing, windows, acknowledgements.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::super::engine::*;
use super::super::MailLimits;
use super::world::{World, key, to, with_id};

const DELIVERED: (Status, bool) = (Status::Delivered, false);
const STORED: (Status, bool) = (Status::Stored, false);

#[test]
fn a_live_letter_is_delivered_without_the_store() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let (at, conn) = world.attach("b/1");
    world.store.settle();
    world.post("a/1", with_id("x", to("b/1", "1"))).unwrap();
    let letter = at.letters.lock().unwrap()[0].clone();
    assert_eq!(letter.from, key("a/1"));
    assert_eq!(letter.client_message_id.as_deref(), Some("x"));
    assert_eq!(letter.sent_at_ms, 1_000_000_001_000);
    assert_eq!(from.take_receipts(), []);
    world.mail.acknowledge(&key("b/1"), conn, letter.id);
    let receipt = from.receipts.lock().unwrap()[0].clone();
    assert_eq!((receipt.message_id, receipt.devices), (letter.id, 1));
    assert_eq!(from.take_receipts(), [DELIVERED]);
    assert_eq!(world.store.count("append") + world.store.count("page"), 0);
    assert_eq!(world.store.count("acknowledge"), 0);
    world.audit();
}

#[test]
fn an_absent_device_gets_its_mail_in_order_when_it_comes() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    world.mail.detach(&key("b/1"), 0, true);
    for n in 0..600 {
        world.post("a/1", to("b/1", &n.to_string())).unwrap();
    }
    assert_eq!(from.take_receipts(), [], "a receipt before it is on disk");
    world.store.settle();
    assert_eq!(from.take_receipts(), [STORED; 600]);
    world.audit();
    let (at, conn) = world.attach("b/1");
    world.store.settle();
    let all: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    assert_eq!(at.texts(), all);
    world.mail.acknowledge(&key("b/1"), conn, at.last());
    world.store.settle();
    world.audit();
    assert_eq!(world.mail.figures().waiting, 0);
    assert_eq!(world.mail.figures().acknowledged, 600);
}

#[test]
fn a_backlog_is_given_as_the_window_has_room_and_then_the_device_is_live() {
    let mut world = World::with(MailLimits {
        window_letters: 4,
        page_letters: 2,
        ..MailLimits::default()
    });
    for n in 0..9 {
        world.post("a/1", to("b/1", &n.to_string())).unwrap();
    }
    let (at, conn) = world.attach("b/1");
    world.store.settle();
    assert_eq!(at.texts().len(), 4, "the window is full");
    world
        .mail
        .acknowledge(&key("b/1"), conn, at.letters.lock().unwrap()[1].id);
    world.store.settle();
    assert_eq!(at.texts().len(), 6);
    // Newer ones wait behind those in the store.
    world.post("a/1", to("b/1", "9")).unwrap();
    assert_eq!(at.texts().len(), 6);
    for _ in 0..3 {
        world.mail.acknowledge(&key("b/1"), conn, at.last());
        world.store.settle();
    }
    let appends = world.store.count("append");
    world.post("a/1", to("b/1", "10")).unwrap();
    assert_eq!(
        at.texts(),
        (0..11).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    assert_eq!(world.store.count("append"), appends, "not live again");
}

#[test]
fn a_full_window_sends_the_rest_to_the_store() {
    let limits = MailLimits {
        window_letters: 2,
        ..MailLimits::default()
    };
    let mut world = World::with(limits);
    let (at, _) = world.attach("b/1");
    for n in 0..3 {
        world.post("a/1", to("b/1", &n.to_string())).unwrap();
    }
    assert_eq!((at.texts().len(), world.store.count("append")), (2, 1));
    let mut world = World::with(MailLimits {
        window_bytes: 300,
        ..MailLimits::default()
    });
    let (at, _) = world.attach("b/1");
    for text in ["a".repeat(500), "b".into()] {
        world.post("a/1", to("b/1", &text)).unwrap();
    }
    assert_eq!(
        at.texts().len(),
        1,
        "one that is larger than the window goes alone"
    );
    let mut world = World::with(MailLimits {
        memory_bytes: 300,
        ..MailLimits::default()
    });
    let (one, two) = (world.attach("b/1").0, world.attach("c/1").0);
    world.post("a/1", to("b/1", &"a".repeat(150))).unwrap();
    world.post("a/1", to("c/1", &"a".repeat(150))).unwrap();
    assert_eq!(
        (one.texts().len(), two.texts().len()),
        (1, 0),
        "the windows of all together"
    );
    world.store.settle();
    assert_eq!(two.texts().len(), 1);
}

#[test]
fn what_is_not_acknowledged_in_time_is_stored_and_not_given_twice() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let (at, conn) = world.attach("b/1");
    for n in 0..3 {
        world.post("a/1", to("b/1", &n.to_string())).unwrap();
    }
    world.pass(Duration::from_millis(9_999));
    world.store.settle();
    assert_eq!(from.take_receipts(), []);
    world.pass(Duration::from_millis(1));
    world.store.settle();
    assert_eq!(from.take_receipts(), [STORED; 3]);
    world.audit();
    world.post("a/1", to("b/1", "3")).unwrap();
    world.store.settle();
    assert_eq!(at.texts(), ["0", "1", "2", "3"]);
    world.mail.acknowledge(&key("b/1"), conn, at.last());
    world.store.settle();
    world.audit();
    assert_eq!(world.mail.figures().waiting, 0);
    assert_eq!(from.take_receipts(), [DELIVERED]);
}

#[test]
fn a_device_is_not_live_while_a_letter_is_on_its_way_to_the_store() {
    let mut world = World::with(MailLimits {
        window_letters: 1,
        ..MailLimits::default()
    });
    let (at, conn) = world.attach("b/1");
    for n in 0..2 {
        world.post("a/1", to("b/1", &n.to_string())).unwrap();
    }
    world.mail.acknowledge(&key("b/1"), conn, at.last());
    world.store.settle();
    world.mail.acknowledge(&key("b/1"), conn, at.last());
    // A page that will be empty has been asked for, and the next letter is stored behind it.
    world.post("a/1", to("b/1", "2")).unwrap();
    world.store.write(3);
    world.store.tell(2);
    world.post("a/1", to("b/1", "3")).unwrap();
    assert_eq!(at.texts(), ["0", "1"]);
    world.store.settle();
    assert_eq!(at.texts(), ["0", "1", "2"]);
}

#[test]
fn a_page_for_a_connection_that_is_gone_is_not_given_to_the_next() {
    let mut world = World::with(MailLimits {
        window_letters: 4,
        page_letters: 1,
        ..MailLimits::default()
    });
    for n in 0..4 {
        world.post("a/1", to("b/1", &n.to_string())).unwrap();
    }
    let (old, _) = world.attach("b/1");
    for _ in 0..20 {
        if old.texts().is_empty() {
            world.store.write(1);
            world.store.tell(1);
        }
    }
    // The second page is on its way, and would leave out the first letter.
    let (new, _) = world.attach("b/1");
    world.store.settle();
    assert_eq!(old.texts(), ["0"]);
    assert_eq!(new.texts(), ["0", "1", "2"]);
}

#[test]
fn a_connection_that_ends_or_is_taken_over_loses_nothing() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let (old, old_conn) = world.attach("b/1");
    for n in 0..3 {
        world.post("a/1", to("b/1", &n.to_string())).unwrap();
    }
    let first = old.letters.lock().unwrap()[0].id;
    let (new, conn, _) = world.attach_with("b/1", None, Some(first));
    assert_eq!(from.take_receipts(), [DELIVERED]);
    world.post("a/1", to("b/1", "3")).unwrap();
    world.store.settle();
    assert_eq!(new.texts(), ["1", "2", "3"]);
    assert_eq!(old.texts().len(), 3);
    // The old connection changes nothing any more.
    world.mail.acknowledge(&key("b/1"), old_conn, new.last());
    world.mail.detach(&key("b/1"), old_conn, false);
    world.store.settle();
    assert_eq!(world.mail.figures().waiting, 3);
    world.mail.detach(&key("b/1"), conn, true);
    let (newer, _) = world.attach("b/1");
    world.store.settle();
    assert_eq!(newer.texts(), ["1", "2", "3"]);
    world.audit();
}

#[test]
fn an_acknowledgement_of_what_was_not_given_removes_nothing() {
    let mut world = World::new();
    world.post("a/1", to("b/1", "0")).unwrap();
    world.store.settle();
    // Before the page is here, nothing was given.
    let (at, conn, _) = world.attach_with("b/1", None, Some(u64::MAX));
    for up_to in [1, 2, u64::MAX] {
        world.mail.acknowledge(&key("b/1"), conn, up_to);
    }
    world.store.settle();
    assert_eq!(at.texts(), ["0"]);
    world.mail.acknowledge(&key("b/1"), conn, at.last() + 1);
    world.store.settle();
    assert_eq!(world.mail.figures().waiting, 1);
    world.mail.acknowledge(&key("b/1"), conn, at.last());
    world.mail.acknowledge(&key("b/1"), conn, 0);
    world.store.settle();
    assert_eq!(world.mail.figures().waiting, 0);
    world.audit();
}

#[test]
fn a_socket_that_takes_no_more_loses_nothing() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let (at, conn) = world.attach("b/1");
    at.refuses.store(true, Ordering::Relaxed);
    world.post("a/1", to("b/1", "0")).unwrap();
    at.refuses.store(false, Ordering::Relaxed);
    world.post("a/1", to("b/1", "1")).unwrap();
    world.store.settle();
    assert_eq!(at.texts(), Vec::<String>::new(), "it will be closed");
    assert_eq!(from.take_receipts(), [STORED; 2]);
    world.mail.detach(&key("b/1"), conn, true);
    let (at, _) = world.attach("b/1");
    at.refuses.store(true, Ordering::Relaxed);
    world.store.settle();
    let (at, _) = world.attach("b/1");
    world.store.settle();
    assert_eq!(at.texts(), ["0", "1"]);
    world.audit();
}

#[test]
fn a_message_to_a_user_goes_to_all_devices_but_the_sending_one() {
    let mut world = World::new();
    let (one, conn1) = world.attach("a/1");
    let (two, conn2) = world.attach("a/2");
    let (other, _) = world.attach("b/1");
    world.store.settle();
    world.post("b/1", to("a", "from b")).unwrap();
    let id = one.last();
    world.mail.acknowledge(&key("a/1"), conn1, id);
    assert_eq!(other.take_receipts(), []);
    world.mail.acknowledge(&key("a/2"), conn2, id);
    assert_eq!(other.receipts.lock().unwrap()[0].devices, 2);
    assert_eq!(other.take_receipts(), [DELIVERED]);
    world.post("a/1", to("a", "to my others")).unwrap();
    world
        .post(
            "a/1",
            Posting {
                echo_self: true,
                ..to("a", "to all of mine")
            },
        )
        .unwrap();
    world
        .post(
            "a/1",
            Posting {
                echo_self: true,
                ..to("b", "b and my others")
            },
        )
        .unwrap();
    world.post("a/1", to("b/1", "b alone")).unwrap();
    assert_eq!(one.texts(), ["from b", "to all of mine"]);
    assert_eq!(
        two.texts(),
        [
            "from b", "to my others", "to all of mine", "b and my others"
        ]
    );
    assert_eq!(other.texts(), ["b and my others", "b alone"]);
    assert_eq!(
        world.post("b/1", to("b", "nobody")),
        Err(PostRefused::NoSuchDevice)
    );
}

#[test]
fn one_absent_device_of_several_makes_it_stored_for_all() {
    let mut world = World::new();
    let (at, conn) = world.attach("a/1");
    let (_, away) = world.attach("a/2");
    world.mail.detach(&key("a/2"), away, true);
    let (from, _) = world.attach("b/1");
    world.post("b/1", to("a", "0")).unwrap();
    assert_eq!(at.texts(), ["0"], "it does not wait for the store");
    world.store.settle();
    assert_eq!(from.take_receipts(), [STORED]);
    world.mail.acknowledge(&key("a/1"), conn, at.last());
    world.store.settle();
    assert_eq!(world.mail.figures().waiting, 1);
    assert_eq!(from.take_receipts(), []);
    world.audit();
}

#[test]
fn the_first_device_of_a_user_gets_what_came_before_it() {
    let mut world = World::new();
    world.post("a/1", to("b", "0")).unwrap();
    world.post("a/1", to("b/2", "1")).unwrap();
    world.post("a/1", to("b", "2")).unwrap();
    world.store.write(3);
    world.store.fail(1);
    let (at, conn) = world.attach("b/2");
    world.store.fail(0);
    world.post("a/1", to("b", "3")).unwrap();
    world.store.write(1);
    world.store.fail(1);
    world.store.settle();
    world.post("a/1", to("b", "4")).unwrap();
    world.store.settle();
    world.pass(Duration::from_secs(1));
    world.store.settle();
    assert_eq!(at.texts(), ["0", "1", "2", "3", "4"]);
    world.mail.acknowledge(&key("b/2"), conn, at.last());
    world.store.settle();
    world.audit();
    assert_eq!(world.mail.figures().waiting, 0);
    world
        .mail
        .with(|core, _| assert!(core.find(&key("b/")).is_none()));
    let (second, _) = world.attach("b/3");
    world.store.settle();
    assert_eq!(second.texts(), Vec::<String>::new());
}

#[test]
fn a_name_that_was_never_seen_gets_what_is_for_it_and_nothing_else() {
    let limits = MailLimits {
        devices_per_user: 2,
        ..MailLimits::default()
    };
    let mut world = World::with(limits);
    let (at, _) = world.attach("b/1");
    world.post("a/1", to("b/2", "named")).unwrap();
    world.post("a/1", to("b", "to all")).unwrap();
    let refused = world.post("a/1", to("b/3", "one too many"));
    assert_eq!(refused, Err(PostRefused::NoSuchDevice));
    assert_eq!(at.texts(), ["to all"]);
    // Those who connect are let in.
    let (third, _) = world.attach("b/3");
    world.post("a/1", to("b", "to both")).unwrap();
    assert_eq!(third.texts(), ["to both"]);
    let (second, _) = world.attach("b/2");
    world.store.settle();
    assert_eq!(second.texts(), ["named"]);
    world.audit();
}
