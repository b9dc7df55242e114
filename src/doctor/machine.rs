//! What the machine itself has: GPU, buffers, disk, a place for state.

use std::io::{self, Write as _};
use std::path::Path;

use super::Finding;
use crate::rtc::check_socket_buffers;
use crate::worker::capabilities::{GpuSource as _, Nvml};
use crate::worker::jobs::disk::{free_space, human};

/// Less room than this is soon used up by packages and their results, in bytes.
const LITTLE: u64 = 10 << 30;

pub(super) fn gpu(worker: bool) -> Finding {
    let reading = Nvml::default().read();
    let driver = reading.driver_version.as_deref();
    let gpus: Vec<_> = reading
        .gpus
        .iter()
        .map(|gpu| format!("{} with {} MB", gpu.model, gpu.memory_total_mb))
        .collect();
    match (gpus.is_empty(), driver) {
        (false, driver) => Finding::ok(
            "gpu",
            format!(
                "{}; driver {}",
                gpus.join(", "),
                driver.unwrap_or("unknown")
            ),
        ),
        (true, _) if !worker => Finding::ok("gpu", "none, and a client needs none"),
        (true, Some(driver)) => Finding::warn(
            "gpu",
            format!("driver {driver} is there, but no GPU"),
            "look at `nvidia-smi`, and whether this container or user is given the GPU",
        ),
        (true, None) => Finding::warn(
            "gpu",
            "none is found by NVIDIA's library (libnvidia-ml.so.1)",
            "where there is one, install NVIDIA's driver, and see that `nvidia-smi` works; without one, this worker lends its CPU",
        ),
    }
}

pub(super) fn buffers() -> Finding {
    match check_socket_buffers() {
        None => Finding::ok("buffers", "UDP receive buffers are large enough"),
        Some(warning) => {
            let (found, advice) = warning.split_once("; ").unwrap_or((&warning, ""));
            Finding::warn("buffers", found, advice)
        }
    }
}

pub(super) fn disk(work_dir: &Path, worker: bool) -> Finding {
    let shown = work_dir.display();
    if worker && let Err(error) = writable(work_dir) {
        return Finding::fail(
            "disk",
            format!("{shown}: {error}"),
            "give the worker a directory that it can write to: --work-dir DIR",
        );
    }
    match free_space(existing(work_dir)) {
        Err(error) => Finding::warn(
            "disk",
            format!("{shown}: {error}"),
            "look at the file system",
        ),
        Ok(free) if worker && free < LITTLE => Finding::warn(
            "disk",
            format!("{} are free for jobs in {shown}", human(free)),
            "free some space, or name another place: --work-dir DIR",
        ),
        Ok(free) => Finding::ok("disk", format!("{} are free in {shown}", human(free))),
    }
}

pub(super) fn state(dir: Option<&Path>) -> Finding {
    let advice = "name a directory that can be written to: --state-dir DIR (or LOANER_STATE_DIR)";
    let Some(dir) = dir else {
        let found = "there is no place for it: neither HOME nor XDG_STATE_HOME is set";
        return Finding::warn("state", found, advice);
    };
    match writable(dir) {
        Ok(()) => Finding::ok("state", format!("{} can be written to", dir.display())),
        Err(error) => Finding::fail("state", format!("{}: {error}", dir.display()), advice),
    }
}

/// The directory, or the one above it that is there: the rest is made when it is needed.
fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

/// Whether a file can be written there. It leaves nothing behind.
fn writable(dir: &Path) -> io::Result<()> {
    let dir = match existing(dir) {
        // A relative path whose parts are all to be made.
        empty if empty.as_os_str().is_empty() => Path::new("."),
        there => there,
    };
    tempfile::tempfile_in(dir)?.write_all(b"?")
}
