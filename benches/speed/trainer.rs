//! A trainer that prints much: it runs as a job, and says at its end how it went.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

/// Lines that it prints in a second.
pub const RATE: u32 = 200_000;
/// Lines that it prints at once.
const BATCH: u32 = 1000;
/// To write a batch takes less, unless somebody holds it up.
const USUAL: Duration = Duration::from_millis(50);
/// The file in its directory in which it says how it went; it has a name once it is whole.
pub const SAID: &str = "said.json";

/// A line, from its number on.
pub fn line(number: u32) -> String {
    format!("step {number:08} loss=0.{:06}\n", number % 1_000_000)
}

/// Prints for so many seconds, as fast as it is meant to and no faster: what it was held up, it makes good.
pub fn train(seconds: u32) -> ExitCode {
    match print(seconds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trainer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(seconds: u32) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let lines = seconds * RATE;
    let (began, mut held) = (Instant::now(), Duration::ZERO);
    let mut batch = String::new();
    for first in (0..lines).step_by(BATCH as usize) {
        let due = Duration::from_secs_f64(f64::from(first) / f64::from(RATE));
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        batch.clear();
        for number in first..first + BATCH {
            // A string takes everything.
            let _ = batch.write_str(&line(number));
        }
        let before = Instant::now();
        out.write_all(batch.as_bytes())?;
        out.flush()?;
        let took = before.elapsed();
        if took > USUAL {
            held += took;
        }
    }
    let said = json!({
        "lines": lines,
        "seconds": began.elapsed().as_secs_f64(),
        "held": held.as_secs_f64(),
    });
    std::fs::write("saying.json", said.to_string())?;
    std::fs::rename("saying.json", SAID)
}
