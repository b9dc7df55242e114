//! The task, with a system and clocks that the test steers, on a clock that jumps.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, advance, sleep, timeout};

use super::super::sleep::Clocks;
use super::super::watch::{System, Watch};
use super::super::{Network, NetworkSubscription};
use super::{ip, network};

/// What the test and the task share.
#[derive(Default)]
struct Machine {
    network: Network,
    broken: bool,
    /// What the machine slept in all.
    slept: Duration,
    /// When it was read.
    reads: Vec<Instant>,
}

#[derive(Clone)]
struct Steered {
    machine: Arc<Mutex<Machine>>,
    begun: Instant,
    messages: mpsc::UnboundedSender<()>,
}

struct Told {
    steered: Steered,
    messages: mpsc::UnboundedReceiver<()>,
}

impl System for Told {
    fn read(&mut self) -> io::Result<Network> {
        let mut machine = self.steered.machine.lock().unwrap();
        machine.reads.push(Instant::now());
        match machine.broken {
            true => Err(io::ErrorKind::OutOfMemory.into()),
            false => Ok(machine.network.clone()),
        }
    }

    fn clocks(&mut self) -> Clocks {
        let awake = self.steered.begun.elapsed();
        let always = awake + self.steered.machine.lock().unwrap().slept;
        Clocks { awake, always }
    }

