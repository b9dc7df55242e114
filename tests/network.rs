//! What is told of the network of a real system, and how it is watched.
//!
//! Each test runs in a network namespace of its own (`tests/interop/in-namespace`), where it may do to interfaces what it
//! likes. Where the system allows no namespace, the tests say so and are skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "network/inside.rs"]
mod inside;
#[allow(dead_code)]
#[path = "support/namespace.rs"]
mod namespace;
#[allow(dead_code)]
#[path = "support/program.rs"]
mod program;

use std::time::Instant;

use loaner::tunnel::network::{Network, NetworkChange, NetworkChangeKind, Reach, source_to};

use inside::{Scene, address, ip, ip_batch, netlink_sockets, run_inside};

/// The address that is there at first, on the interface `peers`.
const LOCAL: &str = "10.77.0.1";

fn touches(change: &NetworkChange, local: &str) -> bool {
    change.touches(address(local))
}

/// Whether another machine can be reached.
fn leads_out(network: &Network) -> bool {
    network.reach() > Reach::Nowhere
}

fn has_e1(names: &[String]) -> bool {
    names.iter().any(|name| name == "e1")
}

/// An interface that appears, goes up, goes down and disappears is told of each time, under the guide's name; and all of
/// it is minor for a connection that goes by another.
#[test]
fn interfaces_come_and_go() {
    run_inside("interfaces_come_and_go", async || {
        let mut scene = Scene::open().await;
        let mut heard = Vec::new();
        // In later rounds nothing else goes on that would have the network read.
        for _ in 0..3 {
            ip("link add e1 type veth peer name e1-end");
            heard.extend(scene.until(|change| has_e1(&change.appeared)).await);
            ip_batch(&["link set e1-end up", "link set e1 up"]);
            heard.extend(scene.until(|change| has_e1(&change.went_up)).await);
            ip("link set e1 down");
            heard.extend(scene.until(|change| has_e1(&change.went_down)).await);
            ip("link del e1");
            heard.extend(scene.until(|change| has_e1(&change.disappeared)).await);
        }
        for change in &heard {
            let interfaces = [
                &change.appeared, &change.went_up, &change.went_down, &change.disappeared,
            ];
            if interfaces.into_iter().any(|names| has_e1(names)) {
                assert_eq!(change.kind, NetworkChangeKind::InterfaceChange, "{change}");
            }
            assert!(!touches(change, LOCAL), "{change}");
        }
    });
}

/// The interface of a connection goes down, which is major: nothing can be sent. Up again, the network is restored.
#[test]
fn a_link_that_goes_down_leads_nowhere() {
    run_inside("a_link_that_goes_down_leads_nowhere", async || {
        let mut scene = Scene::open().await;
        assert!(leads_out(scene.network()));
        ip("link set peers down");
        let heard = scene.until(|change| !leads_out(change.after())).await;
        assert!(heard.iter().any(|change| touches(change, LOCAL)));
        ip("link set peers up");
        let heard = scene.until(|change| leads_out(change.after())).await;
        assert!(heard.last().unwrap().restored());
        // The cable's other end: only the carrier is gone.
        ip("link set peers-end down");
        let heard = scene.until(|change| !leads_out(change.after())).await;
        assert!(heard.iter().any(|change| touches(change, LOCAL)));
    });
}

/// A replaced address is an IP change: major for who used it, minor for who has the new one. A second address, though it
/// has a label of its own, is no new interface and touches nobody.
#[test]
fn an_address_is_replaced() {
    run_inside("an_address_is_replaced", async || {
        let mut scene = Scene::open().await;
        ip("address add 10.77.5.1/24 dev peers label peers:1");
        let heard = scene
            .until(|change| change.after().has(address("10.77.5.1")))
            .await;
        let second = heard.last().unwrap();
        assert_eq!(second.added, [("peers".to_owned(), address("10.77.5.1"))]);
        assert!(heard.iter().all(|change| !touches(change, LOCAL)));

        ip_batch(&[
            "address del 10.77.0.1/24 dev peers", "address add 10.77.0.2/24 dev peers",
        ]);
        let gone_and_come = scene
            .until(|change| change.after().has(address("10.77.0.2")))
            .await;
        assert!(gone_and_come.iter().any(|change| touches(change, LOCAL)));
        let minor = |local| move |change: &_| !touches(change, local);
        assert!(gone_and_come.iter().all(minor("10.77.0.2")));
        assert!(gone_and_come.iter().all(minor("10.77.5.1")));
        for change in heard.iter().chain(&gone_and_come) {
            assert_eq!(change.kind, NetworkChangeKind::IpChange, "{change}");
        }
    });
}

