//! Jobs as real processes, below the real keeper, and transfers onto a disk that is really full.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use loaner::worker::jobs::plan::Step;
use loaner::worker::jobs::process::{LineReader, RunningStep, SpawnError};
use loaner::worker::jobs::receive::{FileSink, TransferError};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::time::timeout;

const LOANER: &str = env!("CARGO_BIN_EXE_loaner");
/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

fn sh(script: &str) -> Step {
    Step {
        name: "test".into(),
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: Vec::new(),
    }
}

fn spawn(script: &str) -> RunningStep {
    RunningStep::spawn(&sh(script), Path::new("/"), Path::new(LOANER)).unwrap()
}

async fn output(step: &mut RunningStep) -> Vec<String> {
    let mut reader = step.lines();
    let mut lines = Vec::new();
    while let Some(line) = timeout(LONG, reader.next()).await.unwrap() {
        lines.push(line.text);
    }
    lines
}

async fn code(step: &RunningStep) -> i32 {
    timeout(LONG, step.wait()).await.unwrap().code
}

/// The number that the step prints first, a process id, and the rest of its output, to be held until the end.
async fn first_pid(step: &mut RunningStep) -> (Pid, LineReader) {
    let mut lines = step.lines();
    let line = timeout(LONG, lines.next()).await.unwrap().unwrap();
    (Pid::from_raw(line.text.parse().unwrap()), lines)
}

/// A process that has ended but was not collected yet by the system's first process does not run any more.
fn runs(pid: Pid) -> bool {
    kill(pid, None).is_ok()
        && fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
            !stat
                .rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        })
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn exit_codes_are_exact() {
    for (script, expected) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -9 $$", -9),
        ("kill -TERM $$", -15),
        ("kill -SEGV $$", -11),
    ] {
        let step = spawn(script);
        assert_eq!(code(&step).await, expected, "{script}");
        assert_eq!(step.wait().await.success(), expected == 0);
    }
}

#[tokio::test]
async fn output_is_merged_in_order_and_ends_with_the_step() {
    let mut step = spawn("echo out; echo err >&2; printf '10%%\\r20%%\\rdone\\n'; printf 'rest'");
    assert_eq!(
        output(&mut step).await,
        ["out", "err", "10%", "20%", "done", "rest"]
    );
    assert_eq!(step.lines().next().await, None);
    assert_eq!(code(&step).await, 0);
}

#[tokio::test]
async fn many_lines_keep_their_order() {
    let mut step = spawn("awk 'BEGIN { for (i = 0; i < 200000; i++) print i }'");
    let lines = output(&mut step).await;
    assert_eq!(lines.len(), 200_000);
    assert!(
        lines
            .iter()
            .enumerate()
            .all(|(index, line)| line.parse() == Ok(index))
    );
}

#[tokio::test]
async fn the_step_sees_its_directory_its_variables_and_no_input() {
    let dir = tempfile::tempdir().unwrap();
    let mut step = sh("pwd -P; echo $PYTHONUNBUFFERED $EPOCHS; cat | wc -c");
    step.env = vec![("EPOCHS".into(), "7".into())];
    let mut running = RunningStep::spawn(&step, dir.path(), Path::new(LOANER)).unwrap();
    let root = dir.path().canonicalize().unwrap();
    assert_eq!(
        output(&mut running).await,
        [root.to_str().unwrap(), "1 7", "0"]
    );
}

#[tokio::test]
async fn a_missing_program_is_told_before_anything_runs() {
    let step = Step {
        name: "x".into(),
        argv: vec!["sleap-nn".into()],
        env: vec![("PATH".into(), "/nowhere".into())],
    };
    let error = RunningStep::spawn(&step, Path::new("/"), Path::new(LOANER)).unwrap_err();
    assert!(matches!(error, SpawnError::NotInstalled { .. }));
    assert_eq!(
        error.to_string(),
        "sleap-nn is not installed on this worker (not found in PATH)"
    );
}

