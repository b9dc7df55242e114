//! Restarts when the network changes: two sides, each on a machine (a network namespace) of its own. Where the system allows
//! no namespace, the tests say so and are skipped.

use std::path::Path;

use serde_json::{Value, json};

use crate::coturn;
use crate::namespace::Net;
use crate::pair::attribute;
use crate::program::Process;
use crate::side::Side;

/// Three machines, and the sides on the outer two.
struct Scene {
    net: Net,
    sides: [Side; 2],
}

/// The side that made the first offer, and the other.
const NEAR: usize = 0;
const FAR: usize = 1;

impl Scene {
    /// Both in one network with the machine between them: 10.77.0.1 and 10.77.0.2.
    fn lan() -> Option<Scene> {
        let net = Net::new("relay/in-namespaces")?;
        for line in [
            "link add lan type bridge", "link set end1 master lan", "link set end2 master lan",
            "link set lan up",
        ] {
            ip(net.command(Path::new("ip")), line);
        }
        let mut scene = Scene::on(net);
        scene.replace_address(NEAR, "10.77.0.1");
        scene.replace_address(FAR, "10.77.0.2");
        scene.connect(&json!([]));
        Some(scene)
    }

    fn on(net: Net) -> Scene {
        let program = std::env::current_exe().unwrap();
        let sides = [NEAR, FAR].map(|end| Side::start(net.command_at(end, &program)));
        Scene { net, sides }
    }

    /// A connection of the two, with these servers.
    fn connect(&mut self, servers: &Value) {
        for end in [NEAR, FAR] {
            let with = json!({ "offers": end == NEAR, "servers": servers });
            self.sides[end].ask("open", with);
        }
        let offer = self.sides[NEAR].text("offer", "");
        let answer = self.sides[FAR].text("answer", &offer);
        self.sides[NEAR].ask("accept", answer);
        self.flows();
    }

    fn ip(&self, end: usize, arguments: &str) {
        ip(self.net.command_at(end, Path::new("ip")), arguments);
    }

    /// Gives a side another address instead of those that it has.
    fn replace_address(&self, end: usize, address: &str) {
        self.ip(end, "address flush dev peer");
        self.ip(end, &format!("address add {address}/24 dev peer"));
    }

    /// A restart that this side offers; its descriptions, the offer first.
    fn restart(&mut self, by: usize) -> [String; 2] {
        let offer = self.sides[by].text("restart", "");
        let answer = self.sides[1 - by].text("answer", &offer);
        self.sides[by].ask("accept", answer.as_str());
        [offer, answer]
    }

    /// Data goes to the other side and comes back.
    fn flows(&mut self) {
        self.sides[NEAR].ask("more", 50);
    }

    /// Everything that was sent has come, once and in order, and has come back.
    fn end(mut self) {
        let sent = self.sides[NEAR].ask("stop", Value::Null);
        assert_eq!(self.sides[FAR].ask("came", Value::Null), sent);
    }

    fn path(&mut self, end: usize) -> Value {
        self.sides[end].ask("path", Value::Null)
    }
}

