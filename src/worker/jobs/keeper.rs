//! The keeper: a small supervisor between the worker and a job's process, so that nothing of the job outlives either.
//!
//! It is this same program, called as `loaner keep -- command...`. It runs the command in a process group of its own
//! and stays outside of that group, so that it lives on when the group is killed, and collects the dead. Its standard
//! input is the lifeline, a socket to the worker: orders come down, reports go up, and when it breaks, the worker is
//! gone, even by SIGKILL: then the group gets SIGTERM, and after [`GRACE`] SIGKILL. When the command itself has ended,
//! what it left running in the background is ended too, within [`SWEEP`]. The keeper ends when nothing is left.
//!
//! On Linux this covers descendants that moved to another group or session as well.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::processes::{self, Process};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use tokio::signal::unix::{SignalKind, signal};

/// From SIGTERM to SIGKILL after the worker has died.
pub const GRACE: Duration = Duration::from_secs(10);
/// From SIGTERM to SIGKILL for what a command leaves running behind it.
pub const SWEEP: Duration = Duration::from_secs(2);
/// How many files a process of a job may have open at most.
const OPEN_FILES: u64 = 65_536;
/// The subcommand that [`main`] implements.
pub const SUBCOMMAND: &str = "keep";

/// Order: SIGTERM to all.
pub(super) const TERMINATE: u8 = b'T';
/// Order: SIGINT to all.
pub(super) const INTERRUPT: u8 = b'I';
/// Order: SIGKILL to all.
pub(super) const KILL: u8 = b'K';

/// What the keeper tells the worker, one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// The command has ended; negative is a signal.
    Exit(i32),
    /// Nothing is left of it.
    Gone,
}

impl Report {
    pub(super) fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ') {
            Some(("exit", code)) => code.parse().ok().map(Self::Exit),
            None if line == "gone" => Some(Self::Gone),
            _ => None,
        }
    }

    /// Writes the report. The worker may be gone; then nobody needs it.
    fn send(self, lifeline: &mut File) {
        let line = match self {
            Self::Exit(code) => format!("exit {code}\n"),
            Self::Gone => "gone\n".to_owned(),
        };
        let _ = lifeline.write_all(line.as_bytes());
    }
}

/// This program, to be run as a keeper. It stays right when the file is replaced while the worker runs.
pub fn own_exe() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        Ok(running)
    } else {
        std::env::current_exe()
    }
}

enum Event {
    Order(u8),
    /// The lifeline has broken.
    WorkerGone,
    /// A process has ended: the command, or a descendant that we inherited.
    Ended(Pid, i32),
    /// No process is left.
    AllGone,
}

/// Runs `loaner keep -- argv...` and returns its exit code: the command's, or 128 and the signal's number; 126 or 127
/// if it cannot be run, 125 if this process cannot do its work.
pub fn main<A: Into<OsString>>(argv: impl IntoIterator<Item = A>) -> i32 {
    let mut argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
    if argv.first().is_some_and(|first| first == "--") {
        argv.remove(0);
    }
    match keep(&argv) {
        Ok(code) if code < 0 => 128 - code,
        Ok(code) => code,
        Err(error) => {
            eprintln!("loaner: the job's keeper cannot work: {error}");
            125
        }
    }
}

