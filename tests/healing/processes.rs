//! What happens to the processes.

use std::io::{Read as _, Write as _};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::LONG;
use crate::echo::Echo;
use crate::inside::run_inside;
use crate::machines::Scene;
use crate::program::{PATIENCE, Process};

/// How long a process is frozen.
const FROZEN: Duration = Duration::from_secs(20);

fn freeze(process: &Process) {
    process.signal(Signal::SIGSTOP);
    sleep(FROZEN);
    process.signal(Signal::SIGCONT);
}

/// A worker that stands still for 20 s, as one whose machine sleeps, is missed; the stream goes on when it does.
#[test]
fn a_stream_survives_that_the_worker_is_frozen() {
    run_inside(
        "processes::a_stream_survives_that_the_worker_is_frozen",
        async || {
            let mut scene = Scene::start();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            freeze(&scene.worker);
            scene.tunnel.event("interrupted");
            scene.tunnel.event_within(LONG, "connected");
            echo.more(500_000, LONG);
            echo.end();
        },
    );
}

/// A client that stands still for 20 s goes on with its stream.
#[test]
fn a_stream_survives_that_the_client_is_frozen() {
    run_inside(
        "processes::a_stream_survives_that_the_client_is_frozen",
        async || {
            let mut scene = Scene::start();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            freeze(&scene.tunnel);
            // More than all that was on its way.
            echo.more(50_000_000, LONG);
            echo.end();
        },
    );
}

/// A client whose address is replaced while the hub is away comes back when the hub does.
#[test]
fn a_stream_survives_that_the_hub_is_away_when_the_address_is_replaced() {
    run_inside(
        "processes::a_stream_survives_that_the_hub_is_away_when_the_address_is_replaced",
        async || {
            let mut scene = Scene::start();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            scene.hub.kill();
            // It is not needed as long as nothing happens.
            echo.more(5_000_000, LONG);
            scene.client.replace_address("10.77.0.3");
            scene.tunnel.event("interrupted");
            scene.start_hub_again();
            scene.tunnel.event_within(LONG, "connected");
            echo.more(500_000, LONG);
            echo.end();
        },
    );
}

/// A worker that was killed and started again knows nothing of the streams: they are reset, with the reason, the loss is told,
/// and the next connection to the same port goes through.
#[test]
fn a_worker_that_is_killed_resets_streams_and_is_connected_again() {
    run_inside(
        "processes::a_worker_that_is_killed_resets_streams_and_is_connected_again",
        async || {
            let mut scene = Scene::start();
            let mut stream = scene.connect();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            scene.worker.kill();
            scene.start_worker_again();
            scene.tunnel.event_within(LONG, "lost");
            // The program at the client's end does not take it for the end of the stream.
            let ended = scene.program_ends(0);
            assert!(!ended.success(), "{ended}");
            scene.tunnel.event_within(LONG, "connected");
            let echo = Echo::start(scene.connect());
            echo.more(500_000, PATIENCE);
            echo.end();
            let closed = &scene.tunnel.events("closed")[0];
            assert_eq!(closed["reason"], "lost", "{closed}");
            assert!(closed["message"].is_string(), "{closed}");
        },
    );
}
