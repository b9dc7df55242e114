//! One step of a job as a running process, below its [keeper](super::keeper).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::keeper::{INTERRUPT, KILL, Report, SUBCOMMAND, TERMINATE};
use super::lines;
use super::manifest::StopSignal;
use super::plan::Step;
use super::processes;

/// Reads the merged output of a step, line by line.
pub type LineReader = lines::LineReader<pipe::Receiver>;
pub use super::lines::LogLine;

/// What a job sees of the worker's environment. Everything else, secrets among it, is none of its business.
const SHARED_ENV: [&str; 5] = ["PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"];
/// The same, by how a name begins: which GPUs there are, and how they are used.
const SHARED_PREFIXES: [&str; 2] = ["CUDA_", "NVIDIA_"];

/// Why a step was not started.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The step has no program.
    #[error("the job names no program")]
    NoProgram,
    /// The program is not on this machine.
    #[error("{program} is not installed on this worker (not found in PATH)")]
    NotInstalled {
        /// The program, as the step names it.
        program: String,
    },
    /// The program is a path, and there is nothing that can be run.
    #[error("{program} is not in the package, or cannot be executed")]
    NotExecutable {
        /// The program, as the step names it.
        program: String,
    },
    /// The system gave no process, pipe or socket.
    #[error("the job's process could not be started: {0}")]
    Io(#[from] io::Error),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; negative is the signal that ended it.
    pub code: i32,
}

impl Exit {
    /// Whether the code is 0.
    pub fn success(self) -> bool {
        self.code == 0
    }
}

/// A step that runs in a process group of its own. Dropped, it is stopped: SIGTERM, ten seconds, SIGKILL, by its
/// keeper; the same happens when this process dies in whatever way.
#[derive(Debug)]
pub struct RunningStep {
    orders: mpsc::UnboundedSender<u8>,
    end: watch::Receiver<Option<Exit>>,
    output: Option<pipe::Receiver>,
}

impl RunningStep {
    /// Starts a step in the directory `cwd`, with a plain environment (PATH, HOME, LANG, TMPDIR and what is about GPUs),
    /// `PYTHONUNBUFFERED=1` and the step's own variables. `keeper_exe` is this program, see
    /// [`own_exe`](super::keeper::own_exe). Must be called within a tokio runtime.
    pub fn spawn(step: &Step, cwd: &Path, keeper_exe: &Path) -> Result<Self, SpawnError> {
        let (program, args) = step.argv.split_first().ok_or(SpawnError::NoProgram)?;
        let path = step
            .env
            .iter()
            .rev()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| OsString::from(value));
        let program = find_program(
            program,
            cwd,
            path.or_else(|| env::var_os("PATH")).as_deref(),
        )?;

        let (output, write) = io::pipe()?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(keeper_exe);
        command
            .arg(SUBCOMMAND)
            .arg("--")
            .arg(program)
            .args(args)
            .current_dir(cwd)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(write.try_clone()?)
            .stderr(write);
        command.env_clear();
        for (name, value) in env::vars_os().filter(|(name, _)| is_shared(name)) {
            command.env(name, value);
        }
        command
            .env("PYTHONUNBUFFERED", "1")
            .envs(step.env.iter().map(|(name, value)| (name, value)));
        let lifeline = UnixStream::from_std(ours)?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        let keeper = command.spawn()?;
        // Else this process would hold the writing end too, and the output would never end.
        drop(command);

        let (orders, taken) = mpsc::unbounded_channel();
        let (ended, end) = watch::channel(None);
        tokio::spawn(async move {
            let exit = supervise(keeper, lifeline, taken).await;
            ended.send_replace(Some(exit));
        });
        Ok(Self {
            orders,
            end,
            output: Some(output),
        })
    }

    /// The output, standard and error merged. The second call gets one that has ended already. While nobody reads it,
    /// the process is held up when the pipe is full; when it is dropped, writing more ends the process (SIGPIPE).
    pub fn lines(&mut self) -> LineReader {
        self.output
            .take()
            .map_or_else(LineReader::ended, LineReader::new)
    }

    /// Waits until the step has ended and nothing is left of its group.
    pub async fn wait(&self) -> Exit {
        let mut end = self.end.clone();
        // The sender only vanishes with the runtime; then the keeper stops the step.
        let exit = end
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| *exit);
        exit.unwrap_or(Exit {
            code: -(Signal::SIGTERM as i32),
        })
    }

    /// Sends SIGTERM to the whole group. Returns at once.
    pub fn terminate(&self) {
        // Nobody listens when it has ended already.
        let _ = self.orders.send(TERMINATE);
    }

    /// Sends the signal by which it wants to be told to stop to the whole group. Returns at once.
    pub fn ask_to_stop(&self, signal: StopSignal) {
        let _ = self.orders.send(match signal {
            StopSignal::Int => INTERRUPT,
            StopSignal::Term => TERMINATE,
        });
    }

    /// Sends SIGKILL to the whole group. Returns at once.
    pub fn kill(&self) {
        let _ = self.orders.send(KILL);
    }

    /// Waits until nothing is left of the group.
    pub async fn gone(&self) {
        self.wait().await;
    }

    /// Stops the step: SIGTERM, `grace`, SIGKILL. Returns when nothing is left of the group.
    pub async fn stop(&self, grace: Duration) {
        self.terminate();
        if timeout(grace, self.gone()).await.is_err() {
            self.kill();
            self.gone().await;
        }
    }
}