#[tokio::test]
async fn a_program_that_cannot_be_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("broken");
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let step = Step {
        name: "x".into(),
        argv: vec!["./broken".into()],
        env: Vec::new(),
    };
    let mut running = RunningStep::spawn(&step, dir.path(), Path::new(LOANER)).unwrap();
    let lines = output(&mut running).await;
    assert!(
        lines.len() == 1 && lines[0].starts_with("loaner: cannot run "),
        "{lines:?}"
    );
    assert_eq!(code(&running).await, 127);
}

#[tokio::test]
async fn terminate_reaches_grandchildren() {
    let mut step = spawn("sh -c 'echo $$; exec sleep 1000' & wait");
    let (grandchild, _lines) = first_pid(&mut step).await;
    assert!(runs(grandchild));
    step.terminate();
    assert_eq!(code(&step).await, -15);
    assert!(!runs(grandchild));
}

#[tokio::test]
async fn stop_kills_after_the_grace_what_ignores_sigterm() {
    let mut step = spawn("trap '' TERM; echo $$; while :; do sleep 0.1; done");
    let (pid, _lines) = first_pid(&mut step).await;
    let start = Instant::now();
    timeout(LONG, step.stop(Duration::from_millis(300)))
        .await
        .unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "it was given less than the grace"
    );
    assert!(!runs(pid));
    assert_eq!(
        killpg(pid, None),
        Err(Errno::ESRCH),
        "the group is gone, its dead are collected"
    );
    assert_eq!(code(&step).await, -9);
}

#[tokio::test]
async fn stop_does_not_wait_for_the_grace_when_it_need_not() {
    let mut step = spawn("trap 'exit 5' TERM; echo $$; while :; do sleep 0.05; done");
    let (_, _lines) = first_pid(&mut step).await;
    timeout(LONG, step.stop(Duration::from_secs(1000)))
        .await
        .unwrap();
    assert_eq!(code(&step).await, 5);
}

/// A background process that outlives its command is ended, and only then is the step over.
#[tokio::test]
async fn what_a_command_leaves_behind_is_swept() {
    for left in ["sleep 1000", "trap \"\" TERM; while :; do sleep 0.1; done"] {
        let mut step = spawn(&format!("sh -c 'echo $$; {left}' & sleep 0.2; exit 4"));
        let (pid, _lines) = first_pid(&mut step).await;
        assert_eq!(code(&step).await, 4);
        assert!(!runs(pid), "{left}");
    }
}

/// A session of its own is no way out either.
#[tokio::test]
async fn a_runaway_is_caught() {
    let mut step =
        spawn("setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' & wait");
    let (runaway, _lines) = first_pid(&mut step).await;
    timeout(LONG, step.stop(Duration::from_millis(200)))
        .await
        .unwrap();
    assert!(!runs(runaway));
}

#[tokio::test]
async fn a_dropped_step_is_stopped() {
    let mut step = spawn("echo $$; exec sleep 1000");
    let (pid, _lines) = first_pid(&mut step).await;
    drop(step);
    let gone =
        tokio::task::spawn_blocking(move || wait_until("the end of a dropped step", || !runs(pid)));
    gone.await.unwrap();
}

/// Without its keeper (killed for want of memory, say), the worker itself ends the group.
#[tokio::test]
async fn a_killed_keeper_leaves_nothing_behind() {
    let mut step = spawn("trap '' TERM; echo $$; while :; do sleep 0.1; done");
    let (pid, _lines) = first_pid(&mut step).await;
    kill(parent(pid), Signal::SIGKILL).unwrap();
    assert_eq!(code(&step).await, -9);
    assert!(!runs(pid));
}

/// A service manager may send SIGTERM to all processes at once; the keeper lives on and does its work.
#[tokio::test]
async fn a_keeper_does_not_mind_signals() {
    let mut step = spawn("echo $$; exec sleep 1000");
    let (pid, _lines) = first_pid(&mut step).await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(parent(pid), signal).unwrap();
    }
    assert!(
        timeout(Duration::from_millis(200), step.wait())
            .await
            .is_err()
    );
    assert!(runs(pid));
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(code(&step).await, -2);
}

