//! Repetitions, quotas, failures of the store, restarts, retention, the end.

use std::sync::Arc;
use std::time::Duration;

use super::super::super::engine::*;
use super::super::MailLimits;
use super::fake_store::Disk;
use super::world::{Socket, World, key, to, with_id};

const STORED: (Status, bool) = (Status::Stored, false);
const AGAIN: (Status, bool) = (Status::Stored, true);

#[test]
fn a_repetition_is_answered_and_not_delivered() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let (other, _) = world.attach("a/2");
    let first = || with_id("x", to("b/1", "0"));
    world.post("a/1", first()).unwrap();
    // While the first is under way: answered with it, to the connection that is there then.
    world.post("a/1", first()).unwrap();
    let (now, _) = world.attach("a/1");
    world.store.settle();
    assert_eq!(now.take_receipts(), [STORED, AGAIN]);
    assert_eq!(from.take_receipts(), []);
    world.post("a/1", first()).unwrap();
    assert_eq!(now.take_receipts(), [AGAIN], "at once");
    world.post("a/2", first()).unwrap();
    world.store.settle();
    assert_eq!(
        other.take_receipts(),
        [STORED],
        "the id is the sender's own"
    );
    world.restart();
    let (now, _) = world.attach("a/1");
    world.post("a/1", first()).unwrap();
    assert_eq!(now.take_receipts(), [AGAIN], "known after a restart");
    world.store.settle();
    let (at, _) = world.attach("b/1");
    world.store.settle();
    assert_eq!(at.texts(), ["0", "0"]);
    assert_eq!(world.mail.figures().duplicates, 1);
}

#[test]
fn what_was_partly_acknowledged_at_a_crash_is_sent_anew() {
    let mut world = World::new();
    world.attach("a/1");
    let (one, conn) = world.attach("b/1");
    let (_, away) = world.attach("b/2");
    world.store.settle();
    world.post("a/1", with_id("x", to("b", "0"))).unwrap();
    // The end of one connection stores the letter for the other device as well.
    world.mail.detach(&key("b/2"), away, true);
    world.store.write(1);
    world.restart();
    world.store.settle();
    let (from, _) = world.attach("a/1");
    world.post("a/1", with_id("x", to("b", "0"))).unwrap();
    assert_eq!(from.take_receipts(), [AGAIN]);
    for name in ["b/1", "b/2"] {
        let (at, _) = world.attach(name);
        world.store.settle();
        assert_eq!(at.texts(), ["0"], "{name}");
    }
    assert!(one.texts() == ["0"] && conn > 0);
}

#[test]
fn what_a_device_sent_is_forgotten_when_it_was_quiet_for_long() {
    let world = World::new();
    world.post("a/1", with_id("x", to("b/1", "0"))).unwrap();
    world.store.settle();
    for minute in 0..12 {
        let known = world.mail.with(|core, _| core.find(&key("a/1")).is_some());
        assert!(known || minute >= 10, "forgotten after {minute} minutes");
        for _ in 0..60 {
            world.pass(Duration::from_secs(1));
            world.store.settle();
        }
    }
    world.audit();
    world
        .mail
        .with(|core, _| assert!(core.find(&key("a/1")).is_none() && core.remembered == 0));
}

#[test]
fn quotas_refuse_and_then_nothing_has_happened() {
    let bytes = Letter {
        id: 1,
        from: key("a/1"),
        client_message_id: None,
        content: to("b/1", "0").content,
        sent_at_ms: 0,
    }
    .bytes();
    let limits = [
        (
            MailLimits {
                mailbox_letters: 2,
                ..MailLimits::default()
            },
            PostRefused::MailboxFull,
        ),
        (
            MailLimits {
                mailbox_bytes: 2 * bytes as u64,
                ..MailLimits::default()
            },
            PostRefused::MailboxFull,
        ),
        (
            MailLimits {
                sender_bytes: 4 * bytes as u64,
                ..MailLimits::default()
            },
            PostRefused::SenderQuota,
        ),
        (
            MailLimits {
                store_bytes: 4 * bytes as u64,
                ..MailLimits::default()
            },
            PostRefused::StoreUnavailable,
        ),
    ];
    for (limits, why) in limits {
        let mut world = World::with(limits);
        for name in ["b/1", "b/2"] {
            let (_, conn) = world.attach(name);
            world.mail.detach(&key(name), conn, true);
        }
        for _ in 0..2 {
            world.post("a/1", to("b", "0")).unwrap();
            world.store.settle();
        }
        let refused = || world.post("a/1", with_id("x", to("b", "1")));
        assert_eq!(refused(), Err(why.clone()));
        assert_eq!(refused(), Err(why.clone()));
        assert!(world.store.is_quiet());
        assert_eq!(
            (world.mail.figures().refused, world.mail.figures().waiting),
            (2, 4)
        );
        world.audit();
        // When there is room again, it is not taken for a repetition.
        for name in ["b/1", "b/2"] {
            let (at, conn) = world.attach(name);
            world.store.settle();
            world.mail.acknowledge(&key(name), conn, at.last());
            world.store.settle();
        }
        world.post("a/1", with_id("x", to("b", "1"))).unwrap();
        world.store.settle();
        world.audit();
    }
}

