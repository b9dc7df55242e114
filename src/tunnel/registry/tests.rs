//! Keepalives, on a clock that is steered.

use std::future::ready;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use actix::prelude::*;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};

use super::callbacks::Callback;
use super::host::{Carries, Heard, Home, Inbox, Wish, host};
use super::shared::Shared;
use super::telling::Telling;
use super::{ConnectionState, KEEPALIVE, Role, TubeOptions};
use crate::actors::tunnel::{Carrier, Deed, Of};
use crate::charts::tunnel::{Input, Reason};
use crate::rtc::DataPlane;
use crate::tunnel::signal::{Signal, SignalKind};
use crate::tunnel::signalled::Said;
use crate::tunnel::tube::{Sign, Tube};

/// A connection over which pings are answered at once, and nothing else goes.
#[derive(Clone)]
struct Idle {
    reports: Recipient<Of>,
    said: mpsc::UnboundedSender<Said>,
    pings: Arc<Mutex<u64>>,
    /// Nothing is answered any more.
    lost: Arc<AtomicBool>,
}

impl Idle {
    fn tell(&self, events: &[Input]) -> Deed {
        for event in events {
            self.reports.do_send(Of {
                generation: 1,
                event: event.clone(),
            });
        }
        ready(Ok(())).boxed_local()
    }
}

impl Carrier for Idle {
    fn open(&mut self, _: u64) -> Deed {
        self.tell(&[Input::Up])
    }

    fn offer(&mut self, _: u64) -> Deed {
        self.tell(&[])
    }

    fn rebuild(&mut self, _: u64) -> Deed {
        self.tell(&[])
    }

    fn answer(&mut self, _: u64, _: bool) -> Deed {
        self.tell(&[])
    }

    fn take_answer(&mut self, _: u64) -> Deed {
        self.tell(&[])
    }

    fn ask(&mut self, _: u64, _: bool) {}

    fn ping(&mut self, _: u64) {
        *self.pings.lock().unwrap() += 1;
        if self.lost.load(Ordering::SeqCst) {
            return;
        }
        drop(self.tell(&[Input::Heard, Input::Pong, Input::PeerPing]));
    }

    fn quiet(&self) -> (Duration, bool) {
        (crate::charts::tunnel::IDLE, false)
    }

    fn hold(&mut self, _: bool) {}

    fn close(&mut self, _: Reason) {
        self.said.send(Said::Gone).unwrap();
    }
}

impl Carries for Idle {
    fn hear(&self, _: Heard) -> Option<Of> {
        None
    }

    fn notice(&self, _: Sign) -> Of {
        unreachable!("its tube is carried by nothing")
    }
}

/// A manager that idles, and what it signals.
struct Scene {
    shared: Arc<Shared>,
    wishes: mpsc::UnboundedSender<Wish>,
    signals: std::sync::mpsc::Receiver<Signal>,
    pings: Arc<Mutex<u64>>,
    lost: Arc<AtomicBool>,
    began: SystemTime,
    _heard: mpsc::Sender<Heard>,
    _ending: watch::Sender<bool>,
    _plane: DataPlane,
}

impl Scene {
    fn begin() -> Self {
        let plane = DataPlane::start().unwrap();
        let (tube, signs) = Tube::new(&plane);
        let options = TubeOptions::new("tube-1", Role::Initiator);
        let shared = Arc::new(Shared::new(options, plane.clone(), tube));
        let (wishes, wished) = mpsc::unbounded_channel();
        let (heard, hears) = mpsc::channel(1);
        let (ending, ends) = watch::channel(false);
        let (tell, signals) = std::sync::mpsc::channel();
        let call = move |signal: &Signal| tell.send(signal.clone()).unwrap();
        shared.callbacks.add(Callback::Signal(Arc::new(call)));
        let inbox = Inbox {
            wishes: wished,
            heard: hears,
            signs,
            network: None,
        };
        let home = Home {
            telling: Telling::start().unwrap(),
            ending: ends,
            place: None,
        };
        let pings = Arc::new(Mutex::new(0));
        let lost = Arc::new(AtomicBool::new(false));
        let (pinged, is_lost) = (pings.clone(), lost.clone());
        actix::spawn(host(shared.clone(), inbox, home, move |reports, said| {
            Idle {
                reports,
                said,
                pings: pinged,
            }
        }));
        assert!(wishes.send(Wish::Start).is_ok());
        Scene {
            began: shared.metrics().last_activity,
            shared,
            wishes,
            signals,
            pings,
            lost,
            _heard: heard,
            _ending: ending,
            _plane: plane,
        }
    }

