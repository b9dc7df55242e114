//! Managers from their registration to their end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::{RtcConfig, RtcError};
use loaner::tunnel::registry::{
    ConnectionState, Manager, NetworkChangeType, OptionsError, Refusal, Registry, RegistryError,
    RestartError, Role, TubeOptions,
};
use loaner::tunnel::signal::SignalKind;

use super::two::{Two, runtime, soon, until};

/// TUN-10, TUN-15: initializing, connecting, connected, and at the end terminated; every change is told once at both ends, to
/// callbacks and as a signal; and messages go both ways in between.
#[tokio::test]
async fn two_programs_connect_and_part() {
    use ConnectionState::{Connected, Connecting, Initializing, Terminated};
    let runtime = runtime();
    let two = Two::new(&runtime, "tube-1", RtcConfig::default());
    assert_eq!(two.near.manager.state(), Initializing);
    assert_eq!(two.far.manager.state(), Initializing);
    two.connect().await;
    two.echo("hello").await;
    let report = two.near.manager.report().await.unwrap();
    assert_eq!(report.status.public, Connected);
    two.near.manager.close();
    // The other side hears of it.
    for program in [&two.near, &two.far] {
        soon("the end", program.manager.closed()).await;
        let told = [Connecting, Connected, Terminated];
        assert_eq!(program.heard.states(), told);
        let signals = program.heard.of(SignalKind::ConnectionStateChanged);
        assert_eq!(signals, told.map(|state| state.to_string()));
        let signals = program.heard.signals.lock().unwrap();
        for (number, signal) in signals.iter().enumerate() {
            assert_eq!(signal.tube_id, "tube-1");
            assert_eq!(signal.conversation_id, "talk");
            assert_eq!(signal.signal_id, (number + 1).to_string());
            assert_eq!(signal.generation.is_some(), signal.kind.is_for_peer());
        }
        let sent = program.manager.send(Bytes::new()).await;
        assert_eq!(sent, Err(RtcError::Closed));
        assert_eq!(program.manager.recv().await, None);
        assert!(program.registry.is_empty());
    }
    assert_eq!(two.near.heard.of(SignalKind::Offer).len(), 1);
    assert_eq!(two.far.heard.of(SignalKind::Answer).len(), 1);
}

/// What the servers add to a description follows it, where that is wanted: candidates come as signals of their own.
#[tokio::test]
async fn candidates_may_follow() {
    let runtime = runtime();
    let rtc = RtcConfig {
        trickle: true,
        ..RtcConfig::default()
    };
    let two = Two::new(&runtime, "tube-1", rtc);
    two.connect().await;
    two.echo("hello").await;
    two.close().await;
}

/// TUN-12: a manager is registered, found and unregistered by its tube's id; unregistering shuts it down, and no other.
#[tokio::test]
async fn a_registry_knows_its_managers() {
    let runtime = runtime();
    let registry = Registry::new(3);
    let make = |id: &str| Manager::new(&runtime, TubeOptions::new(id, Role::Initiator)).unwrap();
    for id in ["b", "a", "c"] {
        registry.register(&make(id)).unwrap();
    }
    assert_eq!(registry.ids(), ["a", "b", "c"]);
    assert_eq!(registry.find("a").unwrap().tube_id(), "a");
    assert!(registry.find("d").is_none());
    assert_eq!(
        registry.register(&make("a")),
        Err(RegistryError::Known("a".to_owned()))
    );
    assert_eq!(registry.register(&make("d")), Err(RegistryError::Full(3)));
    let gone = registry.unregister("a").unwrap();
    assert!(registry.unregister("a").is_none());
    soon("the end", gone.closed()).await;
    assert_eq!(gone.state(), ConnectionState::Terminated);
    assert_eq!(
        registry.register(&gone),
        Err(RegistryError::Closed("a".to_owned()))
    );
    assert_eq!(gone.restart().await, Err(RestartError::Closed));
    assert!(gone.report().await.is_none());
    // One that was replaced under its id does not take the other with it.
    let replaced = registry.unregister("b").unwrap();
    registry.register(&make("b")).unwrap();
    soon("the end", replaced.closed()).await;
    assert_eq!(registry.ids(), ["b", "c"]);
    let other = registry.find("c").unwrap();
    assert_eq!(other.state(), ConnectionState::Initializing);
    soon("the end of all", runtime.shutdown()).await;
    assert!(registry.is_empty());
    let none = Manager::new(&runtime, TubeOptions::new("e", Role::Initiator));
    assert_eq!(none.unwrap_err(), OptionsError::Ended);
}