#[test]
fn a_sender_waits_for_so_many_receipts_only() {
    let world = World::with(MailLimits {
        unconfirmed: 2,
        ..MailLimits::default()
    });
    world.post("a/1", with_id("x", to("b/1", "0"))).unwrap();
    world.post("a/1", with_id("x", to("b/1", "0"))).unwrap();
    let refused = world.post("a/1", to("b/1", "1"));
    assert_eq!(refused, Err(PostRefused::TooManyUnconfirmed));
    world.post("a/2", to("b/1", "1")).unwrap();
    world.store.settle();
    world.post("a/1", to("b/1", "1")).unwrap();
}

#[test]
fn what_the_store_has_not_written_is_bounded_too() {
    let world = World::with(MailLimits {
        writing_bytes: 300,
        ..MailLimits::default()
    });
    world.post("a/1", to("b/1", &"a".repeat(200))).unwrap();
    let refused = world.post("a/1", to("b/1", &"a".repeat(200)));
    assert_eq!(refused, Err(PostRefused::StoreUnavailable));
    world.store.settle();
    world.post("a/1", to("b/1", &"a".repeat(200))).unwrap();
    let world = World::with(MailLimits {
        mailboxes: 1,
        ..MailLimits::default()
    });
    world.post("a/1", to("b/1", "0")).unwrap();
    assert_eq!(
        world.post("a/1", to("b/2", "0")),
        Err(PostRefused::StoreUnavailable)
    );
}

#[test]
fn no_id_is_used_before_it_is_reserved() {
    let limits = MailLimits::default();
    let world = World::over(Disk::default(), limits, Arc::default());
    let refused = world.post("a/1", to("b/1", "0"));
    assert_eq!(refused, Err(PostRefused::StoreUnavailable));
    world.store.fail(1);
    world.store.settle();
    assert!(world.post("a/1", to("b/1", "0")).is_err());
    world.mail.tick();
    world.store.settle();
    world.post("a/1", to("b/1", "0")).unwrap();
    let (next, asked) = (
        world.store.look(|disk| disk.next_id),
        world.store.count("reserve"),
    );
    assert_eq!((next, asked), (1 + (1 << 20), 2));
    // Half of the block later, the next is reserved; when it is late, ids run out.
    let skip = |n: u64| {
        world
            .mail
            .with(|core, _| (0..n).for_each(|_| core.ids.advance()))
    };
    skip(1 << 19);
    world.post("a/1", to("b/1", "1")).unwrap();
    assert_eq!(world.store.count("reserve"), 3);
    skip((1 << 19) - 2);
    assert!(world.post("a/1", to("b/1", "2")).is_err());
    world.store.settle();
    world.post("a/1", to("b/1", "2")).unwrap();
    assert!(
        world
            .store
            .look(|disk| disk.letters.keys().all(|(_, id)| *id < disk.next_id))
    );
}

#[test]
fn what_the_store_fails_to_write_is_refused_and_may_be_sent_again() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let (at, conn) = world.attach("b/1");
    world.store.settle();
    let post = || world.post("a/1", with_id("x", to("b/1", "0")));
    post().unwrap();
    world.mail.detach(&key("b/1"), conn, true);
    world.store.fail(1);
    world.store.settle();
    assert_eq!(from.take_refusals(), [PostRefused::StoreUnavailable]);
    world.audit();
    post().unwrap();
    world.store.settle();
    assert_eq!(from.take_receipts(), [STORED]);
    assert_eq!(at.texts(), ["0"]);
    assert_eq!(world.mail.figures().refused, 1);
}