    /// The next signal, from the thread of the callbacks, which no clock steers.
    fn signal(&self) -> (SignalKind, String) {
        let signal = self.signals.recv_timeout(Duration::from_secs(60)).unwrap();
        (signal.kind, signal.data)
    }

    /// When it was last active, since it began.
    fn active(&self) -> f64 {
        let last = self.shared.metrics().last_activity;
        last.duration_since(self.began).unwrap().as_secs_f64()
    }

    fn state(&self) -> ConnectionState {
        *self.shared.state.borrow()
    }
}

fn on_paused_clock(test: impl Future<Output = ()>) {
    let system = System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    });
    system.block_on(test);
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// TUN-01, TUN-02, TUN-15: a connection over which nothing goes signals a keepalive every 5 minutes, each counts as activity, and
/// after 19 minutes and more it is still alive; its pings went on all the time.
#[test]
fn an_idle_connection_is_kept_alive() {
    on_paused_clock(async {
        let scene = Scene::begin();
        pass(1).await;
        for state in ["connecting", "connected"] {
            let changed = (SignalKind::ConnectionStateChanged, state.to_owned());
            assert_eq!(scene.signal(), changed);
        }
        pass(298).await;
        assert!(scene.active() < 0.1 && scene.signals.try_recv().is_err());
        for number in 1..=4_u32 {
            pass(if number == 1 { 2 } else { 300 }).await;
            assert_eq!(scene.signal(), (SignalKind::Keepalive, String::new()));
            let due = f64::from(number) * KEEPALIVE.as_secs_f64();
            assert!((scene.active() - due).abs() < 0.1, "{}", scene.active());
        }
        assert_eq!(scene.state(), ConnectionState::Connected);
        // Once in 6 s at least, for 20 minutes.
        assert!(*scene.pings.lock().unwrap() > 200);
        assert!(scene.signals.try_recv().is_err());
    });
}

/// Activity puts the keepalive off, and a manager that is not connected, or over, has none.
#[test]
fn only_who_is_idle_and_connected_is_kept_alive() {
    on_paused_clock(async {
        let scene = Scene::begin();
        pass(1).await;
        let _ = (scene.signal(), scene.signal());
        for _ in 0..10 {
            pass(290).await;
            scene.shared.activity.touch();
        }
        assert!(scene.signals.try_recv().is_err());
        pass(301).await;
        assert_eq!(scene.signal().0, SignalKind::Keepalive);
        scene.lost.store(true, Ordering::SeqCst);
        let lost = [Input::SignallingDown, Input::NetworkDown, Input::Gone];
        for event in lost {
            assert!(scene.wishes.send(Wish::Feed(event)).is_ok());
        }
        pass(1).await;
        assert_eq!(scene.state(), ConnectionState::Reconnecting);
        let before = scene.active();
        pass(500).await;
        assert!(scene.active() <= before);
        assert!(scene.wishes.send(Wish::Close).is_ok());
        pass(700).await;
        assert_eq!(scene.state(), ConnectionState::Terminated);
        let mut gone = scene.shared.gone.subscribe();
        gone.wait_for(|gone| *gone).await.unwrap();
        assert!(
            !scene
                .signals
                .iter()
                .any(|signal| signal.kind == SignalKind::Keepalive)
        );
    });
}
