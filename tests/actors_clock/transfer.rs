//! The actor of `transfer`, with a stream that only reports.

use std::path::PathBuf;

use actix::prelude::*;
use loaner::actors::transfer::{Direction, Milestones, TransferActor, TransferEnded, transfer};
use loaner::charts::transfer::Input;

use super::clock::{Seen, feed, listener, on_paused_clock, pass, settle};

type End = Result<PathBuf, String>;

fn begin() -> (Addr<TransferActor>, Milestones, Seen<End>) {
    let (owner, ended) = listener(|ended: TransferEnded| ended.result);
    let (actor, milestones) = transfer(owner, Direction::In, "package", None);
    (actor, milestones, ended)
}

fn stalled() -> End {
    Err("the transfer stalled or was stopped".to_owned())
}

/// The stream is told to stop, and the owner that there is no file, 120 s after the last bytes.
#[test]
fn a_stream_without_progress_is_stopped_after_120_s() {
    on_paused_clock(async {
        let (actor, milestones, ended) = begin();
        pass(5.0).await;
        milestones.started();
        for _ in 0..300 {
            pass(1.0).await;
            milestones.progressed();
        }
        pass(119.9).await;
        ended.is(&[]);
        assert!(actor.connected());
        milestones.stopped().await;
        settle().await;
        ended.is(&[(425.0, stalled())]);
        assert!(!actor.connected());
    });
}

/// A slow disk has its 120 s from the end of the bytes on.
#[test]
fn verifying_has_120_s_of_its_own() {
    on_paused_clock(async {
        let (_, milestones, ended) = begin();
        pass(100.0).await;
        // An empty file ends without ever having started.
        milestones.ended();
        pass(119.0).await;
        ended.is(&[]);
        milestones.verified(PathBuf::from("results.zip")).await;
        pass(600.0).await;
        ended.is(&[(219.0, Ok(PathBuf::from("results.zip")))]);
    });
}

/// What is stopped brings no file, whatever the stream reports meanwhile or later; the end is told once.
#[test]
fn a_transfer_that_is_stopped_brings_no_file() {
    on_paused_clock(async {
        let (actor, milestones, ended) = begin();
        milestones.started();
        // Out of order: its end has not come.
        milestones.verified(PathBuf::from("half.zip")).await;
        settle().await;
        ended.is(&[]);
        pass(1.0).await;
        feed(&actor, Input::Abort).await;
        milestones.stopped().await;
        milestones.ended();
        milestones.verified(PathBuf::from("late.zip")).await;
        pass(600.0).await;
        ended.is(&[(1.0, stalled())]);
    });
}

/// The reason of a stream that broke reaches its owner.
#[test]
fn a_broken_stream_says_why() {
    on_paused_clock(async {
        let (_, milestones, ended) = begin();
        milestones.started();
        milestones.broke("the disk is full").await;
        pass(600.0).await;
        ended.is(&[(0.0, Err("the disk is full".to_owned()))]);
    });
}
