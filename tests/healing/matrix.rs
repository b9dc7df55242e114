//! Whatever happens, and whatever is under way: no byte and no line is lost or doubled.
//!
//! What takes minutes, or shows what another cell of its column shows, is tried where `LOANER_MATRIX=full` is set.

use std::env;
use std::io::Write as _;
use std::time::Duration;

use crate::LONG;
use crate::changes::Change;
use crate::echo::Echo;
use crate::inside::{is_inside, run_inside};
use crate::job::{Job, Logs, are_lines};
use crate::machines::Scene;

/// When a cell is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    Always,
    InFull,
}

fn cell(name: &str, load: fn(Change), change: Change, tried: Tried) {
    let name = format!("matrix::{name}");
    if tried == Tried::Always || is_full(&name) {
        run_inside(&name, async || load(change));
    }
}

/// Whether a test is tried that takes minutes.
pub fn is_full(name: &str) -> bool {
    let full = env::var_os("LOANER_MATRIX").is_some_and(|matrix| matrix == "full");
    if !full && !is_inside() {
        // Past the capture of the test's output: who reads that a test passed has to see that it did not run.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {name} needs LOANER_MATRIX=full"
        );
    }
    full || is_inside()
}

/// A test for each: its name, what happens, and when it is tried.
macro_rules! cells {
    ($($load:ident { $($name:ident: $change:expr, $tried:ident;)* })*) => {
        $($(
            #[test]
            fn $name() {
                cell(stringify!($name), $load, $change, Tried::$tried);
            }
        )*)*
    };
}

cells! {
    idle {
        a_waiting_job_when_the_address_is_replaced: Change::AddressReplaced, InFull;
        a_waiting_job_when_the_link_is_down_for_3_s: Change::LinkDown(3), InFull;
        a_waiting_job_when_the_link_is_down_for_20_s: Change::LinkDown(20), InFull;
        a_waiting_job_when_the_link_is_down_for_60_s: Change::LinkDown(60), InFull;
        a_waiting_job_when_the_link_is_down_for_120_s: Change::LinkDown(120), InFull;
        a_waiting_job_when_the_interface_is_another: Change::InterfaceSwitched, Always;
        a_waiting_job_when_both_addresses_are_replaced: Change::BothSides, InFull;
        a_waiting_job_when_the_address_is_replaced_without_a_hub: Change::AddressWithoutHub, InFull;
        a_waiting_job_when_the_hub_is_restarted: Change::HubRestarted, InFull;
        a_waiting_job_when_the_client_is_frozen: Change::ClientFrozen(45), InFull;
        a_waiting_job_when_the_worker_is_frozen: Change::WorkerFrozen(45), InFull;
        a_waiting_job_when_the_route_is_gone: Change::RouteGone(5), InFull;
    }
    sending {
        a_package_when_the_address_is_replaced: Change::AddressReplaced, Always;
        a_package_when_the_link_is_down_for_3_s: Change::LinkDown(3), InFull;
        a_package_when_the_link_is_down_for_20_s: Change::LinkDown(20), InFull;
        a_package_when_the_link_is_down_for_60_s: Change::LinkDown(60), InFull;
        a_package_when_the_link_is_down_for_120_s: Change::LinkDown(120), InFull;
        a_package_when_the_interface_is_another: Change::InterfaceSwitched, InFull;
        a_package_when_both_addresses_are_replaced: Change::BothSides, InFull;
        a_package_when_the_address_is_replaced_without_a_hub: Change::AddressWithoutHub, InFull;
        a_package_when_the_hub_is_restarted: Change::HubRestarted, InFull;
        a_package_when_the_client_is_frozen: Change::ClientFrozen(45), InFull;
        a_package_when_the_worker_is_frozen: Change::WorkerFrozen(45), InFull;
        a_package_when_the_route_is_gone: Change::RouteGone(5), InFull;
    }
    returning {
        results_when_the_address_is_replaced: Change::AddressReplaced, InFull;
        results_when_the_link_is_down_for_3_s: Change::LinkDown(3), InFull;
        results_when_the_link_is_down_for_20_s: Change::LinkDown(20), InFull;
        results_when_the_link_is_down_for_60_s: Change::LinkDown(60), InFull;
        results_when_the_link_is_down_for_120_s: Change::LinkDown(120), InFull;
        results_when_the_interface_is_another: Change::InterfaceSwitched, InFull;
        results_when_both_addresses_are_replaced: Change::BothSides, Always;
        results_when_the_address_is_replaced_without_a_hub: Change::AddressWithoutHub, InFull;
        results_when_the_hub_is_restarted: Change::HubRestarted, InFull;
        results_when_the_client_is_frozen: Change::ClientFrozen(45), InFull;
        results_when_the_worker_is_frozen: Change::WorkerFrozen(45), InFull;
        results_when_the_route_is_gone: Change::RouteGone(5), InFull;
    }
    printing {
        lines_when_the_address_is_replaced: Change::AddressReplaced, InFull;
        lines_when_the_link_is_down_for_3_s: Change::LinkDown(3), InFull;
        lines_when_the_link_is_down_for_20_s: Change::LinkDown(20), InFull;
        lines_when_the_link_is_down_for_60_s: Change::LinkDown(60), InFull;
        lines_when_the_link_is_down_for_120_s: Change::LinkDown(120), InFull;
        lines_when_the_interface_is_another: Change::InterfaceSwitched, InFull;
        lines_when_both_addresses_are_replaced: Change::BothSides, InFull;
        lines_when_the_address_is_replaced_without_a_hub: Change::AddressWithoutHub, Always;
        lines_when_the_hub_is_restarted: Change::HubRestarted, InFull;
        lines_when_the_client_is_frozen: Change::ClientFrozen(45), InFull;
        lines_when_the_worker_is_frozen: Change::WorkerFrozen(45), InFull;
        lines_when_the_route_is_gone: Change::RouteGone(5), Always;
    }
    tunnel {
        a_stream_when_the_link_is_down_for_60_s: Change::LinkDown(60), InFull;
        a_stream_when_the_link_is_down_for_120_s: Change::LinkDown(120), InFull;
        a_stream_when_the_hub_is_restarted: Change::HubRestarted, InFull;
        a_stream_when_the_client_is_frozen_for_45_s: Change::ClientFrozen(45), InFull;
        a_stream_when_the_worker_is_frozen_for_45_s: Change::WorkerFrozen(45), InFull;
        a_stream_when_the_route_is_gone: Change::RouteGone(5), InFull;
    }
}