#[test]
fn a_page_or_an_acknowledgement_that_failed_is_tried_again() {
    let mut world = World::new();
    world.post("a/1", to("b/1", "0")).unwrap();
    world.store.settle();
    let (at, conn) = world.attach("b/1");
    world.store.fail(9);
    world.store.settle();
    assert_eq!(at.texts().len(), 0);
    world.store.fail(0);
    world.mail.tick();
    world.store.settle();
    assert_eq!(at.texts(), ["0"]);
    world.mail.acknowledge(&key("b/1"), conn, at.last());
    world.store.fail(1);
    world.store.settle();
    world.audit();
    assert_eq!(world.mail.figures().waiting, 1);
    world.mail.tick();
    world.store.settle();
    assert_eq!(world.mail.figures().waiting, 0);
    world.audit();
}

#[test]
fn a_device_is_told_of_what_outlived_its_retention() {
    let mut world = World::new();
    world.post("a/1", to("b/1", "0")).unwrap();
    world.post("a/1", to("c", "0")).unwrap();
    world.store.settle();
    world
        .clock
        .fetch_add(29 * 86_400_000, std::sync::atomic::Ordering::Relaxed);
    world.post("a/1", to("b/1", "1")).unwrap();
    for _ in 0..61 {
        world.pass(Duration::from_secs(2 * 1800));
        world.store.settle();
    }
    assert_eq!(world.mail.figures().expired, 2);
    world.audit();
    world.restart();
    world.store.settle();
    let (at, _, attached) = world.attach_with("b/1", None, None);
    assert_eq!(attached.expired, 1);
    world.store.settle();
    assert_eq!(at.texts(), ["1"]);
    let (_, _, attached) = world.attach_with("b/1", None, None);
    assert_eq!(attached.expired, 0);
}

#[test]
fn a_device_that_stays_away_is_forgotten_and_one_that_is_here_is_not() {
    let mut world = World::new();
    world.attach("a/1");
    let (_, conn) = world.attach("a/2");
    world.mail.detach(&key("a/2"), conn, true);
    world.store.settle();
    world
        .clock
        .fetch_add(91 * 86_400_000, std::sync::atomic::Ordering::Relaxed);
    for _ in 0..121 {
        world.pass(Duration::from_secs(1));
        world.store.settle();
    }
    assert_eq!(world.mail.figures().devices, 1);
    assert!(
        world
            .store
            .look(|disk| disk.devices.keys().eq([&key("a/1")]))
    );
}

#[tokio::test]
async fn a_flush_stores_all_and_what_comes_later_too() {
    let mut world = World::new();
    let (from, _) = world.attach("a/1");
    let (at, conn) = world.attach("b/1");
    world.post("a/1", to("b/1", "0")).unwrap();
    let flushed = world.mail.flush(Duration::from_secs(5));
    world.post("a/1", to("b/1", "1")).unwrap();
    world.store.settle();
    assert!(flushed.await);
    assert_eq!(from.take_receipts(), [STORED; 2]);
    assert_eq!(at.texts(), ["0"]);
    world.mail.acknowledge(&key("b/1"), conn, at.last());
    world.store.settle();
    world.audit();
    world.restart();
    let (at, _) = world.attach("b/1");
    world.store.settle();
    assert_eq!(at.texts(), ["1"]);
    assert!(
        !world.mail.flush(Duration::from_millis(1)).await,
        "nothing was written"
    );
}

#[tokio::test]
async fn a_flush_that_could_not_store_says_so() {
    let mut world = World::new();
    world.attach("b/1");
    world.store.settle();
    world.post("a/1", to("b/1", "0")).unwrap();
    let flushed = world.mail.flush(Duration::from_secs(5));
    world.store.fail(1);
    world.store.settle();
    assert!(!flushed.await);
}

#[test]
fn a_sink_that_panics_does_not_stop_the_others() {
    struct Panics;
    impl Sink for Panics {
        fn attached(&self, _: &Attached) {}
        fn message(&self, _: &Letter) -> bool {
            panic!("told to")
        }
        fn receipt(&self, _: &Receipt) {}
        fn refused(&self, _: Option<&str>, _: &PostRefused) {}
    }
    let mut world = World::new();
    world
        .mail
        .attach(&key("c/1"), 99, Arc::new(Panics), None, None);
    let (at, _): (Arc<Socket>, _) = world.attach("b/1");
    let post = std::panic::AssertUnwindSafe(|| world.post("a/1", to("c/1", "0")));
    assert!(std::panic::catch_unwind(post).is_err());
    world.post("a/1", to("b/1", "1")).unwrap();
    assert_eq!(at.texts(), ["1"]);
}
