//! What happens to the network.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::LONG;
use crate::echo::Echo;
use crate::inside::{ip, run_inside};
use crate::machines::Scene;

/// A client whose address is replaced under a connection goes on with it: no byte is lost or doubled, as often as it
/// happens.
#[test]
fn a_stream_survives_that_the_address_is_replaced() {
    run_inside(
        "network::a_stream_survives_that_the_address_is_replaced",
        async || {
            let mut scene = Scene::start();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            for address in ["10.77.0.3", "10.77.0.4", "10.77.0.2"] {
                scene.client.replace_address(address);
                scene.tunnel.event("interrupted");
                scene.tunnel.event_within(LONG, "connected");
                echo.more(500_000, LONG);
            }
            let longest = echo.end();
            println!("the longest time without a byte: {longest:?}");
        },
    );
}

/// A link that is down for a while, and comes back with the same address, is waited for.
#[test]
fn a_stream_survives_that_the_link_is_down() {
    run_inside(
        "network::a_stream_survives_that_the_link_is_down",
        async || {
            let mut scene = Scene::start();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            scene.client.link(false);
            scene.tunnel.event("interrupted");
            scene.client.link(true);
            scene.tunnel.event_within(LONG, "connected");
            echo.more(500_000, LONG);
            echo.end();
        },
    );
}

/// One that is down for 20 s is waited for as well.
#[test]
fn a_stream_survives_that_the_link_is_down_for_long() {
    run_inside(
        "network::a_stream_survives_that_the_link_is_down_for_long",
        async || {
            let mut scene = Scene::start();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            scene.client.link(false);
            sleep(Duration::from_secs(20));
            scene.client.link(true);
            scene.tunnel.event("interrupted");
            scene.tunnel.event_within(LONG, "connected");
            echo.more(500_000, LONG);
            echo.end();
        },
    );
}

/// Packets that get lost for 8 s, of which no system tells anything, are noticed as silence; the stream goes on behind it.
#[test]
fn a_stream_survives_a_silent_hole() {
    run_inside("network::a_stream_survives_a_silent_hole", async || {
        let mut scene = Scene::start();
        let echo = Echo::start(scene.connect());
        echo.more(500_000, LONG);
        let begun = Instant::now();
        scene.hole(true);
        scene.tunnel.event("interrupted");
        sleep(Duration::from_secs(8).saturating_sub(begun.elapsed()));
        scene.hole(false);
        scene.tunnel.event_within(LONG, "connected");
        echo.more(500_000, LONG);
        echo.end();
    });
}

/// A client that changes from one interface to another, with another address and another way to the hub, goes on.
#[test]
fn a_stream_survives_that_the_interface_is_another() {
    run_inside(
        "network::a_stream_survives_that_the_interface_is_another",
        async || {
            let mut scene = Scene::start();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            ip("link add others type veth peer name others-end");
            ip("address add 10.78.0.1/24 dev others");
            ip("link set others up");
            scene.client.plug("others-end", "10.78.0.2");
            scene.client.ip("route add default via 10.78.0.1");
            scene.client.link(false);
            scene.tunnel.event("interrupted");
            scene.tunnel.event_within(LONG, "connected");
            echo.more(500_000, LONG);
            echo.end();
        },
    );
}

/// Worker and client go on that both get other addresses at the same time: the worker notices at once that the hub may have
/// lost it, where the client looks for it.
#[test]
fn a_stream_survives_that_both_addresses_are_replaced() {
    run_inside(
        "network::a_stream_survives_that_both_addresses_are_replaced",
        async || {
            let mut scene = Scene::start_apart();
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            ip("address flush dev lan");
            scene.client.replace_address("10.77.0.6");
            ip("address add 10.77.0.5/24 dev lan");
            scene.tunnel.event("interrupted");
            // The worker finds back to the hub, without waiting for its socket to be silent for a minute.
            scene.worker.event_within(LONG, "hub_lost");
            let story = scene.worker.story();
            assert!(story.contains("after the network changed"), "{story}");
            scene.tunnel.event_within(LONG, "connected");
            echo.more(500_000, LONG);
            echo.end();
        },
    );
}

/// A route that comes and goes, and that nobody needs, does not interrupt anything.
#[test]
fn a_default_route_may_come_and_go() {
    run_inside("network::a_default_route_may_come_and_go", async || {
        let mut scene = Scene::start();
        let echo = Echo::start(scene.connect());
        echo.more(500_000, LONG);
        for _ in 0..3 {
            for what in ["add", "del"] {
                scene
                    .client
                    .ip(&format!("route {what} default via 10.77.0.1"));
                echo.more(10_000_000, LONG);
            }
        }
        echo.end();
        assert!(
            scene.tunnel.events("interrupted").is_empty(),
            "{}",
            scene.tunnel.story()
        );
    });
}

/// A tunnel through which nothing goes heals as well: a connection that is made through it right after the address was
/// replaced goes through.
#[test]
fn an_idle_tunnel_works_after_the_address_is_replaced() {
    run_inside(
        "network::an_idle_tunnel_works_after_the_address_is_replaced",
        async || {
            let mut scene = Scene::start();
            scene.client.replace_address("10.77.0.3");
            let echo = Echo::start(scene.connect());
            echo.more(500_000, LONG);
            echo.end();
            assert!(
                scene.tunnel.events("lost").is_empty(),
                "{}",
                scene.tunnel.story()
            );
        },
    );
}