/// A default route that goes is major though every address stays, and back again the network is restored. So is one that
/// goes by another interface now.
#[test]
fn the_default_route_goes_and_comes_back() {
    run_inside("the_default_route_goes_and_comes_back", async || {
        let mut scene = Scene::open().await;
        let world = address("198.51.100.7");
        assert_eq!(scene.network().reach(), Reach::Near);
        assert_eq!(source_to(address("10.77.0.200")), Some(address(LOCAL)));
        assert_eq!(source_to(world), None);
        for _ in 0..2 {
            ip("route add default via 10.77.0.9 dev peers");
            let heard = scene
                .until(|change| change.after().reach() == Reach::Everywhere)
                .await;
            let back = heard.last().unwrap();
            assert!(back.restored() && touches(back, LOCAL), "{back}");
            assert_eq!(back.kind, NetworkChangeKind::IpChange);
            assert_eq!(source_to(world), Some(address(LOCAL)));

            ip("route del default");
            let heard = scene
                .until(|change| change.after().reach() == Reach::Near)
                .await;
            let gone = heard.last().unwrap();
            assert!(!gone.restored() && touches(gone, LOCAL), "{gone}");
            assert_eq!(source_to(world), None);
        }

        ip("route add default via 10.77.0.9 dev peers");
        scene
            .until(|change| change.after().reach() == Reach::Everywhere)
            .await;
        ip("link add e1 type veth peer name e1-end");
        ip_batch(&[
            "link set e1-end up", "link set e1 up", "address add 10.79.0.1/24 dev e1",
        ]);
        let heard = scene
            .until(|change| change.after().has(address("10.79.0.1")))
            .await;
        assert!(
            heard.iter().all(|change| !touches(change, LOCAL)),
            "{heard:?}"
        );
        ip("route replace default via 10.79.0.9 dev e1");
        let route = |change: &NetworkChange| {
            change
                .after()
                .ipv4_route
                .as_ref()
                .is_some_and(|route| route.interface == "e1")
        };
        let heard = scene.until(route).await;
        assert!(touches(heard.last().unwrap(), LOCAL));
    });
}

/// Interfaces of containers come and go, with addresses and routes of their own: told, and minor every time.
#[test]
fn containers_are_noise() {
    run_inside("containers_are_noise", async || {
        ip("route add default via 10.77.0.9 dev peers");
        let mut scene = Scene::open().await;
        for round in 0..5 {
            let name = format!("veth{round}");
            ip_batch(&[
                &format!("link add {name} type veth peer name end"),
                &format!("link set {name} up"),
                "link set end up",
                &format!("address add 172.17.{round}.1/24 dev {name}"),
                &format!("route add 172.18.0.0/16 via 172.17.{round}.2"),
            ]);
            let own = address(&format!("172.17.{round}.1"));
            let heard = scene.until(|change| change.after().has(own)).await;
            ip(&format!("link del {name}"));
            let more = scene
                .until(|change| change.disappeared.contains(&name))
                .await;
            assert!(
                more.iter().any(|change| change.touches(own)),
                "who used it is concerned"
            );
            for change in heard.iter().chain(&more) {
                assert!(!touches(change, LOCAL) && !change.restored(), "{change}");
            }
        }
    });
}

