//! The data plane: threads that stand still, clocks that do, and what is left when it goes.

use std::time::Duration;

use loaner::rtc::{Connection, DataPlane, IceState, RtcConfig, RtcError, RtcEvent};

use crate::pair::{SOON, chunk, next_channel, pair, recv, recv_binary, soon, text};

#[tokio::test]
async fn a_silent_peer_is_disconnected_and_heals_by_itself() {
    let ours = DataPlane::start().unwrap();
    let theirs = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    let (offerer, mut events) = Connection::open(&ours, &config).await.unwrap();
    let (answerer, mut their_events) = Connection::open(&theirs, &config).await.unwrap();
    let near = offerer.create_channel("c").await.unwrap();
    let answer = answerer
        .answer(&offerer.offer().await.unwrap())
        .await
        .unwrap();
    offerer.accept_answer(&answer).await.unwrap();
    soon("open", near.opened()).await.unwrap();
    let far = next_channel(&mut their_events).await;

    // Freeze the peer: both of its threads wait for us.
    let mut releases = Vec::new();
    for _ in 0..2 {
        let (release, released) = std::sync::mpsc::channel::<()>();
        theirs.spawn(async move { released.recv().unwrap_err() });
        releases.push(release);
    }
    let mut until = async |wanted| {
        soon("a change of ICE", async {
            while !matches!(events.recv().await.unwrap(), RtcEvent::Ice(state) if state == wanted) {
            }
        })
        .await;
    };
    until(IceState::Disconnected).await;
    assert_eq!(offerer.ice_state(), IceState::Disconnected);
    near.send_text("sent into the silence").await.unwrap();
    drop(releases);
    until(IceState::Connected).await;
    assert_eq!(recv(&far).await, text("sent into the silence"));
}

#[test]
fn an_actor_that_blocks_its_thread_does_not_hold_up_a_transfer() {
    let plane = DataPlane::start().unwrap();
    actix_rt::System::new().block_on(async {
        let pair = pair(&plane).await;
        let (near, far) = (pair.near.clone(), pair.far.clone());
        let sender = plane.spawn(async move {
            for number in 0..1024 {
                near.send_binary(chunk(number)).await.unwrap();
            }
        });
        let (done, finished) = std::sync::mpsc::channel();
        let receiver = plane.spawn(async move {
            for number in 0..1024 {
                assert!(recv_binary(&far).await == chunk(number));
            }
            done.send(()).unwrap();
        });
        // Blocks the arbiter's only thread until all has arrived.
        finished.recv_timeout(SOON).unwrap();
        sender.await.unwrap();
        receiver.await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_runtime_with_a_stopped_clock_may_wait_for_it() {
    let plane = DataPlane::start().unwrap();
    let config = RtcConfig::default();
    // No time limits of this runtime here: it would skip ahead to them at once.
    let (offerer, _events) = Connection::open(&plane, &config).await.unwrap();
    let (answerer, mut events) = Connection::open(&plane, &config).await.unwrap();
    let near = offerer.create_channel("c").await.unwrap();
    let answer = answerer
        .answer(&offerer.offer().await.unwrap())
        .await
        .unwrap();
    assert!(answer.contains("a=candidate"), "{answer}");
    offerer.accept_answer(&answer).await.unwrap();
    near.send_text("x").await.unwrap();
    near.drained().await.unwrap();
    let far = loop {
        if let RtcEvent::Channel(channel) = events.recv().await.unwrap() {
            break channel;
        }
    };
    assert_eq!(far.recv().await, text("x"));
    near.close().await;
    assert_eq!(far.recv().await, None);
}

#[tokio::test]
async fn the_data_plane_may_go_first() {
    let plane = DataPlane::start().unwrap();
    let pair = pair(&plane).await;
    // The connections hold it, so it is still there.
    drop(plane);
    pair.near.send_text("held").await.unwrap();
    assert_eq!(recv(&pair.far).await, text("held"));
    let (near, far) = (pair.near.clone(), pair.far.clone());
    drop(pair);
    soon("closed", near.closed()).await;
    soon("closed", far.closed()).await;
    assert_eq!(near.send_text("late").await, Err(RtcError::Closed));
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs alone in a process of its own, started by the test below.
#[test]
#[ignore = "counts the files of the whole process"]
fn alone_nothing_is_left_behind() {
    // The first runtime of a process opens files for signals that stay.
    drop(
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap(),
    );
    let before = open_files();
    {
        let plane = DataPlane::start().unwrap();
        let idle = open_files();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let with_runtime = open_files();
        runtime.block_on(async {
            for close in [true, false, true, false] {
                let pair = pair(&plane).await;
                assert!(open_files() > with_runtime);
                pair.near.send_text("x").await.unwrap();
                assert_eq!(recv(&pair.far).await, text("x"));
                if close {
                    pair.offerer.close().await;
                    pair.answerer.close().await;
                }
                drop(pair);
                soon("no tasks and no sockets", async {
                    while plane.handle().metrics().num_alive_tasks() > 0
                        || open_files() > with_runtime
                    {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                })
                .await;
            }
        });
        drop(runtime);
        assert_eq!(open_files(), idle);
    }
    let deadline = std::time::Instant::now() + SOON;
    while open_files() > before {
        assert!(
            std::time::Instant::now() < deadline,
            "the data plane is still there"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_is_left_behind() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact", "plane::alone_nothing_is_left_behind", "--ignored", "--nocapture",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