/// By hand, without a worker: the exit codes are those of a shell.
#[test]
fn a_keeper_by_hand() {
    for (script, expected) in [("exit 3", 3), ("kill -9 $$", 137)] {
        let mut keeper = Command::new(LOANER)
            .args(["keep", "--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let _lifeline = keeper.stdin.take();
        assert_eq!(keeper.wait().unwrap().code(), Some(expected), "{script}");
    }
    let ended = Command::new(LOANER)
        .args(["keep", "sleep", "1000"])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(143), "nobody holds the lifeline");
    let output = Command::new(LOANER)
        .arg("keep")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no command given"));
}

/// SIGKILL of the worker: of this very program, called again to play that part. (Its `LOANER_*` variables are not the
/// job's, which else would not tell its number.)
#[test]
fn the_death_of_the_worker_ends_the_job() {
    const INSIDE: &str = "LOANER_TEST_WORKER";
    if let Ok(script) = std::env::var(INSIDE) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut step = spawn(&script);
            let (pid, _lines) = first_pid(&mut step).await;
            println!("\nthe job is {pid}");
            step.wait().await;
        });
        panic!("the job ended before its worker");
    }
    let stubborn = "trap '' TERM; echo $$; while :; do sleep 0.1; done";
    for (script, least) in [
        (
            "[ -z \"$LOANER_TEST_WORKER\" ] && echo $$; exec sleep 1000",
            0,
        ),
        (stubborn, 9),
    ] {
        let mut worker = again("the_death_of_the_worker_ends_the_job", &[])
            .env(INSIDE, script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
        let pid = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("the job is ")?.parse().ok());
        let pid = Pid::from_raw(pid.unwrap());
        let keeper = parent(pid);
        assert!(runs(pid) && runs(keeper));
        let start = Instant::now();
        worker.kill().unwrap();
        assert_eq!(worker.wait().unwrap().signal(), Some(9));
        wait_until("the end of the job", || !runs(pid));
        assert!(
            start.elapsed() >= Duration::from_secs(least),
            "it had its grace"
        );
        wait_until("the end of the keeper", || !runs(keeper));
    }
}

/// This test program, to run the one test `name`; called by way of `wrapper` if there is one.
fn again(name: &str, wrapper: &[&str]) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = wrapper.iter().map(|word| word.as_ref()).collect();
    words.push(exe.as_os_str());
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .args(["--exact", name, "--nocapture"])
        .stdin(Stdio::null());
    command
}

fn parent(pid: Pid) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    Pid::from_raw(
        stat.rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap(),
    )
}

/// A file system of 1 MiB of its own, in a mount namespace that vanishes with the process.
#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    const INSIDE: &str = "LOANER_TEST_FULL_DISK";
    if let Some(dir) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(fill_up(Path::new(&dir)));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m none \"$0\" || exit 99; exec \"$@\"";
    let wrapper = [
        "unshare",
        "-m",
        "sh",
        "-c",
        mount,
        dir.path().to_str().unwrap(),
    ];
    let mut command = again("a_full_disk_is_named_and_nothing_is_left", &wrapper);
    let output = match command.env(INSIDE, dir.path()).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: no unshare here to make a small file system with ({error})");
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success()
        && (output.status.code() == Some(99) || text.contains("unshare failed"))
    {
        eprintln!("skipped: this user may not mount a small file system: {text}");
        return;
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

async fn fill_up(dir: &Path) {
    // Told before a byte travels...
    let error = FileSink::create(dir, "big.zip", 2 << 20).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, TransferError::DiskFull { .. }), "{text}");
    assert!(
        text.starts_with("the disk is full: the file needs 2.0 MiB, 1.0 MiB are free in "),
        "{text}"
    );

    // ...and when something else takes the room meanwhile.
    let mut sink = FileSink::create(dir, "late.zip", 1 << 20).unwrap();
    fs::write(dir.join("other"), vec![0; 512 << 10]).unwrap();
    for _ in 0..16 {
        sink.write(Bytes::from(vec![1; 64 << 10])).await.unwrap();
    }
    let error = sink.finish().await.unwrap_err();
    assert!(matches!(error, TransferError::DiskFull { .. }), "{error}");
    let left: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["other"]);
}
