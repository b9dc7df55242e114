//! The one generic actor, driven by a chart that exists for this alone: a lamp with two timers.

use std::time::{Duration, Instant};

use actix::prelude::*;
use loaner::actors::{ChartActor, Died, Feed, Perform, start};
use loaner::charts::{Bound, Chart, Out, StateSpec};

use super::clock::{Seen, feed, listener, observe, on_paused_clock, pass, seconds, settle};

/// A lamp: its timers make it blink, and it can be told anything.
#[derive(Debug, Clone, Default)]
struct Lamp {
    off: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Told {
    /// Start a timer, in tenths of a second.
    Arm(Timer, u64),
    /// Stop a timer.
    Cancel(Timer),
    /// Blink three times, with a timer in between.
    Blink,
    /// A timer fired.
    Fired(Timer),
    /// What nobody expects.
    Break,
    /// The end.
    Off,
}

impl AsRef<str> for Told {
    fn as_ref(&self) -> &str {
        match self {
            Told::Arm(..) => "Arm",
            Told::Cancel(_) => "Cancel",
            Told::Blink => "Blink",
            Told::Fired(_) => "Fired",
            Told::Break => "Break",
            Told::Off => "Off",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Red,
    Green,
}

#[derive(Debug, Clone, PartialEq)]
enum Light {
    Flash(Timer),
    Blink(u8),
    Break,
}

impl AsRef<str> for Light {
    fn as_ref(&self) -> &str {
        match self {
            Light::Flash(_) => "Flash",
            Light::Blink(_) => "Blink",
            Light::Break => "Break",
        }
    }
}

impl Chart for Lamp {
    const NAME: &'static str = "lamp";
    const ABOUT: &'static str = "A lamp.";
    type Input = Told;
    type Timer = Timer;
    type Act = Light;

    fn begin(&mut self, _: &mut Out<Timer, Light>) {}

    fn dispatch(&mut self, event: &Told, out: &mut Out<Timer, Light>) {
        match event {
            Told::Arm(timer, tenths) => out.arm(*timer, Duration::from_millis(tenths * 100)),
            Told::Cancel(timer) => out.cancel(*timer),
            Told::Blink => {
                out.act(Light::Blink(1));
                out.arm(Timer::Red, Duration::from_secs(1));
                out.act(Light::Blink(2));
                out.cancel(Timer::Red);
                out.act(Light::Blink(3));
            }
            // Each colour puts the other out.
            Told::Fired(Timer::Red) => {
                out.act(Light::Flash(Timer::Red));
                out.cancel(Timer::Green);
            }
            Told::Fired(Timer::Green) => {
                out.act(Light::Flash(Timer::Green));
                out.cancel(Timer::Red);
            }
            Told::Break => out.act(Light::Break),
            Told::Off => self.off = true,
        }
    }

    fn state(&self) -> &'static str {
        if self.off { "off" } else { "on" }
    }

    fn ancestors(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn states() -> &'static [StateSpec] {
        &[
            StateSpec {
                name: "on",
                about: "It is lit.",
                bound: Bound::Open("a lamp burns until it is put out"),
            },
            StateSpec {
                name: "off",
                about: "It is dark.",
                bound: Bound::Final,
            },
        ]
    }

    fn starts() -> Vec<Self> {
        vec![Lamp::default()]
    }

    fn alphabet() -> Vec<Told> {
        vec![Told::Blink, Told::Break, Told::Off]
    }

    fn timers() -> Vec<Timer> {
        vec![Timer::Red, Timer::Green]
    }

    fn fired(timer: Timer) -> Told {
        Told::Fired(timer)
    }

    fn timer_of(event: &Told) -> Option<Timer> {
        match event {
            Told::Fired(timer) => Some(*timer),
            _ => None,
        }
    }

    fn guard(&self, _: &Told) -> &'static str {
        ""
    }
}

struct Bulb(Seen<Light>);

impl Perform for Bulb {
    type Chart = Lamp;

    fn perform(&mut self, act: Light, _: &mut Context<ChartActor<Self>>) {
        assert!(act != Light::Break, "the lamp breaks");
        self.0.note(act);
    }
}

fn lamp(supervisor: Option<Recipient<Died>>) -> (Addr<ChartActor<Bulb>>, Seen<Light>) {
    let seen = Seen::new();
    let addr = start(Lamp::default(), Bulb(seen.clone()), "hall", supervisor);
    (addr, seen)
}

#[test]
fn a_timer_fires_once_when_it_is_due() {
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        feed(&lamp, Told::Arm(Timer::Red, 20)).await;
        pass(1.9).await;
        seen.is(&[]);
        pass(60.0).await;
        seen.is(&[(2.0, Light::Flash(Timer::Red))]);
    });
}

#[test]
fn a_cancelled_timer_never_fires() {
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        feed(&lamp, Told::Arm(Timer::Red, 20)).await;
        pass(1.9).await;
        feed(&lamp, Told::Cancel(Timer::Red)).await;
        pass(60.0).await;
        seen.is(&[]);
    });
}