fn keep(argv: &[OsString]) -> io::Result<i32> {
    let Some((program, args)) = argv.split_first() else {
        return Err(io::Error::other("no command given"));
    };
    // A signal meant to end the worker and all around it must not end the one that tidies up. (Handled, to no effect:
    // unlike a blocked or ignored signal, that is not inherited by the command.)
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _context = runtime.enter();
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ] {
        // The handler stays when its receiver goes.
        drop(signal(kind)?);
    }
    // A session of our own: no terminal for the command, and a mark on all of its processes by which the worker finds
    // them if this one is killed. Fails when we lead a process group, as when called by hand.
    let _ = setsid();
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;

    limit_resources()?;

    let mut lifeline = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let child = match Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            eprintln!("loaner: cannot run {}: {error}", program.display());
            let code = if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            };
            Report::Exit(code).send(&mut lifeline);
            Report::Gone.send(&mut lifeline);
            return Ok(code);
        }
    };
    let command = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);

    let (events, inbox) = mpsc::channel();
    let orders = lifeline.try_clone()?;
    let heard = events.clone();
    thread::spawn(move || listen(orders, &heard));
    thread::spawn(move || collect(&events));

    let mut code = 0;
    let mut deadline: Option<Instant> = None;
    let mut killing = false;
    loop {
        let wait = match deadline {
            // A descendant may be forked while we look for them: look again.
            _ if killing => Duration::from_millis(20),
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(3600),
        };
        match inbox.recv_timeout(wait) {
            Ok(Event::Order(TERMINATE)) => signal_all(command, Signal::SIGTERM),
            Ok(Event::Order(INTERRUPT)) => signal_all(command, Signal::SIGINT),
            Ok(Event::Order(KILL)) => killing = true,
            Ok(Event::Order(_)) => {}
            Ok(Event::WorkerGone) => {
                signal_all(command, Signal::SIGTERM);
                deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
            Ok(Event::Ended(pid, status)) if pid == command => {
                code = status;
                Report::Exit(code).send(&mut lifeline);
                signal_all(command, Signal::SIGTERM);
                let sweep = Instant::now() + SWEEP;
                deadline = Some(deadline.map_or(sweep, |deadline| deadline.min(sweep)));
            }
            Ok(Event::Ended(..)) => {}
            Ok(Event::AllGone) => break,
            Err(RecvTimeoutError::Timeout) => killing = killing || deadline.is_some(),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("nothing to wait for"));
            }
        }
        if killing {
            signal_all(command, Signal::SIGKILL);
        }
    }
    Report::Gone.send(&mut lifeline);
    Ok(code)
}

/// What the command inherits: no core dumps, which may fill a disk, and a bounded number of open files.
fn limit_resources() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = most.min(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}

/// Passes on the worker's orders until the lifeline breaks.
fn listen(mut lifeline: File, events: &Sender<Event>) {
    let mut order = [0];
    loop {
        match lifeline.read(&mut order) {
            Ok(1) => {
                if events.send(Event::Order(order[0])).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => {
                let _ = events.send(Event::WorkerGone);
                return;
            }
        }
    }
}

/// Collects ended processes until there are none left.
fn collect(events: &Sender<Event>) {
    loop {
        let event = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) => Event::Ended(pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => Event::Ended(pid, -(signal as i32)),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(_) => Event::AllGone,
        };
        let last = matches!(event, Event::AllGone);
        if events.send(event).is_err() || last {
            return;
        }
    }
}

/// Sends a signal to the command's process group, and to our descendants outside of it. Those that are gone already
/// make no difference.
fn signal_all(command: Pid, signal: Signal) {
    let _ = killpg(command, signal);
    for pid in strays(command) {
        let _ = kill(pid, signal);
    }
}

/// Our descendants that are not in the process group `command`.
fn strays(command: Pid) -> impl Iterator<Item = Pid> {
    let mut pending = vec![Pid::this().as_raw()];
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in processes::all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    while let Some(parent) = pending.pop() {
        for process in children.remove(&parent).unwrap_or_default() {
            pending.push(process.pid);
            found.push(process);
        }
    }
    found
        .into_iter()
        .filter(move |process| process.group != command.as_raw())
        .map(|process| Pid::from_raw(process.pid))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reports");
        let mut file = File::create(&path).unwrap();
        let reports = [Report::Exit(3), Report::Exit(-9), Report::Gone];
        for report in reports {
            report.send(&mut file);
        }
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            text.lines().map(Report::parse).collect::<Vec<_>>(),
            reports.map(Some)
        );
        assert_eq!(Report::parse("exit x"), None);
    }
}