fn ip(mut command: std::process::Command, arguments: &str) {
    // It is not in everybody's PATH.
    command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
    let output = command.args(arguments.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

/// After the address of one side was replaced, a restart moves data again, whichever side offers it: on the same channel,
/// in order, nothing lost or doubled, with other credentials on both sides, over the new address. The old one is not in the
/// descriptions any more. (What TUN-03 needs: new credentials, and data again. Who starts it is shown elsewhere.)
#[test]
fn data_moves_again_after_an_address_was_replaced() {
    let Some(mut scene) = Scene::lan() else {
        return;
    };
    let mut known: Vec<String> = Vec::new();
    let (mut near, mut far) = ("10.77.0.1".to_owned(), "10.77.0.2".to_owned());
    for (number, (moved, by)) in [(FAR, FAR), (FAR, NEAR), (NEAR, FAR), (NEAR, NEAR)]
        .into_iter()
        .enumerate()
    {
        let address = format!("10.77.0.{}", 10 + number);
        scene.replace_address(moved, &address);
        let old = match moved {
            NEAR => std::mem::replace(&mut near, address.clone()),
            _ => std::mem::replace(&mut far, address.clone()),
        };
        let descriptions = scene.restart(by);
        for (side, sdp) in [by, 1 - by].into_iter().zip(&descriptions) {
            let credentials = ["a=ice-ufrag:", "a=ice-pwd:"].map(|name| attribute(sdp, name));
            for new in credentials.map(str::to_owned) {
                assert!(!known.contains(&new), "{new}: {sdp}");
                known.push(new);
            }
            assert!(!sdp.contains(&format!(" {old} ")), "{sdp}");
            let is_listed = sdp.contains(&format!(" {address} "));
            assert_eq!(is_listed, side == moved, "{sdp}");
        }
        scene.flows();
        for (end, ours, theirs) in [(NEAR, &near, &far), (FAR, &far, &near)] {
            let path = scene.path(end);
            let starts = |key: &str, with: &str| {
                path[key].as_str().unwrap().starts_with(&format!("{with}:"))
            };
            assert!(starts("local", ours) && starts("remote", theirs), "{path}");
            assert_eq!([&path["relayed"], &path["timed"]], [false, true], "{path}");
        }
    }
    scene.end();
}

/// A side that changes from one interface to another, with another address, goes on after a restart.
#[test]
fn data_moves_again_on_another_interface() {
    let Some(mut scene) = Scene::lan() else {
        return;
    };
    for (number, by) in [NEAR, FAR].into_iter().enumerate() {
        let (old, new) = [("peer", "other"), ("other", "third")][number];
        let holder = scene.net.end(FAR);
        let add = format!("link add {new}s type veth peer name {new} netns {holder}");
        for line in [
            &add,
            &format!("link set {new}s master lan"),
            &format!("link set {new}s up"),
        ] {
            ip(scene.net.command(Path::new("ip")), line);
        }
        scene.ip(
            FAR,
            &format!("address add 10.77.0.{}/24 dev {new}", 30 + number),
        );
        scene.ip(FAR, &format!("link set {new} up"));
        scene.ip(FAR, &format!("address flush dev {old}"));
        scene.ip(FAR, &format!("link set {old} down"));
        scene.restart(by);
        scene.flows();
    }
    scene.end();
}

/// An offer of a restart whose answer never comes, because the network changed once more, may be made again.
#[test]
fn data_moves_again_though_an_answer_never_came() {
    let Some(mut scene) = Scene::lan() else {
        return;
    };
    scene.replace_address(FAR, "10.77.0.3");
    scene.sides[NEAR].text("restart", "");
    scene.replace_address(FAR, "10.77.0.4");
    // This one comes, but its answer does not.
    let offer = scene.sides[NEAR].text("restart", "");
    scene.sides[FAR].text("answer", &offer);
    scene.replace_address(FAR, "10.77.0.5");
    scene.restart(NEAR);
    scene.flows();
    scene.end();
}

/// Ten changes of address with a restart each leave no descriptor behind, on neither side.
#[test]
fn ten_restarts_leave_nothing_behind() {
    let Some(mut scene) = Scene::lan() else {
        return;
    };
    let open =
        |scene: &mut Scene| [NEAR, FAR].map(|end| scene.sides[end].ask("descriptors", Value::Null));
    let before = open(&mut scene);
    for number in 0..10 {
        scene.replace_address(FAR, &format!("10.77.0.{}", 100 + number));
        scene.restart(number % 2);
        scene.flows();
    }
    assert_eq!(open(&mut scene), before);
    scene.end();
}

/// A connection by relay is told as one, and is restarted by relay, also from another address: the ends reach each other in no
/// other way.
#[test]
fn a_relayed_connection_is_restarted_by_relay() {
    let Some(turnserver) = coturn::program() else {
        return;
    };
    let Some(net) = Net::new("relay/in-namespaces") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut turn = net.command(&turnserver);
    // As if the ends were behind NAT: their own addresses lead nowhere, so each needs the other's relay.
    turn.arg("--denied-peer-ip=10.78.1.0-10.78.2.255");
    let _turn: Process = coturn::start(turn, "10.78.0.1", 3478, dir.path());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let username = &format!("{}:loaner", now.unwrap().as_secs() + 3600);
    let servers = json!([{
        "url": "turn:10.78.0.1:3478",
        "username": username,
        "credential": coturn::credential(username),
    }]);
    let mut scene = Scene::on(net);
    scene.connect(&servers);
    for by in [NEAR, FAR] {
        let path = scene.path(NEAR);
        assert_eq!(path["relayed"], true, "{path}");
        scene.restart(by);
        scene.flows();
        assert_ne!(scene.path(NEAR)["local"], path["local"]);
    }
    scene.replace_address(FAR, "10.78.2.9");
    scene.ip(FAR, "route replace 10.78.0.1/32 via 10.78.2.1");
    scene.restart(NEAR);
    scene.flows();
    let path = scene.path(FAR);
    assert_eq!(path["relayed"], true, "{path}");
    scene.end();
}
