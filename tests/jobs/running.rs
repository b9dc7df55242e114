//! A step runs as it was asked for, and its output and its exit code are its own.

use std::fs;
use std::path::Path;

use loaner::worker::jobs::plan::Step;
use loaner::worker::jobs::process::{RunningStep, SpawnError};

use crate::lab::{LOANER, code, output, sh, spawn};

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
        trainer: false,
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
        trainer: false,
    };
    let mut running = RunningStep::spawn(&step, dir.path(), Path::new(LOANER)).unwrap();
    let lines = output(&mut running).await;
    assert!(
        lines.len() == 1 && lines[0].starts_with("loaner: cannot run "),
        "{lines:?}"
    );
    assert_eq!(code(&running).await, 127);
}
