//! The processes of this machine, as `/proc` has them.

use std::fs;

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Ended, and not collected by its parent yet.
    pub dead: bool,
}

/// All processes. Empty where there is no `/proc`.
pub(super) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| find(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// The process with this id.
fn find(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent group session ...`. The name may contain anything, a closing bracket too.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let dead = matches!(fields.next()?, "Z" | "X");
    let mut number = || fields.next()?.parse().ok();
    Some(Process {
        pid,
        parent: number()?,
        group: number()?,
        session: number()?,
        dead,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use nix::unistd::{Pid, getpgrp, getppid, getsid};

    use super::*;

    #[test]
    fn this_process_is_found() {
        let me = Pid::this().as_raw();
        let (parent, group) = (getppid().as_raw(), getpgrp().as_raw());
        let expected = Process {
            pid: me,
            parent,
            group,
            session: getsid(None).unwrap().as_raw(),
            dead: false,
        };
        assert_eq!(
            all().into_iter().find(|process| process.pid == me),
            Some(expected)
        );
    }
}
