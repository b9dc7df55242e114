//! What is left when it is over: nothing.

use std::sync::Arc;

use loaner::tunnel::registry::{
    ConnectionState, Manager, Registry, Role, TubeOptions, TubeRuntime,
};
use loaner::tunnel::signal::SignalKind;

use super::alone::{Held, run_alone};
use super::two::{Heard, Two, runtime, soon, until};

/// How often a tube is made and closed.
const CYCLES: usize = 2000;
/// Of which every so many-th is connected to another one.
const CONNECTED: usize = 25;
/// Cycles until everything that is made once has been made.
const WARM_UP: usize = 200;
/// What the memory may grow by, KiB: less than 12 for each cycle.
const MEMORY: u64 = 20 * 1024;

/// TUN-17: closing either end of a tube releases every task, socket, timer and callback of both, while the runtime and other
/// tubes live on; and when the runtime goes, so do its threads.
#[test]
fn closing_releases_everything() {
    run_alone("cleanup::closing_releases_everything", async || {
        let nothing = Held::now();
        let runtime = TubeRuntime::start().unwrap();
        let other = Two::connected(&runtime, "other").await;
        // What came up is done with making it.
        let is_at_rest = || {
            let before = (runtime.tasks(), Held::now().descriptors);
            std::thread::sleep(std::time::Duration::from_millis(1500));
            before == (runtime.tasks(), Held::now().descriptors)
        };
        until("rest", is_at_rest).await;
        let (tasks, held) = (runtime.tasks(), Held::now());
        for closes in ["near", "far", "nobody has it"] {
            let two = Two::connected(&runtime, "tube-1").await;
            two.echo("hello").await;
            let marker = Arc::new(());
            for manager in [&two.near.manager, &two.far.manager] {
                let (marks, its) = (marker.clone(), manager.clone());
                manager.on_state(move |_, _| drop((marks.clone(), its.clone())));
            }
            assert_eq!(Arc::strong_count(&marker), 3);
            assert!(runtime.tasks() > tasks && Held::now().descriptors > held.descriptors);
            match closes {
                "near" => two.near.manager.close(),
                "far" => two.far.manager.close(),
                _ => drop(two.near.registry.unregister("tube-1")),
            }
            for program in [&two.near, &two.far] {
                soon("the end", program.manager.closed()).await;
                assert!(program.registry.is_empty());
            }
            assert_eq!(Arc::strong_count(&marker), 1, "{closes}");
            drop(two);
            until("what there was", || {
                runtime.tasks() <= tasks && Held::now().descriptors <= held.descriptors
            })
            .await;
        }
        other.echo("still here").await;
        assert_eq!(runtime.tubes(), 2);
        other.close().await;
        drop(other);
        drop(runtime);
        until("nothing", || {
            let now = Held::now();
            now.descriptors <= nothing.descriptors && now.threads <= nothing.threads
        })
        .await;
    });
}

/// A tube is made, begun and closed as soon as its offer is out; or connected and closed.
async fn cycle(runtime: &TubeRuntime, registry: &Registry, number: usize) {
    let id = format!("tube-{number}");
    if number % CONNECTED == 0 {
        let two = Two::connected(runtime, &id).await;
        two.close().await;
        return;
    }
    let manager = Manager::new(runtime, TubeOptions::new(&id, Role::Initiator)).unwrap();
    registry.register(&manager).unwrap();
    let (offered, offer) = tokio::sync::oneshot::channel();
    let offered = std::sync::Mutex::new(Some(offered));
    manager.on_signal(move |signal| {
        if signal.kind == SignalKind::Offer {
            offered.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    });
    manager.start();
    soon("an offer", offer).await.unwrap();
    registry.unregister(&id).unwrap();
    soon("the end", manager.closed()).await;
    assert_eq!(manager.state(), ConnectionState::Terminated);
}

/// TUN-18: two thousand cycles of making and closing leave no task, descriptor or thread behind, nor memory.
#[test]
fn thousands_of_cycles_leave_nothing() {
    run_alone("cleanup::thousands_of_cycles_leave_nothing", async || {
        let runtime = runtime();
        let registry = Registry::default();
        for number in 0..WARM_UP {
            cycle(&runtime, &registry, number).await;
        }
        until("no task", || runtime.tasks() == 0).await;
        let before = Held::now();
        for number in WARM_UP..CYCLES {
            cycle(&runtime, &registry, number).await;
        }
        assert!(registry.is_empty());
        assert_eq!(runtime.tubes(), 0);
        until("no task", || runtime.tasks() == 0).await;
        until("what there was", || {
            let now = Held::now();
            now.descriptors <= before.descriptors && now.threads <= before.threads
        })
        .await;
        let after = Held::now();
        assert!(
            after.memory <= before.memory + MEMORY,
            "{before:?} {after:?}"
        );
    });
}

/// A manager that nobody has any more is closed with what it has: it needs no hands to be released.
#[tokio::test]
async fn what_nobody_has_is_closed() {
    let runtime = runtime();
    let manager = Manager::new(&runtime, TubeOptions::new("tube-1", Role::Initiator)).unwrap();
    let heard = Heard::by(&manager);
    manager.start();
    until("an offer", || heard.of(SignalKind::Offer).len() == 1).await;
    assert_eq!(runtime.tubes(), 1);
    drop(manager);
    until("the end", || runtime.tubes() == 0).await;
    assert_eq!(heard.states().last(), Some(&ConnectionState::Terminated));
}
