//! Tubes whose network changes under them: the real one of a namespace, as the operating system tells of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::RtcConfig;
use loaner::tunnel::registry::{ConnectionState, NetworkChangeType, Role, TubeRuntime};
use loaner::tunnel::signal::SignalKind;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::inside::{Scene, ip, ip_batch, run_inside};
use super::two::{Program, Two, runtime, soon, until};

/// Two programs that are connected by the addresses of the namespace, with messages that go there and back all the time.
struct Busy {
    two: Arc<Two>,
    over: Arc<AtomicBool>,
    echo: JoinHandle<u64>,
}

impl Busy {
    async fn connected(runtime: &TubeRuntime) -> Self {
        // The interfaces of the namespace are up.
        drop(Scene::open().await);
        let rtc = RtcConfig {
            include_loopback: false,
            ..RtcConfig::default()
        };
        let two = Arc::new(Two::new(runtime, "tube-1", rtc));
        two.connect().await;
        let over = Arc::new(AtomicBool::new(false));
        let back = tokio::spawn({
            let far = two.far.manager.clone();
            async move {
                while let Some(message) = far.recv().await {
                    if far.send(message).await.is_err() {
                        return;
                    }
                }
            }
        });
        let there = tokio::spawn({
            let (near, over) = (two.near.manager.clone(), over.clone());
            async move {
                let mut sent: u64 = 0;
                while !over.load(Ordering::SeqCst) {
                    sent += 1;
                    let message = Bytes::from(sent.to_be_bytes().repeat(100));
                    near.send(message).await.unwrap();
                    sleep(Duration::from_millis(2)).await;
                }
                sent
            }
        });
        let echo = tokio::spawn({
            let (near, over) = (two.near.manager.clone(), over.clone());
            async move {
                let mut received: u64 = 0;
                loop {
                    if over.load(Ordering::SeqCst) && there.is_finished() {
                        let sent = there.await.unwrap();
                        while received < sent {
                            received += 1;
                            assert_eq!(near.recv().await.unwrap()[..8], received.to_be_bytes());
                        }
                        back.abort();
                        return received;
                    }
                    if let Ok(message) =
                        tokio::time::timeout(Duration::from_millis(50), near.recv()).await
                    {
                        received += 1;
                        assert_eq!(message.unwrap()[..8], received.to_be_bytes());
                    }
                }
            }
        });
        Busy { two, over, echo }
    }

    /// Both have been connected so many times, and are.
    async fn connected_times(&self, times: u64) {
        for program in [&self.two.near, &self.two.far] {
            let manager = &program.manager;
            until("connected again", || {
                manager.metrics().connections >= times
                    && manager.state() == ConnectionState::Connected
            })
            .await;
        }
    }

    /// Everything that was sent has come back, in order; both ends.
    async fn ends(self) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        let echoed = soon("the last echo", self.echo).await.unwrap();
        self.two.close().await;
        echoed
    }

    /// Both ends were told of such a change.
    fn were_told(&self, change: NetworkChangeType) {
        for program in [&self.two.near, &self.two.far] {
            was_told(program, change);
        }
    }
}

/// It was told of such a change, to callbacks and as signals, as often; and an attempt was made to bring the connection back.
fn was_told(program: &Program, change: NetworkChangeType) {
    let changes = program.heard.changes.lock().unwrap().clone();
    assert!(changes.contains(&change), "{changes:?}");
    let names: Vec<_> = changes.iter().map(ToString::to_string).collect();
    let signals = program.heard.of(SignalKind::NetworkChangeDetected);
    assert_eq!(signals, names);
    let states = program.heard.states();
    let lost = states.contains(&ConnectionState::Reconnecting);
    assert!(lost, "{states:?}");
    let metrics = program.manager.metrics();
    if program.manager.role() == Role::Initiator {
        assert!(metrics.reconnection_attempts > 0 && metrics.last_restart.is_some());
    }
}

/// TUN-06: an interface that disappears while another has appeared is reported as network_change_detected, and the tube goes on
/// over the other, without a message lost or doubled.
#[test]
fn an_interface_is_replaced() {
    run_inside("network::an_interface_is_replaced", async || {
        let runtime = TubeRuntime::start().unwrap();
        let busy = Busy::connected(&runtime).await;
        ip("link add e1 type veth peer name e1-end");
        ip_batch(&[
            "link set e1-end up", "link set e1 up", "address add 10.78.0.1/24 dev e1",
        ]);
        ip("link del peers");
        busy.connected_times(2).await;
        let changes = busy.two.near.heard.changes.clone();
        let is_told = || {
            changes
                .lock()
                .unwrap()
                .contains(&NetworkChangeType::InterfaceChange)
        };
        until("the change", is_told).await;
        busy.were_told(NetworkChangeType::InterfaceChange);
        assert!(busy.ends().await > 0);
    });
}