fn is_shared(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        SHARED_ENV.contains(&name)
            || SHARED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    })
}

/// Passes orders to the keeper and takes its reports, until it has ended.
async fn supervise(
    mut keeper: Child,
    lifeline: UnixStream,
    mut orders: mpsc::UnboundedReceiver<u8>,
) -> Exit {
    let (reports, commands) = lifeline.into_split();
    let mut reports = BufReader::new(reports).lines();
    let mut commands = Some(commands);
    let session = keeper.id().and_then(|id| i32::try_from(id).ok());
    let (mut code, mut gone) = (None, false);
    loop {
        tokio::select! {
            order = orders.recv(), if commands.is_some() => match (order, commands.as_mut()) {
                // A keeper that does not listen any more is about to end.
                (Some(order), Some(commands)) => { let _ = commands.write_all(&[order]).await; }
                // Closing it tells the keeper that the step has been dropped.
                _ => commands = None,
            },
            line = reports.next_line() => match line.ok().flatten().as_deref().map(Report::parse) {
                Some(Some(Report::Exit(exit))) => code = Some(exit),
                Some(Some(Report::Gone)) => gone = true,
                Some(None) => {}
                None => break,
            },
        }
    }
    let status = keeper.wait().await;
    if let (Some(session), false) = (session, gone) {
        warn!(session, "a job's keeper was killed; killing the job");
        kill_session(session).await;
    }
    let own = status.ok().and_then(|status| {
        status
            .code()
            .or_else(|| status.signal().map(|signal| -signal))
    });
    Exit {
        code: code.or(own).unwrap_or(-(Signal::SIGKILL as i32)),
    }
}

/// Kills all processes of a session that has lost its keeper, and waits until they are gone, at most ten seconds.
async fn kill_session(session: i32) {
    for _ in 0..500 {
        let mut left = processes::all();
        left.retain(|process| process.session == session && !process.dead);
        if left.is_empty() {
            return;
        }
        for process in left {
            // One that ends meanwhile makes no difference.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(20)).await;
    }
    warn!(session, "a job's processes do not go away");
}

/// The path of a program: looked for in `path` when it is a bare name, else relative to `cwd`.
fn find_program(program: &str, cwd: &Path, path: Option<&OsStr>) -> Result<PathBuf, SpawnError> {
    let executable = |file: &Path| {
        file.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        let file = cwd.join(program);
        return if executable(&file) {
            Ok(file)
        } else {
            Err(SpawnError::NotExecutable {
                program: program.to_owned(),
            })
        };
    }
    let found = path.filter(|_| !program.is_empty()).and_then(|path| {
        env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(program))
            .find(|file| executable(file))
    });
    found.ok_or_else(|| SpawnError::NotInstalled {
        program: program.to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_would() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tool"), "#!/bin/sh\n").unwrap();
        let path = dir.path().as_os_str();
        let error = find_program("tool", Path::new("/"), Some(path)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tool is not installed on this worker (not found in PATH)"
        );
        let error = find_program("./tool", dir.path(), None).unwrap_err();
        assert!(matches!(error, SpawnError::NotExecutable { .. }));

        std::fs::set_permissions(dir.path().join("tool"), PermissionsExt::from_mode(0o755))
            .unwrap();
        assert_eq!(
            find_program("tool", Path::new("/"), Some(path)).unwrap(),
            dir.path().join("tool")
        );
        assert!(find_program("./tool", dir.path(), None).is_ok());
        for (program, path) in [
            ("", Some(path)),
            ("tool", None),
            ("tool", Some(OsStr::new("."))),
        ] {
            assert!(
                find_program(program, dir.path(), path).is_err(),
                "{program:?} {path:?}"
            );
        }
    }
}
