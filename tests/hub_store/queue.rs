//! The queue: order, neighbours of what fails, and what is given up.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use loaner::hub::engine::DeviceKey;
use loaner::hub::store::{Place, SqliteStore, Store};

use super::{answer, ids, letter, open, wait};

fn bob() -> DeviceKey {
    DeviceKey::new("bob", "phone")
}

/// Holds the writer until the returned sender is dropped, so that what is ordered meanwhile is one batch.
fn hold(store: &SqliteStore) -> Sender<()> {
    let (release, held) = channel::<()>();
    store.sync(Box::new(move |_| {
        // Ends with an error when the sender is dropped, which is the signal.
        let _ = held.recv();
    }));
    release
}

#[test]
fn answers_come_in_the_order_of_the_orders_and_only_when_all_before_is_done() {
    let (store, _) = SqliteStore::open(&Place::Memory).unwrap();
    let heard: Arc<Mutex<Vec<usize>>> = Arc::default();
    let release = hold(&store);
    // More than one batch.
    for number in 0..10_000 {
        let heard = Arc::clone(&heard);
        match number % 3 {
            0 => store.append(
                vec![(bob(), letter(number as u64 + 1, 10))],
                1,
                Box::new(move |_| heard.lock().unwrap().push(number)),
            ),
            1 => store.page(
                &bob(),
                number as u64 - 1,
                9,
                999,
                Box::new(move |page| {
                    assert_eq!(page.unwrap().len(), 1, "a page sees the letter before it");
                    heard.lock().unwrap().push(number);
                }),
            ),
            _ => store.sync(Box::new(move |_| heard.lock().unwrap().push(number))),
        }
    }
    drop(release);
    store.close().unwrap();
    assert_eq!(*heard.lock().unwrap(), (0..10_000).collect::<Vec<_>>());
}

/// A letter that alone is larger than a page goes alone, also before one that adds nothing.
#[test]
fn nothing_goes_with_a_letter_that_is_larger_than_a_page() {
    let (store, _) = SqliteStore::open(&Place::Memory).unwrap();
    let letters = [(1, 50), (2, 0), (3, 0)];
    let letters = letters.map(|(id, bytes)| (bob(), letter(id, bytes)));
    wait(|done| store.append(letters.to_vec(), 1, done)).unwrap();
    let page = |after, bytes| {
        let page = wait(|done| store.page(&bob(), after, 9, bytes, done)).unwrap();
        page.iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 49), [1]);
    assert_eq!(page(0, 50), [1, 2, 3]);
    assert_eq!(page(1, 0), [2, 3]);
}

#[test]
fn what_fails_fails_alone() {
    let (store, _) = SqliteStore::open(&Place::Memory).unwrap();
    wait(|done| store.append(vec![(bob(), letter(5, 10))], 1, done)).unwrap();
    let other = DeviceKey::new("bob", "desk");
    let release = hold(&store);
    let mut hear = Vec::new();
    for id in 1..=9 {
        let (done, told) = answer();
        store.append(
            vec![(other.clone(), letter(id, 10)), (bob(), letter(id, 10))],
            2,
            done,
        );
        hear.push((id, told));
    }
    let (done, refused) = answer();
    store.adopt(&bob(), &other, done);
    let (done, too_large) = answer();
    store.append(vec![(bob(), letter(u64::MAX, 10))], 1, done);
    drop(release);
    for (id, told) in hear {
        assert_eq!(told.recv().unwrap().is_ok(), id != 5, "letter {id}");
    }
    assert!(
        refused.recv().unwrap().is_err(),
        "a letter cannot be in one mailbox twice"
    );
    assert!(too_large.recv().unwrap().is_err());
    assert_eq!(ids(&store, &bob()), (1..=9).collect::<Vec<_>>());
    assert_eq!(
        ids(&store, &other),
        [1, 2, 3, 4, 6, 7, 8, 9],
        "nothing of the one that failed"
    );
}

