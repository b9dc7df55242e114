//! Whether a machine has what a job needs, and, where it has not, what is missing.

use super::{SUPPORTED_JOB_TYPES, SUPPORTED_MODELS};

/// MiB in what a person calls a GB of GPU memory.
const GB: u64 = 1024;

pub(super) fn unfit(
    has_mb: u64,
    needs_mb: u64,
    model_type: Option<&str>,
    job_type: Option<&str>,
) -> Option<String> {
    let unknown = |what, given: Option<&str>, known: &[&str]| {
        let given = given.filter(|given| !known.contains(given))?;
        let shown: String = given
            .chars()
            .take(64)
            .flat_map(char::escape_debug)
            .collect();
        Some(format!(
            "needs {what} \"{shown}\", has {}",
            known.join(", ")
        ))
    };
    memory_shortfall(needs_mb, Some(has_mb))
        .or_else(|| unknown("model type", model_type, &SUPPORTED_MODELS))
        .or_else(|| unknown("job type", job_type, &SUPPORTED_JOB_TYPES))
}

/// What to say of a worker that has less GPU memory than is needed; `None` when it has enough. Both in MiB; `None` for
/// a worker that does not say how much it has, which is enough only where none is needed. The figures are in the unit
/// that whoever asks thinks in: GB where whole GB are asked for, MB otherwise.
pub fn memory_shortfall(needs_mb: u64, has_mb: Option<u64>) -> Option<String> {
    if has_mb.unwrap_or(0) >= needs_mb {
        return None;
    }
    let in_gb = |mb: u64| {
        let tenths = (u128::from(mb) * 10 + 512) / u128::from(GB);
        match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole} GB"),
            (whole, tenth) => format!("{whole}.{tenth} GB"),
        }
    };
    let in_mb = |mb: u64| format!("{mb} MB");
    let Some(has_mb) = has_mb else {
        let needs = if needs_mb.is_multiple_of(GB) {
            in_gb(needs_mb)
        } else {
            in_mb(needs_mb)
        };
        return Some(format!(
            "needs {needs} of GPU memory, does not say how much it has"
        ));
    };
    let (mut needs, mut has) = (in_gb(needs_mb), in_gb(has_mb));
    // Rounded to the same, the figures would contradict themselves.
    if !needs_mb.is_multiple_of(GB) || needs == has {
        (needs, has) = (in_mb(needs_mb), in_mb(has_mb));
    }
    Some(format!("needs {needs} of GPU memory, has {has}"))
}