/// TUN-03, TUN-07: an address that changes is reported as network_change_detected; ICE is restarted by itself, with new
/// credentials, and the tube goes on over the new one, without a
/// message lost or doubled; and again.
#[test]
fn an_address_is_replaced() {
    run_inside("network::an_address_is_replaced", async || {
        let runtime = TubeRuntime::start().unwrap();
        let busy = Busy::connected(&runtime).await;
        for (round, [old, new]) in [[1, 2], [2, 3]].into_iter().enumerate() {
            ip_batch(&[
                format!("address del 10.77.0.{old}/24 dev peers"),
                format!("address add 10.77.0.{new}/24 dev peers"),
            ]);
            busy.connected_times(round as u64 + 2).await;
            busy.were_told(NetworkChangeType::IpChange);
        }
        let near = &busy.two.near;
        let restarts = near.heard.of(SignalKind::IceRestartOffer);
        assert!(near.manager.metrics().ice_restart_attempts >= 1 && !restarts.is_empty());
        let mut credentials: Vec<_> = near.heard.of(SignalKind::Offer);
        credentials.extend(restarts);
        let descriptions = credentials.len();
        for description in &mut credentials {
            let line = description
                .lines()
                .find(|line| line.starts_with("a=ice-pwd:"));
            *description = line.unwrap().to_owned();
        }
        credentials.sort();
        credentials.dedup();
        assert_eq!(credentials.len(), descriptions);
        assert!(busy.ends().await > 0);
    });
}

/// TUN-08: a connection that carries nothing any more, of which nobody tells, is reported as network_change_detected, and the
/// tube goes on over another, without a message lost or doubled.
#[test]
fn a_silent_loss_is_noticed() {
    run_inside("network::a_silent_loss_is_noticed", async || {
        let runtime = runtime();
        let busy = Busy::connected(&runtime).await;
        ip_batch(&[
            "address del 10.77.0.1/24 dev peers", "address add 10.77.0.2/24 dev peers",
        ]);
        busy.connected_times(2).await;
        // Who notices first brings it back; the other may not have noticed at all.
        let two = &busy.two;
        let noticed = |program: &&&Program| !program.heard.changes.lock().unwrap().is_empty();
        let first = [&two.near, &two.far].iter().find(noticed).copied();
        was_told(first.unwrap(), NetworkChangeType::Timeout);
        assert!(busy.ends().await > 0);
    });
}

/// TUN-09: an ICE failure is reported as network_change_detected, and the tube goes on over another connection, without a message
/// lost or doubled.
#[test]
fn an_ice_failure_is_mended() {
    run_inside("network::an_ice_failure_is_mended", async || {
        let runtime = runtime();
        let busy = Busy::connected(&runtime).await;
        ip_batch(&[
            "address del 10.77.0.1/24 dev peers", "address add 10.77.0.2/24 dev peers",
        ]);
        let near = &busy.two.near;
        let change = NetworkChangeType::IceFailure;
        near.manager.handle_network_change(change);
        busy.connected_times(2).await;
        was_told(near, change);
        assert!(busy.ends().await > 0);
    });
}

/// While the program's signalling is down nothing is offered, and nothing else is tried; when it is back, what was lost is made
/// anew at once.
#[test]
fn signalling_that_is_down_is_waited_for() {
    let name = "network::signalling_that_is_down_is_waited_for";
    run_inside(name, async || {
        let runtime = TubeRuntime::start().unwrap();
        let busy = Busy::connected(&runtime).await;
        let (two, manager) = (busy.two.clone(), &busy.two.near.manager);
        two.cut.store(true, Ordering::SeqCst);
        for program in [&two.near, &two.far] {
            program.manager.set_signalling(false);
        }
        ip_batch(&[
            "address del 10.77.0.1/24 dev peers", "address add 10.77.0.2/24 dev peers",
        ]);
        two.are(ConnectionState::Reconnecting).await;
        let mut doing = manager.report().await.unwrap().status.doing;
        while doing != "waiting for the hub" {
            assert!(two.near.heard.of(SignalKind::Offer).len() == 1, "{doing}");
            sleep(Duration::from_millis(20)).await;
            doing = manager.report().await.unwrap().status.doing;
        }
        two.cut.store(false, Ordering::SeqCst);
        for program in [&two.near, &two.far] {
            program.manager.set_signalling(true);
        }
        busy.connected_times(2).await;
        assert!(busy.ends().await > 0);
    });
}
