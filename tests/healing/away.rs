//! What the two sides do while the way between them is lost.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::LONG;
use crate::inside::run_inside;
use crate::job::Job;
use crate::machines::Scene;
use crate::matrix::is_full;
use crate::program::{PATIENCE, until};

/// A job that prints, whose client cannot be reached any more and knows it. The hub can be reached from both.
fn lost(scene: &Scene) -> Job {
    let mut job = Job::printing(scene);
    scene.hole(true);
    job.run.event("path_suspect");
    job
}

/// Ctrl+C while the way to the worker is lost: the job is cancelled over the hub, and the worker is there for the next before
/// it would have given the client up.
#[test]
fn a_client_that_is_interrupted_meanwhile_cancels_its_job() {
    run_inside(
        "away::a_client_that_is_interrupted_meanwhile_cancels_its_job",
        async || {
            let mut scene = Scene::start_apart();
            let mut job = lost(&scene);
            job.run.signal(Signal::SIGINT);
            job.run.event("cancelling");
            job.run.ends_with(130);
            let ended = scene.worker.event("job_ended");
            assert_eq!(ended["outcome"], "cancelled", "{ended}");
            scene.hole(false);
            Job::printing(&scene).ends();
        },
    );
}

/// A job that ends while the way is lost: its client is shown all of it, and hears how it ended.
#[test]
fn a_job_that_ends_meanwhile_is_whole_for_its_client() {
    run_inside(
        "away::a_job_that_ends_meanwhile_is_whole_for_its_client",
        async || {
            let scene = Scene::start();
            let mut job = Job::printing(&scene);
            scene.client.link(false);
            job.run.event("path_suspect");
            job.open_gate();
            job.has_printed();
            scene.client.link(true);
            job.ends();
        },
    );
}

/// A job that prints megabytes while the way is lost is not held up for its client, which is shown all of it afterwards.
#[test]
fn a_job_that_is_loud_meanwhile_is_heard_afterwards() {
    run_inside(
        "away::a_job_that_is_loud_meanwhile_is_heard_afterwards",
        async || {
            let scene = Scene::start();
            let mut job = Job::loud(&scene);
            scene.client.link(false);
            job.run.event("path_suspect");
            until("the worker misses the client", PATIENCE, || {
                scene
                    .worker
                    .story()
                    .contains("the path to the client is gone")
            });
            job.open_gate();
            job.has_printed();
            scene.client.link(true);
            job.is_done();
            job.was_heard();
        },
    );
}

/// A job that is cancelled from elsewhere while the way is lost is over for its client, too.
#[test]
fn a_job_that_is_cancelled_meanwhile_is_over_for_its_client() {
    run_inside(
        "away::a_job_that_is_cancelled_meanwhile_is_over_for_its_client",
        async || {
            let mut scene = Scene::start();
            let mut job = Job::printing(&scene);
            scene.client.link(false);
            job.run.event("path_suspect");
            scene.at_worker("user", &["cancel"]).ends_with(0);
            let ended = scene.worker.event("job_ended");
            assert_eq!(ended["outcome"], "cancelled", "{ended}");
            // The worker waits for nobody.
            let status = scene.worker.event("status");
            assert_eq!(status["status"], "available", "{status}");
            // What the hub said meanwhile to the old address is lost.
            scene.client.replace_address("10.77.0.3");
            scene.client.link(true);
            job.run.ends_with(6);
            let story = job.run.story();
            assert!(story.contains("it was cancelled"), "{story}");
        },
    );
}

/// The hub goes while the way is lost: both are waited for, whichever comes back first.
#[test]
fn a_hub_that_goes_meanwhile_is_waited_for() {
    run_inside(
        "away::a_hub_that_goes_meanwhile_is_waited_for",
        async || {
            let mut scene = Scene::start_apart();
            let mut job = lost(&scene);
            scene.hub.kill();
            job.run.event("hub_lost");
            scene.start_hub_again();
            scene.worker.event_within(LONG, "hub_lost");
            scene.hole(false);
            job.run.event_within(LONG, "path_recovered");
            job.more(200, LONG);
            job.ends();
        },
    );
}

/// A worker that ends while the way is lost waits for nobody; its client hears of it over the hub.
#[test]
fn a_worker_that_ends_meanwhile_tells_its_client() {
    run_inside(
        "away::a_worker_that_ends_meanwhile_tells_its_client",
        async || {
            let mut scene = Scene::start_apart();
            let mut job = lost(&scene);
            scene.worker.leave();
            job.run.ends_with(6);
            let story = job.run.story();
            assert!(story.contains("shut"), "{story}");
        },
    );
}

/// One that is killed can tell nobody: the client gives it up when its patience is over.
#[test]
fn a_worker_that_is_killed_meanwhile_is_given_up() {
    let name = "away::a_worker_that_is_killed_meanwhile_is_given_up";
    if !is_full(name) {
        return;
    }
    run_inside(name, async || {
        let mut scene = Scene::start_apart();
        let mut job = lost(&scene);
        scene.worker.kill();
        let error = job.run.event_within(Duration::from_secs(150), "error");
        assert_eq!(error["code"], 5, "{error}");
        job.run.ends_with(5);
    });
}
