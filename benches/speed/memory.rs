//! The memory of other processes.

/// The peak of a process's resident memory, in KiB; `None` when it has none any more.
pub fn peak_of(pid: i32) -> Option<u64> {
    field_of(pid, "VmHWM:")
}

/// What the kernel says of a process's memory, in KiB.
pub fn field_of(pid: i32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
