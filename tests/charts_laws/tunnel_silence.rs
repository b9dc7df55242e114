//! How soon `tunnel` notices that nothing comes any more.

use std::collections::VecDeque;
use std::time::Duration;

use loaner::charts::tunnel::{Act, Input, Timer, Tunnel};
use loaner::charts::{Chart, Effect, Out};

/// Targets of the design: a loss is noticed within 3 s while data is on its way, within 7 s while none is.
#[test]
fn a_silent_path_is_noticed_in_time() {
    for (busy, bound) in [(true, 3.0), (false, 7.0)] {
        for phase in 0..20 {
            let broke = Duration::from_millis(200_000 + phase * 50);
            let seconds = notice(busy, broke).as_secs_f64();
            assert!(seconds <= bound, "busy {busy}: {seconds} s");
        }
    }
}

/// How long it takes from the last frame until something is done, when looks are answered as an actor answers them.
fn notice(busy: bool, broke: Duration) -> Duration {
    let mut chart = Tunnel::starts().remove(0);
    let mut out = Out::default();
    chart.begin(&mut out);
    let (mut now, mut due) = (Duration::ZERO, Vec::<(Duration, Timer)>::new());
    let up = [Input::Start, Input::Up, Input::Pong, Input::PeerPing];
    let mut todo: VecDeque<Input> = up.into();
    loop {
        let event = todo.pop_front().unwrap_or_else(|| {
            let next = (0..due.len()).min_by_key(|place| due[*place].0).unwrap();
            let (at, timer) = due.remove(next);
            now = at;
            Input::Fired(timer)
        });
        out.reset();
        chart.dispatch(&event, &mut out);
        for effect in out.effects() {
            match effect {
                Effect::Arm(timer, after) => {
                    due.retain(|(_, other)| other != timer);
                    due.push((now + *after, *timer));
                }
                Effect::Cancel(timer) => due.retain(|(_, other)| other != timer),
                // Frames come every 100 ms until the path breaks; a ping has its answer by then.
                Effect::Act(Act::Look) => {
                    let hundred = Duration::from_millis(100).as_millis();
                    let past = now.as_millis() % hundred;
                    let silent = match now.checked_sub(broke) {
                        Some(silent) => silent,
                        None => Duration::from_millis(u64::try_from(past).unwrap()),
                    };
                    todo.push_back(Input::Quiet { silent, busy });
                }
                Effect::Act(Act::Weigh) => return now - broke,
                Effect::Act(_) => {}
            }
        }
    }
}
