//! What `loaner status` says of a tunnel whose network fails.

use crate::LONG;
use crate::inside::run_inside;
use crate::machines::Scene;
use crate::program::until;

/// A tunnel whose packets get lost tells which attempt is made, what comes next and when, when it is given up, and what happens
/// then; and that it is well again, once it is.
#[test]
fn a_lost_connection_tells_what_is_tried() {
    run_inside(
        "status::a_lost_connection_tells_what_is_tried",
        async || {
            let mut scene = Scene::start();
            scene.hole(true);
            scene.tunnel.event("interrupted");
            let mut tries = Vec::new();
            until("an attempt, and the wait for the next", LONG, || {
                let tube = scene.status();
                assert_eq!(tube["state"], "reconnecting", "{tube}");
                let seconds = |name: &str| tube[name].as_f64();
                assert!(
                    seconds("gives_up_in").is_some_and(|left| left <= 600.0),
                    "{tube}"
                );
                assert!(
                    tube["then"].as_str().unwrap().contains("given up"),
                    "{tube}"
                );
                let doing = tube["doing"].as_str().unwrap().to_owned();
                if let Some(next) = tube["next"].as_str() {
                    assert!(
                        seconds("next_in").is_some_and(|left| left <= 60.0),
                        "{tube}"
                    );
                    tries.push((doing, tube["attempt"].as_u64(), next.to_owned()));
                }
                // Which attempt is made, or waited for.
                let of = |doing: &str, next: &str| -> Vec<u64> {
                    let tried = tries
                        .iter()
                        .filter(|tried| tried.0 == doing && tried.2 == next);
                    tried.filter_map(|tried| tried.1).collect()
                };
                let made = of(MAKING, WAITING);
                of(WAITING, MAKING).iter().any(|n| made.contains(&(n - 1)))
            });
            scene.hole(false);
            scene.tunnel.event_within(LONG, "connected");
            let tube = scene.status();
            assert_eq!(tube["doing"], "data goes both ways", "{tube}");
            assert!(tube.get("gives_up_in").is_none(), "{tube}");
        },
    );
}

const MAKING: &str = "making a new connection";
const WAITING: &str = "waiting before the next attempt";
