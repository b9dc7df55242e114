//! A tunnel whose network fails: how soon that is noticed, and how soon bytes go through it again. Hub and worker are on one
//! machine and the client is on another, each a network namespace.

mod scene;

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use self::scene::{Scene, Traffic};
use crate::report::{self, Figure, Reach, Report};
use crate::{repository, say};

/// Rounds of each kind.
const ROUNDS: u32 = 10;
const SHORT_ROUNDS: u32 = 2;

/// What is measured, in seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seconds {
    /// From the first lost packet to the notice of it, while bytes go through.
    busy: Vec<f64>,
    /// The same while none do.
    idle: Vec<f64>,
    /// From a replaced address to the next byte that went there and back.
    address: Vec<f64>,
    /// The same for an interface that takes the place of another.
    interface: Vec<f64>,
}

/// The figures, where the system allows namespaces.
pub async fn measure(short: bool, report: &mut Report) -> Result<()> {
    report.remark(report::quiet().await);
    let rounds = if short { SHORT_ROUNDS } else { ROUNDS };
    let output = Command::new(repository("tests/interop/in-namespace"))
        .arg(std::env::current_exe()?)
        .args(["--bench", "--heal", &rounds.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?
        .wait_with_output()
        .await?;
    let seconds = match output.status.success() {
        true => serde_json::from_slice(&output.stdout).context("figures that make no sense")?,
        false => {
            report.remark(
                "tunnels that heal were not measured: it needs network namespaces, as root"
                    .to_owned(),
            );
            Seconds::default()
        }
    };
    let Seconds {
        busy,
        idle,
        address,
        interface,
    } = seconds;
    let back: Vec<f64> = address.iter().chain(&interface).copied().collect();
    let most = |what, limit, values| Figure::most(what, "s", Reach::AtMost(limit), values);
    report.figures.extend([
        most("a lost path noticed, busy", 3.0, busy),
        most("a lost path noticed, idle", 7.0, idle),
        Figure::median(
            "network changed, bytes again: median",
            "s",
            Reach::AtMost(1.5),
            back.clone(),
        ),
        Figure::share(
            "network changed, bytes again: 95 %",
            0.95,
            "s",
            Reach::AtMost(4.0),
            back,
        ),
        Figure::median("  address replaced", "s", Reach::Nothing, address),
        Figure::median("  interface switched", "s", Reach::Nothing, interface),
    ]);
    Ok(())
}

/// Measures in a namespace that was made for it, and prints what came out.
pub async fn inside(rounds: u32) -> ExitCode {
    match rounds_of_each(rounds).await {
        Ok(seconds) => {
            println!("{}", serde_json::json!(seconds));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn rounds_of_each(rounds: u32) -> Result<Seconds> {
    let dir = tempfile::tempdir()?;
    let mut scene = Scene::start(dir.path()).await?;
    let mut seconds = Seconds::default();
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}: a path that is lost"));
        seconds.busy.push(noticed_busy(&mut scene).await?);
        // Not always at the same time after the last sign of life.
        let phase = Duration::from_millis(1000 + 470 * u64::from(round));
        seconds.idle.push(noticed_idle(&mut scene, phase).await?);
        say(&format!(
            "round {round} of {rounds}: a network that changes"
        ));
        seconds.address.push(address_replaced(&mut scene).await?);
        seconds
            .interface
            .push(interface_switched(&mut scene, round).await?);
    }
    scene.end().await;
    Ok(seconds)
}

async fn noticed_busy(scene: &mut Scene) -> Result<f64> {
    let mut tunnel = scene.tunnel().await?;
    // Who has nothing on its way when the path is lost is idle, and notices it later.
    let traffic = scene.traffic_both_ways(&tunnel).await?;
    traffic.flows().await?;
    let lost = scene.hole(true)?;
    let (noticed, _) = tunnel.process.event("interrupted").await?;
    scene.hole(false)?;
    drop(traffic);
    tunnel.process.end().await;
    Ok(noticed.duration_since(lost).as_secs_f64())
}

async fn noticed_idle(scene: &mut Scene, phase: Duration) -> Result<f64> {
    let mut tunnel = scene.tunnel().await?;
    tokio::time::sleep(phase).await;
    let lost = scene.hole(true)?;
    let (noticed, _) = tunnel.process.event("interrupted").await?;
    scene.hole(false)?;
    tunnel.process.end().await;
    Ok(noticed.duration_since(lost).as_secs_f64())
}

async fn address_replaced(scene: &mut Scene) -> Result<f64> {
    let mut tunnel = scene.tunnel().await?;
    let traffic = scene.traffic(&tunnel).await?;
    traffic.flows().await?;
    let changed = scene.replace_address()?;
    let again = back(&mut tunnel.process, &traffic, changed).await;
    drop(traffic);
    tunnel.process.end().await;
    again
}

async fn interface_switched(scene: &mut Scene, round: u32) -> Result<f64> {
    let mut tunnel = scene.tunnel().await?;
    let traffic = scene.traffic(&tunnel).await?;
    traffic.flows().await?;
    let changed = scene.switch_interface(round)?;
    let again = back(&mut tunnel.process, &traffic, changed).await;
    drop(traffic);
    tunnel.process.end().await;
    scene.switch_back(round)?;
    again
}

/// Seconds from the change to the first byte after the longest time without one.
async fn back(
    tunnel: &mut crate::lab::Process,
    traffic: &Traffic,
    changed: std::time::Instant,
) -> Result<f64> {
    tunnel.event("interrupted").await?;
    tunnel.event("connected").await?;
    traffic.flows().await?;
    let again = traffic.end_of_longest_gap(changed);
    let again = again.context("no byte came after the change")?;
    ensure!(again > changed, "the change had no effect");
    Ok(again.duration_since(changed).as_secs_f64())
}
