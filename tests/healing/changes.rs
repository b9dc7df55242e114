//! What befalls networks and processes: the rows of the matrix.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::inside::ip;
use crate::machines::Scene;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The client's address is replaced.
    AddressReplaced,
    /// The client's link is down for so many seconds.
    LinkDown(u64),
    /// The client goes on over another interface, with another address and another way to the hub.
    InterfaceSwitched,
    /// The addresses of client and worker are replaced at once.
    BothSides,
    /// The client's address is replaced while the hub is away.
    AddressWithoutHub,
    /// The hub is killed and started again.
    HubRestarted,
    /// The client's process is frozen for so many seconds.
    ClientFrozen(u64),
    /// The worker's process is.
    WorkerFrozen(u64),
    /// The client's only route is gone for so many seconds; its address stays.
    RouteGone(u64),
}

impl Change {
    /// Machines to which it can happen.
    pub fn scene(self) -> Scene {
        match self {
            Change::BothSides => Scene::start_apart(),
            Change::RouteGone(_) => {
                let scene = Scene::start();
                scene.client.ip("route add default dev peers-end");
                scene.client.ip("route del 10.77.0.0/24");
                scene
            }
            _ => Scene::start(),
        }
    }

    /// Whether a job is given up for it.
    pub fn is_too_long(self) -> bool {
        matches!(self, Change::LinkDown(90..))
    }

    /// It happens, to the process of this id where it is the client's that it happens to.
    pub fn befalls(self, scene: &mut Scene, client: i32) {
        match self {
            Change::AddressReplaced => scene.client.replace_address("10.77.0.3"),
            Change::LinkDown(seconds) => {
                scene.client.link(false);
                sleep(Duration::from_secs(seconds));
                scene.client.link(true);
            }
            Change::InterfaceSwitched => {
                ip("link add others type veth peer name others-end");
                ip("address add 10.78.0.1/24 dev others");
                ip("link set others up");
                scene.client.plug("others-end", "10.78.0.2");
                scene.client.ip("route add default via 10.78.0.1");
                scene.client.link(false);
            }
            Change::BothSides => {
                scene.replace_worker_address("10.77.0.5");
                scene.client.replace_address("10.77.0.6");
            }
            Change::AddressWithoutHub => {
                scene.hub.kill();
                scene.client.replace_address("10.77.0.3");
                sleep(Duration::from_secs(5));
                scene.start_hub_again();
            }
            Change::HubRestarted => {
                scene.hub.kill();
                scene.start_hub_again();
            }
            Change::ClientFrozen(seconds) => freeze(client, seconds),
            Change::WorkerFrozen(seconds) => freeze(scene.worker.id(), seconds),
            Change::RouteGone(seconds) => {
                scene.client.ip("route del default");
                sleep(Duration::from_secs(seconds));
                scene.client.ip("route add default dev peers-end");
            }
        }
    }
}

fn freeze(process: i32, seconds: u64) {
    let process = Pid::from_raw(process);
    kill(process, Signal::SIGSTOP).unwrap();
    sleep(Duration::from_secs(seconds));
    kill(process, Signal::SIGCONT).unwrap();
}