/// TUN-11: a callback that panics stops neither the others nor the manager; one that is removed is not called; and each may
/// use the manager that calls it, and the registry.
#[tokio::test]
async fn callbacks_fail_alone() {
    let runtime = runtime();
    let two = Two::new(&runtime, "tube-1", RtcConfig::default());
    let (calls, removed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let manager = &two.near.manager;
    manager.on_state(|_, state| panic!("a callback that fails at {state}"));
    manager.on_signal(|signal| panic!("a callback that fails at {}", signal.kind));
    let count = removed.clone();
    let id = manager.on_state(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    assert!(manager.remove_callback(id));
    assert!(!manager.remove_callback(id));
    let (count, its, registry) = (calls.clone(), manager.clone(), two.near.registry.clone());
    manager.on_state(move |tube, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let another = its.on_state(|_, _| ());
        assert!(its.remove_callback(another));
        assert!(registry.find(tube).is_some());
        its.update_activity();
    });
    two.connect().await;
    two.echo("hello").await;
    two.close().await;
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert_eq!(removed.load(Ordering::SeqCst), 0);
}

/// TUN-05: a connection is restarted by hand, and goes on where it was; before it is connected, and right after, it is not.
#[tokio::test]
async fn a_restart_by_hand() {
    let runtime = runtime();
    let two = Two::new(&runtime, "tube-1", RtcConfig::default());
    let manager = &two.near.manager;
    let refused = manager.restart().await;
    assert_eq!(refused, Err(RestartError::Refused(Refusal::NotConnected)));
    two.connect().await;
    two.echo("before").await;
    assert_eq!(manager.restart().await, Ok(()));
    until("connected again", || manager.metrics().connections == 2).await;
    two.echo("after").await;
    let refused = manager.restart().await;
    assert!(
        matches!(refused, Err(RestartError::Refused(Refusal::Wait(_)))),
        "{refused:?}"
    );
    let metrics = manager.metrics();
    assert_eq!(
        (metrics.reconnection_attempts, metrics.ice_restart_attempts),
        (1, 1)
    );
    // It is the same connection, restarted.
    assert_eq!(two.near.heard.of(SignalKind::Offer).len(), 1);
    assert_eq!(two.near.heard.of(SignalKind::IceRestartOffer).len(), 1);
    assert_eq!(two.far.heard.of(SignalKind::Answer).len(), 2);
    two.close().await;
}

/// A responder that wants a restart asks for it, and the initiator offers it.
#[tokio::test]
async fn a_responder_asks() {
    let runtime = runtime();
    let two = Two::connected(&runtime, "tube-1").await;
    two.echo("before").await;
    assert_eq!(two.far.manager.restart().await, Ok(()));
    let again = || two.far.manager.metrics().connections == 2;
    until("connected again", again).await;
    two.echo("after").await;
    assert!(!two.far.heard.of(SignalKind::IceRestartRequest).is_empty());
    two.close().await;
}

/// What the program reports is told once to each callback, and as one signal. Here it is a doubt only: a ping is answered, and the
/// tube stays on its connection.
#[tokio::test]
async fn a_doubt_is_told_and_dispelled() {
    use NetworkChangeType::{IpChange, QualityDegraded, Timeout};
    let runtime = runtime();
    let two = Two::connected(&runtime, "tube-1").await;
    let manager = &two.near.manager;
    for (number, change) in [Timeout, QualityDegraded, IpChange].into_iter().enumerate() {
        manager.handle_network_change(change);
        let states = || two.near.heard.states();
        until("connected again", || states().len() == 4 + 2 * number).await;
        use ConnectionState::{Connected, Degraded};
        assert_eq!(states()[2 + 2 * number..], [Degraded, Connected]);
        two.echo("hello").await;
    }
    let changes = two.near.heard.changes.lock().unwrap().clone();
    assert_eq!(changes, [Timeout, QualityDegraded, IpChange]);
    two.close().await;
    let signals = two.near.heard.of(SignalKind::NetworkChangeDetected);
    assert_eq!(signals, ["timeout", "quality_degraded", "ip_change"]);
    assert_eq!(manager.metrics().connections, 1);
    assert_eq!(two.near.heard.of(SignalKind::Offer).len(), 1);
}

/// TUN-02, and what is counted: activity moves forward with every message and every byte, and only then.
#[tokio::test]
async fn activity_and_figures() {
    let runtime = runtime();
    let two = Two::connected(&runtime, "tube-1").await;
    let manager = &two.near.manager;
    let last = Mutex::new(manager.last_activity());
    let moved = |what: &str| {
        let now = manager.last_activity();
        let before = std::mem::replace(&mut *last.lock().unwrap(), now);
        assert!(now > before, "{what}");
    };
    for _ in 0..100 {
        manager.update_activity();
        moved("update_activity");
    }
    assert_eq!(manager.last_activity(), *last.lock().unwrap());
    two.echo("ten bytes!").await;
    moved("bytes");
    let text = r#"{"tube_id":"tube-1","kind":"keepalive"}"#;
    assert!(two.near.registry.receive(text)[0].is_ok());
    moved("a message");
    let metrics = manager.metrics();
    assert_eq!((metrics.bytes_sent, metrics.bytes_received), (10, 10));
    assert_eq!((metrics.connections, metrics.reconnection_attempts), (1, 0));
    assert!(metrics.established.unwrap() <= metrics.last_activity);
    assert_eq!(metrics.last_restart, None);
    until("a round trip", || manager.metrics().round_trip.is_some()).await;
    assert!(manager.metrics().round_trip.unwrap() < Duration::from_secs(30));
    two.close().await;
}

/// Options that cannot be are refused, with what may be.
#[test]
fn options_have_bounds() {
    let runtime = runtime();
    let good = TubeOptions::new("tube-1", Role::Initiator);
    let refusal = |options| Manager::new(&runtime, options).unwrap_err();
    for id in [String::new(), "x".repeat(257)] {
        let options = TubeOptions::new(id, Role::Initiator);
        assert_eq!(refusal(options), OptionsError::TubeId);
    }
    let conversation_id = "x".repeat(257);
    let long = TubeOptions {
        conversation_id,
        ..good.clone()
    };
    assert_eq!(refusal(long), OptionsError::ConversationId);
    let keepalive = Duration::from_millis(999);
    let often = TubeOptions { keepalive, ..good };
    assert_eq!(refusal(often), OptionsError::Keepalive);
}

/// A program without any executor has everything: its thread waits where it wants to.
#[test]
fn a_plain_thread_has_everything() {
    let runtime = runtime();
    let two = runtime.block_on(Two::connected(&runtime, "tube-1"));
    let thread = std::thread::spawn({
        let (runtime, far) = (runtime.clone(), two.far.manager.clone());
        move || runtime.block_on(far.recv())
    });
    let sent = runtime.block_on(two.near.manager.send(Bytes::from_static(b"hello")));
    sent.unwrap();
    assert_eq!(thread.join().unwrap().unwrap(), "hello");
    runtime.block_on(runtime.shutdown());
    assert_eq!(runtime.tubes(), 0);
    assert!(two.near.manager.is_closed());
}