/// Fifty changes of address in a burst are told in a handful of changes, and the last of them is how it is then.
#[test]
fn a_burst_is_told_in_few() {
    run_inside("a_burst_is_told_in_few", async || {
        let mut scene = Scene::open().await;
        let mut commands = vec!["address del 10.77.0.1/24 dev peers".to_owned()];
        for host in 2..=51 {
            commands.push(format!("address add 10.77.0.{host}/24 dev peers"));
            if host < 51 {
                commands.push(format!("address del 10.77.0.{host}/24 dev peers"));
            }
        }
        let begun = Instant::now();
        ip_batch(&commands);
        let mut heard = scene
            .until(|change| change.after().has(address("10.77.0.51")))
            .await;
        // Each was told 250 ms after a message at least, however slowly the commands went.
        let most = begun.elapsed().as_millis() / 250 + 1;
        assert!(
            heard.len() as u128 <= most,
            "{} of at most {most}",
            heard.len()
        );
        let ours = |text: &str| text.starts_with("10.77.");
        let last = heard.pop().unwrap();
        let addresses = &last.after().interfaces["peers"].addresses;
        let left = addresses
            .iter()
            .map(ToString::to_string)
            .filter(|text| ours(text));
        assert_eq!(left.collect::<Vec<_>>(), ["10.77.0.51"]);
        scene.is_up_to_date().await;
    });
}

/// More messages than the socket holds while nobody has time to read them: some are lost, and what is told is true all
/// the same.
#[test]
fn lost_messages_do_no_harm() {
    run_inside("lost_messages_do_no_harm", async || {
        let mut scene = Scene::open().await;
        let held = scene.hold();
        let mut commands = Vec::new();
        for _ in 0..3000 {
            commands.push("address add 10.77.9.9/24 dev peers");
            commands.push("address del 10.77.9.9/24 dev peers");
        }
        commands.push("address add 10.77.0.7/24 dev peers");
        ip_batch(&commands);
        let lost: u64 = netlink_sockets().iter().map(|socket| socket.lost).sum();
        assert!(lost > 0, "the socket held them all, so this showed nothing");
        drop(held);
        scene
            .until(|change| change.after().has(address("10.77.0.7")))
            .await;
        assert_eq!(netlink_sockets().len(), 1, "it listens as before");
        scene.is_up_to_date().await;
    });
}

/// All listeners share one socket and one task. The last one that goes takes them along and leaves no descriptor; the next
/// one starts anew.
#[test]
fn nothing_is_left_of_the_last_listener() {
    run_inside("nothing_is_left_of_the_last_listener", async || {
        let Scene {
            plane,
            watcher,
            listener,
            ..
        } = Scene::open().await;
        let tasks = || plane.handle().metrics().num_alive_tasks();
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let second = watcher.clone().subscribe();
        assert_eq!((netlink_sockets().len(), tasks()), (1, 1));
        drop(listener);
        let with = descriptors();
        let third = watcher.subscribe();
        assert_eq!(
            (netlink_sockets().len(), tasks(), descriptors()),
            (1, 1, with)
        );
        drop((second, third));
        let gone = || netlink_sockets().is_empty() && tasks() == 0 && descriptors() < with;
        program::until("nothing is left", program::PATIENCE, gone);
        for _ in 0..100 {
            drop(watcher.subscribe());
        }
        program::until("nothing is left of a hundred", program::PATIENCE, gone);

        let mut scene = Scene::of(plane, watcher);
        ip("address add 10.77.0.7/24 dev peers");
        scene
            .until(|change| change.after().has(address("10.77.0.7")))
            .await;
    });
}

/// Without the system's messages, another address is told, by looking.
#[test]
fn polling_tells_the_same() {
    run_inside("polling_tells_the_same", async || {
        let mut scene = Scene::polling().await;
        assert!(netlink_sockets().is_empty());
        ip_batch(&[
            "address del 10.77.0.1/24 dev peers", "address add 10.77.0.2/24 dev peers",
        ]);
        let heard = scene
            .until(|change| change.after().has(address("10.77.0.2")))
            .await;
        assert!(heard.iter().any(|change| touches(change, LOCAL)));
    });
}