#[test]
fn a_timer_cancelled_by_another_that_fires_at_the_same_moment_does_not_fire() {
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        feed(&lamp, Told::Arm(Timer::Red, 20)).await;
        feed(&lamp, Told::Arm(Timer::Green, 20)).await;
        pass(60.0).await;
        assert_eq!(seen.all().len(), 1, "{:?}", seen.all());
    });
}

/// Tells the lamp something at the moment that a timer which is armed after this call is due, and just before it.
fn tell_at(lamp: &Addr<ChartActor<Bulb>>, at: f64, told: Told) {
    let lamp = lamp.clone();
    let due = tokio::time::sleep(seconds(at));
    actix_rt::spawn(async move {
        due.await;
        lamp.do_send(Feed(told));
    });
}

#[test]
fn a_timer_cancelled_by_a_message_at_the_moment_that_it_is_due_does_not_fire() {
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        tell_at(&lamp, 2.0, Told::Cancel(Timer::Red));
        settle().await;
        feed(&lamp, Told::Arm(Timer::Red, 20)).await;
        pass(60.0).await;
        seen.is(&[]);
    });
}

#[test]
fn a_timer_armed_again_at_the_moment_that_it_is_due_fires_once_and_later() {
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        tell_at(&lamp, 2.0, Told::Arm(Timer::Red, 30));
        settle().await;
        feed(&lamp, Told::Arm(Timer::Red, 20)).await;
        pass(4.0).await;
        assert_eq!(observe(&lamp).await.timers, ["Red"]);
        pass(60.0).await;
        seen.is(&[(5.0, Light::Flash(Timer::Red))]);
    });
}

#[test]
fn arming_again_starts_the_timer_anew() {
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        for _ in 0..3 {
            feed(&lamp, Told::Arm(Timer::Red, 20)).await;
            pass(1.5).await;
        }
        pass(60.0).await;
        seen.is(&[(5.0, Light::Flash(Timer::Red))]);
        assert!(observe(&lamp).await.timers.is_empty());
    });
}

#[test]
fn effects_are_performed_in_their_order() {
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        feed(&lamp, Told::Blink).await;
        pass(60.0).await;
        seen.is(&[
            (0.0, Light::Blink(1)),
            (0.0, Light::Blink(2)),
            (0.0, Light::Blink(3)),
        ]);
    });
}

#[test]
fn an_actor_shows_its_state_and_its_timers() {
    on_paused_clock(async {
        let (lamp, _) = lamp(None);
        let shown = observe(&lamp).await;
        assert_eq!((shown.state, shown.timers.len()), ("on", 0));
        feed(&lamp, Told::Arm(Timer::Red, 20)).await;
        feed(&lamp, Told::Arm(Timer::Green, 10)).await;
        assert_eq!(observe(&lamp).await.timers, ["Green", "Red"]);
        feed(&lamp, Told::Cancel(Timer::Red)).await;
        assert_eq!(observe(&lamp).await.timers, ["Green"]);
    });
}

#[test]
fn an_actor_whose_chart_has_come_to_its_end_stops_and_its_timers_with_it() {
    on_paused_clock(async {
        let (supervisor, died) = deaths();
        let (lamp, seen) = lamp(Some(supervisor));
        feed(&lamp, Told::Arm(Timer::Red, 20)).await;
        feed(&lamp, Told::Off).await;
        settle().await;
        assert!(!lamp.connected());
        pass(60.0).await;
        seen.is(&[]);
        assert!(died.all().is_empty(), "an ordinary end is no death");
    });
}

#[test]
fn an_actor_that_panics_is_reported_to_its_supervisor() {
    on_paused_clock(async {
        let (supervisor, died) = deaths();
        let (lamp, _) = lamp(Some(supervisor));
        lamp.do_send(Feed(Told::Break));
        settle().await;
        assert!(!lamp.connected());
        assert_eq!(died.all(), [("lamp", "hall".to_owned(), "on")]);
    });
}

#[test]
fn an_actor_that_nobody_knows_any_more_goes_quietly() {
    on_paused_clock(async {
        let (supervisor, died) = deaths();
        let (lamp, _) = lamp(Some(supervisor));
        let gone = lamp.downgrade();
        drop(lamp);
        settle().await;
        assert!(gone.upgrade().is_none());
        assert!(died.all().is_empty(), "nobody was left to need it");
    });
}

#[test]
fn an_hour_of_timers_passes_in_a_moment() {
    let real = Instant::now();
    on_paused_clock(async {
        let (lamp, seen) = lamp(None);
        for _ in 0..3600 {
            feed(&lamp, Told::Arm(Timer::Red, 10)).await;
            pass(1.0).await;
        }
        assert_eq!(seen.all().len(), 3600);
    });
    assert!(
        real.elapsed() < Duration::from_secs(10),
        "{:?}",
        real.elapsed()
    );
}

/// A death, as it can be compared.
type Death = (&'static str, String, &'static str);

fn deaths() -> (Recipient<Died>, Seen<Death>) {
    listener(|died: Died| (died.chart, died.instance, died.state))
}
