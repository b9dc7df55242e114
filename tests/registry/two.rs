//! Two programs and the wire between them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use loaner::rtc::RtcConfig;
use loaner::tunnel::registry::{
    ConnectionState, Manager, NetworkChangeType, Registry, Role, RuntimeOptions, TubeOptions,
    TubeRuntime,
};
use loaner::tunnel::signal::{Signal, SignalKind};
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits, and fails when `what` does not come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits until something is so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A runtime whose network is what the test says.
pub fn runtime() -> TubeRuntime {
    TubeRuntime::with(RuntimeOptions {
        watch_network: false,
    })
    .unwrap()
}

/// What a manager has told.
#[derive(Clone, Default)]
pub struct Heard {
    pub states: Arc<Mutex<Vec<ConnectionState>>>,
    pub changes: Arc<Mutex<Vec<NetworkChangeType>>>,
    pub signals: Arc<Mutex<Vec<Signal>>>,
}

impl Heard {
    pub fn by(manager: &Manager) -> Self {
        let heard = Heard::default();
        let (states, changes) = (heard.states.clone(), heard.changes.clone());
        let signals = heard.signals.clone();
        manager.on_state(move |_, state| states.lock().unwrap().push(state));
        manager.on_network_change(move |_, change| changes.lock().unwrap().push(change));
        manager.on_signal(move |signal| signals.lock().unwrap().push(signal.clone()));
        heard
    }

    pub fn states(&self) -> Vec<ConnectionState> {
        self.states.lock().unwrap().clone()
    }

    /// The data of the signals of this kind.
    pub fn of(&self, kind: SignalKind) -> Vec<String> {
        let signals = self.signals.lock().unwrap();
        let of = signals.iter().filter(|signal| signal.kind == kind);
        of.map(|signal| signal.data.clone()).collect()
    }
}

/// A manager in a registry of its own.
pub struct Program {
    pub registry: Registry,
    pub manager: Manager,
    pub heard: Heard,
}

/// Two programs whose signals for the peer are passed on, unless the wire is cut.
pub struct Two {
    pub near: Program,
    pub far: Program,
    pub cut: Arc<AtomicBool>,
}

fn program(runtime: &TubeRuntime, options: TubeOptions) -> Program {
    let manager = Manager::new(runtime, options).unwrap();
    let registry = Registry::default();
    registry.register(&manager).unwrap();
    let heard = Heard::by(&manager);
    Program {
        registry,
        manager,
        heard,
    }
}

/// Brings what one program has for the other.
fn wire(from: &Manager, to: &Registry, cut: &Arc<AtomicBool>) {
    let (to, cut) = (to.clone(), cut.clone());
    from.on_signal(move |signal| {
        if signal.kind.is_for_peer() && !cut.load(Ordering::SeqCst) {
            // One that has just gone is told of.
            let _ = to.receive(&signal.to_json());
        }
    });
}

impl Two {
    /// Wired up; nothing has begun.
    pub fn new(runtime: &TubeRuntime, id: &str, rtc: RtcConfig) -> Self {
        let options = |role| TubeOptions {
            conversation_id: "talk".to_owned(),
            rtc: rtc.clone(),
            ..TubeOptions::new(id, role)
        };
        let near = program(runtime, options(Role::Initiator));
        let far = program(runtime, options(Role::Responder));
        let cut = Arc::default();
        wire(&near.manager, &far.registry, &cut);
        wire(&far.manager, &near.registry, &cut);
        Two { near, far, cut }
    }

    /// Connected.
    pub async fn connected(runtime: &TubeRuntime, id: &str) -> Self {
        let two = Self::new(runtime, id, RtcConfig::default());
        two.connect().await;
        two
    }

    pub async fn connect(&self) {
        self.near.manager.start();
        self.are(ConnectionState::Connected).await;
    }

    /// Both get into this state.
    pub async fn are(&self, state: ConnectionState) {
        for program in [&self.near, &self.far] {
            let reached = soon("a state", program.manager.reaches(state)).await;
            assert!(reached, "{:?}", program.manager);
        }
    }

    /// Sends a message there and back.
    pub async fn echo(&self, message: &str) {
        let (near, far) = (&self.near.manager, &self.far.manager);
        let message = Bytes::from(message.to_owned());
        soon("sending", near.send(message.clone())).await.unwrap();
        let there = soon("a message", far.recv()).await.unwrap();
        soon("sending", far.send(there)).await.unwrap();
        assert_eq!(soon("an echo", near.recv()).await, Some(message));
    }

    /// Closes both.
    pub async fn close(&self) {
        self.near.manager.close();
        soon("the end", self.near.manager.closed()).await;
        self.far.manager.close();
        soon("the end", self.far.manager.closed()).await;
    }
}
