//! A test in a process of its own: nothing of others is counted.

use std::process::Command;
use std::{env, fs};

/// Set where a test is alone.
const ALONE: &str = "REGISTRY_TEST_ALONE";

/// Runs this program again with one test, and there what the test is about.
pub fn run_alone(test: &str, body: impl AsyncFnOnce()) {
    if env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        return runtime.unwrap().block_on(body());
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What this process holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    pub descriptors: usize,
    pub threads: usize,
    /// Memory, KiB.
    pub memory: u64,
}

impl Held {
    pub fn now() -> Self {
        let count = |what| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.unwrap().trim().strip_suffix(" kB").unwrap();
        Held {
            descriptors: count("fd"),
            threads: count("task"),
            memory: memory.parse().unwrap(),
        }
    }
}