    async fn message(&mut self) {
        if self.messages.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl Steered {
    fn start(first: Network) -> (Steered, Arc<Watch>) {
        let (messages, told) = mpsc::unbounded_channel();
        let machine = Machine {
            network: first,
            ..Machine::default()
        };
        let steered = Steered {
            machine: Arc::new(Mutex::new(machine)),
            begun: Instant::now(),
            messages,
        };
        let system = Told {
            steered: steered.clone(),
            messages: told,
        };
        let watch = Watch::start(&Handle::current(), system);
        (steered, Arc::new(watch))
    }

    fn become_network(&self, network: Network) {
        self.machine.lock().unwrap().network = network;
        self.messages.send(()).unwrap();
    }

    /// When it was read since the beginning, in milliseconds, the first reading left out.
    fn reads(&self) -> Vec<u128> {
        let machine = self.machine.lock().unwrap();
        let reads = machine.reads[1..].iter();
        reads.map(|at| (*at - self.begun).as_millis()).collect()
    }
}

fn with_address(last: u8) -> Network {
    network(&[("e0", &[&format!("10.0.0.{last}")])])
}

/// A burst is one change, told 250 ms after its last message; one that does not end is told of every second.
#[tokio::test(start_paused = true)]
async fn a_burst_is_one_change() {
    let (steered, watch) = Steered::start(with_address(2));
    let mut listener = NetworkSubscription::to(watch);
    for last in 3..6 {
        sleep(Duration::from_millis(200)).await;
        steered.become_network(with_address(last));
    }
    let change = listener.next().await.unwrap();
    assert_eq!(change.removed, [("e0".to_owned(), ip("10.0.0.2"))]);
    assert_eq!(change.added, [("e0".to_owned(), ip("10.0.0.5"))]);
    assert_eq!(steered.reads(), [850]);

    // A message every 120 ms from 1 s on: 1 s after the first one, and 1 s after the first that follows.
    sleep(Duration::from_millis(150)).await;
    for _ in 0..30 {
        steered.messages.send(()).unwrap();
        sleep(Duration::from_millis(120)).await;
    }
    sleep(Duration::from_secs(10)).await;
    let reads = steered.reads();
    assert_eq!(reads[1..3], [2000, 3080], "{reads:?}");
    // All the same as before, so nobody is told.
    let nothing = timeout(Duration::from_secs(60), listener.next()).await;
    assert!(nothing.is_err());
}

/// Every listener hears everything from its subscription on, and nothing from before it.
#[tokio::test(start_paused = true)]
async fn each_listener_hears_what_comes_after_it() {
    let (steered, watch) = Steered::start(with_address(2));
    let mut early = NetworkSubscription::to(watch.clone());
    steered.become_network(with_address(3));
    sleep(Duration::from_secs(1)).await;
    let mut late = NetworkSubscription::to(watch);
    assert!(late.network().has(ip("10.0.0.3")));
    steered.become_network(with_address(4));
    sleep(Duration::from_secs(1)).await;
    assert!(early.next().await.unwrap().after().has(ip("10.0.0.3")));
    assert!(early.next().await.unwrap().after().has(ip("10.0.0.4")));
    let change = late.next().await.unwrap();
    assert!(change.before().has(ip("10.0.0.3")) && change.after().has(ip("10.0.0.4")));
    assert!(timeout(Duration::from_secs(60), late.next()).await.is_err());
}

/// A listener that is far behind hears of what it missed as one change; then it is up to date. A sleep is not lost in it.
#[tokio::test(start_paused = true)]
async fn who_is_far_behind_is_told_in_one() {
    let (steered, watch) = Steered::start(with_address(2));
    let mut listener = NetworkSubscription::to(watch);
    steered.machine.lock().unwrap().slept = Duration::from_secs(60);
    for last in 3..103 {
        steered.become_network(with_address(last));
        sleep(Duration::from_secs(3)).await;
    }
    let first = listener.next().await.unwrap();
    assert!(first.before().has(ip("10.0.0.2")) && first.touches(ip("10.0.0.2")));
    assert!(first.woke());
    let mut heard = 1;
    while !listener.network().has(ip("10.0.0.102")) {
        let before = listener.network().clone();
        assert_eq!(*listener.next().await.unwrap().before(), before);
        heard += 1;
    }
    assert_eq!(heard, 16, "no more than this many wait");
}

/// Sleep of more than 10 s is told within 3 s, though nothing else changed; less is not.
#[tokio::test(start_paused = true)]
async fn sleep_is_noticed_by_the_clocks() {
    let (steered, watch) = Steered::start(with_address(2));
    let mut listener = NetworkSubscription::to(watch);
    for (slept, told) in [
        (9, false),
        (8, false),
        (11, true),
        (10, false),
        (3600, true),
    ] {
        steered.machine.lock().unwrap().slept += Duration::from_secs(slept);
        let change = timeout(Duration::from_secs(3), listener.next()).await;
        assert_eq!(change.is_ok(), told, "{slept} s");
        if let Ok(change) = change {
            assert!(change.unwrap().woke());
        }
    }
    assert_eq!(listener.network().wakes, 2);
}

/// While the network cannot be read it counts as unchanged, and it is read again at each tick, without a message.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_tried_again() {
    let (steered, watch) = Steered::start(with_address(2));
    let mut listener = NetworkSubscription::to(watch);
    steered.machine.lock().unwrap().broken = true;
    steered.become_network(with_address(3));
    assert!(
        timeout(Duration::from_secs(5), listener.next())
            .await
            .is_err()
    );
    steered.machine.lock().unwrap().broken = false;
    let change = timeout(Duration::from_secs(2), listener.next()).await;
    assert!(change.unwrap().unwrap().touches(ip("10.0.0.2")));
}

/// The last listener takes the task with it, and the system that it watched.
#[tokio::test(start_paused = true)]
async fn the_last_listener_ends_the_task() {
    let (steered, watch) = Steered::start(with_address(2));
    let first = NetworkSubscription::to(watch.clone());
    let second = NetworkSubscription::to(watch);
    drop(first);
    advance(Duration::from_secs(10)).await;
    assert!(!steered.messages.is_closed());
    drop(second);
    let closed = timeout(Duration::from_secs(60), steered.messages.closed()).await;
    assert!(closed.is_ok());
}

proptest! {
    /// The machine slept when the one clock ran more than 10 s ahead of the other, wherever the two began.
    #[test]
    fn sleep_is_the_difference_of_two_clocks(
        begun in (0..u64::MAX >> 2, 0..u64::MAX >> 2), awake in 0..100_000_000_u64, slept in 0..20_000_u64,
    ) {
        let clocks = |awake, always| Clocks {
            awake: Duration::from_millis(awake),
            always: Duration::from_millis(always),
        };
        let before = clocks(begun.0, begun.1);
        let now = clocks(begun.0 + awake, begun.1 + awake + slept);
        prop_assert_eq!(Clocks::slept(before, now), slept > 10_000);
        prop_assert!(!Clocks::slept(now, before), "a clock set back is no sleep");
    }
}