/// A job that only runs: it is still the client's, which hears of its end.
fn idle(change: Change) {
    let mut scene = change.scene();
    let mut job = Job::waiting(&scene);
    change.befalls(&mut scene, job.run.id());
    if change.is_too_long() {
        return given_up(&scene, job);
    }
    job.open_gate();
    job.is_done();
    assert_eq!(job.shown(), "begun\n");
}

/// A package: the worker has it as it was.
fn sending(change: Change) {
    let mut scene = change.scene();
    let mut job = Job::sending(&scene);
    change.befalls(&mut scene, job.run.id());
    if change.is_too_long() {
        return given_up(&scene, job);
    }
    job.is_done();
    job.arrived();
}

/// Results: the client has them as they were.
fn returning(change: Change) {
    let mut scene = change.scene();
    let mut job = Job::returning(&scene);
    change.befalls(&mut scene, job.run.id());
    if change.is_too_long() {
        return given_up(&scene, job);
    }
    job.is_done();
    job.returned();
}

/// Lines: who runs the job is shown each once, and so is who follows its log.
fn printing(change: Change) {
    let mut scene = change.scene();
    let mut job = Job::printing(&scene);
    let mut logs = Logs::follow(&scene);
    job.more(200, LONG);
    change.befalls(&mut scene, job.run.id());
    if change.is_too_long() {
        let shown = job.shown();
        given_up(&scene, job);
        let log = logs.end();
        assert!(log.starts_with(&shown), "{shown}");
        assert!(are_lines(&log) > are_lines(&shown));
        return;
    }
    job.more(200, LONG);
    job.ends();
    assert_eq!(logs.end(), job.shown());
}

/// A stream through a tunnel, which has no job's patience.
fn tunnel(change: Change) {
    let mut scene = change.scene();
    let echo = Echo::start(scene.connect());
    echo.more(500_000, LONG);
    let client = scene.tunnel.id();
    change.befalls(&mut scene, client);
    // More than all that was on its way.
    echo.more(50_000_000, LONG);
    echo.end();
    let lost = scene.tunnel.events("lost");
    assert!(lost.is_empty(), "{}", scene.tunnel.story());
}

/// A job whose client was away for too long is stopped: the client says so, and the worker takes the next.
fn given_up(scene: &Scene, mut job: Job) {
    job.run.event_within(Duration::from_secs(1), "path_suspect");
    job.run.ends_with(5);
    Job::printing(scene).ends();
}