#[test]
fn a_panic_of_who_is_told_is_theirs_alone() {
    let (store, _) = SqliteStore::open(&Place::Memory).unwrap();
    let release = hold(&store);
    store.sync(Box::new(|_| panic!("a test's panic")));
    let (done, told) = answer();
    store.append(vec![(bob(), letter(1, 10))], 1, done);
    drop(release);
    assert_eq!(told.recv().unwrap(), Ok(()));
    assert_eq!(ids(&store, &bob()), [1]);
}

#[test]
fn what_waits_for_the_writer_is_bounded() {
    let (store, _) = SqliteStore::open(&Place::Memory).unwrap();
    let release = hold(&store);
    let content = letter(1, 64 << 20);
    let mut hear = Vec::new();
    for id in 1..=5 {
        let (done, told) = answer();
        // The bytes are shared, so the test itself needs little.
        let mut letter = content.clone();
        letter.id = id;
        store.append(vec![(bob(), letter)], 1, done);
        hear.push(told);
    }
    store.acknowledge(&bob(), 9, Box::new(|_| ()));
    drop(release);
    let outcomes: Vec<bool> = hear
        .iter()
        .map(|told| told.recv().unwrap().is_ok())
        .collect();
    assert_eq!(outcomes, [true, true, true, false, false]);
    wait(|done| store.append(vec![(bob(), letter(10, 10))], 1, done)).unwrap();
}

#[test]
fn the_last_handle_may_be_dropped_by_who_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let store = Arc::new(open(&path).unwrap().0);
    let release = hold(&store);
    let held = Arc::clone(&store);
    let (tell, told) = channel();
    store.sync(Box::new(move |_| {
        drop(held);
        // The receiver waits below.
        let _ = tell.send(());
    }));
    drop(store);
    drop(release);
    told.recv().unwrap();
}

#[test]
fn of_a_room_the_last_1024_peers_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hub.db");
    let (store, _) = open(&path).unwrap();
    store.save_peer("other", "p", "u");
    for number in 0..1024 {
        store.save_peer("room", &format!("p{number}"), "u");
    }
    // Known already: it becomes the youngest, and nobody is forgotten for it.
    store.save_peer("room", "p0", "v");
    store.save_peer("room", "new", "u");
    store.close().unwrap();
    let (_store, found) = open(&path).unwrap();
    let (room, other): (Vec<_>, Vec<_>) = found
        .peers
        .into_iter()
        .partition(|(room, _, _)| room == "room");
    assert_eq!(other.len(), 1);
    let names: Vec<&str> = room.iter().map(|(_, peer, _)| &**peer).collect();
    let mut expected: Vec<String> = (2..1024).map(|number| format!("p{number}")).collect();
    expected.extend(["p0".into(), "new".into()]);
    assert_eq!(names, expected);
    assert_eq!(room[1022].2, "v");
}

/// A figure, to be run by hand in release: letters of 256 bytes, each an order of its own, on disk.
#[test]
#[ignore = "a figure, not a test"]
fn speed() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let (store, _) = open(&dir.path().join("hub.db")).unwrap();
    let letters = 200_000;
    let started = std::time::Instant::now();
    for id in 1..=letters {
        let mut letter = letter(id, 256);
        letter.client_message_id = Some(format!("message-{id}").into());
        let to = DeviceKey::new("bob", &(id % 1000).to_string());
        store.append(vec![(to, letter)], 1, Box::new(|outcome| outcome.unwrap()));
    }
    wait(|done| store.sync(done)).unwrap();
    let rate = letters as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} letters a second appended");
    let started = std::time::Instant::now();
    for device in 0..1000 {
        store.acknowledge(
            &DeviceKey::new("bob", &device.to_string()),
            letters,
            Box::new(|freed| assert_eq!(freed.unwrap().letters, 200)),
        );
    }
    wait(|done| store.sync(done)).unwrap();
    let rate = letters as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} letters a second acknowledged");
}
