//! Trainers that do not want to end, or say what no trainer should.

use std::path::PathBuf;

use loaner::rtc::Incoming;
use loaner::wire::channel::TOKENS;
use serde_json::json;
use tokio::time::timeout;

use crate::after::{as_before, peak_memory};
use crate::files::files;
use crate::support::peer::Call;
use crate::support::{self, Lab, PATIENCE, alive};

/// A package with this script and these lines in its manifest.
fn package(lab: &Lab, script: &str, more: &str) -> PathBuf {
    let package = lab.package("job", script);
    let manifest = format!("[job]\ncommand = [\"sh\", \"go.sh\"]\noutputs = \"models\"\n{more}");
    std::fs::write(package.join("loaner.toml"), manifest).unwrap();
    package
}

/// A trainer that forks twice, leaves its session and closes everything, so that nothing leads to it any more, ends with
/// the command that started it, which is complete.
#[actix_rt::test]
async fn a_trainer_that_forks_away_does_not_outlive_its_job() {
    let lab = Lab::new().await;
    let pids = lab.dir.path().join("pids");
    let script = format!(
        "(setsid sh -c 'trap \"\" TERM INT HUP QUIT; (setsid sh -c \"echo \\$\\$ >> {pids}; trap \\\"\\\" TERM INT HUP; \
         cd /; exec sleep 1000\" >/dev/null 2>&1 </dev/null &); echo $$ >> {pids}; exec sleep 1000' >/dev/null 2>&1 </dev/null &)\n\
         while [ \"$(wc -l < {pids})\" != 2 ]; do sleep 0.05; done; echo left; mkdir models; echo m > models/m",
        pids = pids.display()
    );
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload("job.zip", &support::zip(&package(&lab, &script, "")))
        .await;
    let texts = call.until("JOB_").await;
    assert!(
        texts.last().unwrap().starts_with("JOB_COMPLETE"),
        "{texts:?}"
    );
    let pids = std::fs::read_to_string(pids).unwrap();
    let pids: Vec<i32> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    assert!(!pids.iter().any(|pid| alive(*pid)), "{pids:?}");
    call.hang_up().await;
    as_before(&lab).await;
}

/// A trainer that ignores every signal that can be ignored is killed when its time is over, and cancelling one like it is
/// acknowledged when it is gone.
#[actix_rt::test]
async fn a_trainer_that_ignores_its_signals_is_killed() {
    let lab = Lab::new().await;
    let deaf =
        "trap '' TERM INT HUP QUIT USR1 USR2 PIPE ALRM; echo pid $$; while :; do sleep 1; done";
    let limits =
        "[job.resources]\ntime_limit = \"2s\"\n[job.stop]\nsignal = \"INT\"\ndeadline = \"1s\"\n";
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    let pid = call
        .begin("job.zip", &support::zip(&package(&lab, deaf, limits)))
        .await;
    let texts = call.until("JOB_").await;
    assert!(texts.last().unwrap().contains("TIME_LIMIT"), "{texts:?}");
    assert!(!alive(pid));
    call.hang_up().await;
    client.leave().await;
    lab.until_free().await;

    let mut client = lab.peer("client").await;
    let job = client.reserve(&lab.worker_id).await;
    let call = client.call(&lab.worker_id).await;
    let pid = call
        .begin("job.zip", &support::zip(&package(&lab, deaf, "")))
        .await;
    let cancel = json!({ "app_message_type": "job_cancel", "job_id": job });
    client.message(&lab.worker_id, cancel);
    let texts = call.until("JOB_").await;
    assert_eq!(*texts.last().unwrap(), format!("JOB_CANCELLED::{job}"));
    assert!(!alive(pid));
    call.hang_up().await;
    as_before(&lab).await;
}

/// Counts what a job says until its end; nothing of it is kept but the first and the last.
async fn counted(call: &Call) -> (usize, usize, String) {
    let (mut texts, mut bytes) = (0, 0);
    loop {
        match timeout(PATIENCE, call.channel.recv()).await.unwrap() {
            Some(Incoming::Text(text)) if text.starts_with("JOB_") => return (texts, bytes, text),
            Some(Incoming::Text(text)) => {
                assert!(text.len() <= loaner::rtc::MAX_MESSAGE_BYTES);
                texts += 1;
                bytes += text.bytes().filter(|byte| *byte == b'x').count();
            }
            Some(Incoming::Binary(_)) => {}
            None => panic!("the channel closed after {texts} texts"),
        }
    }
}

/// One line of a gigabyte comes through in pieces, all of it, and the worker does not grow by it.
#[actix_rt::test]
async fn a_line_of_a_gigabyte() {
    const BYTES: usize = 1_000_000_000;
    let lab = Lab::new().await;
    let before = peak_memory(lab.worker.pid);
    let script = format!("head -c {BYTES} /dev/zero | tr '\\0' x");
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload("job.zip", &support::zip(&package(&lab, &script, "")))
        .await;
    let (texts, bytes, end) = counted(&call).await;
    assert!(end.starts_with("JOB_COMPLETE"), "{end}");
    assert_eq!(bytes, BYTES);
    assert!(texts > BYTES / loaner::rtc::MAX_MESSAGE_BYTES);
    let grown = peak_memory(lab.worker.pid).saturating_sub(before);
    assert!(grown < 160 << 20, "the worker grew by {grown} bytes");
    call.hang_up().await;
    as_before(&lab).await;
}

/// Every control word, alone, in a line, glued to others, in a progress line and in a name: a client hears text, a peer
/// that looks for words anywhere finds none, and the job ends once, as it did.
#[actix_rt::test]
async fn control_words_of_a_trainer_are_text() {
    let lab = Lab::new().await;
    let mut script = String::from("exec 2>&1; mkdir models; echo m > models/m\n");
    for token in TOKENS.iter().chain(&["KEEP_ALIVE"]) {
        for line in [
            (*token).to_owned(),
            format!("{token}::evil.zip:4:False"),
            format!("epoch 1 {token}::{{\"a\": 1}} {token}{token}"),
            format!("::loaner progress 0.5 {token}::x"),
        ] {
            script.push_str(&format!("echo '{line}'; printf '\\r{line}\\r'\n"));
        }
    }
    let package = package(&lab, &script, "");
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload("job.zip", &support::zip(&package)).await;
    let texts = call.until("JOB_COMPLETE").await;
    let from = texts
        .iter()
        .position(|text| text.starts_with("TRAIN_JOB_START"))
        .unwrap();
    let to = texts
        .iter()
        .position(|text| text.starts_with("TRAIN_JOB_END"))
        .unwrap();
    let output = &texts[from + 1..to];
    assert!(output.len() >= 6 * TOKENS.len(), "{} lines", output.len());
    for text in output {
        let found = TOKENS.iter().find(|token| text.contains(**token));
        assert_eq!(found, None, "{text}");
        assert!(!text.contains("KEEP_ALIVE"), "{text}");
    }
    let plain = |text: &String| text.replace('\u{2060}', "");
    assert!(
        output
            .iter()
            .any(|text| plain(text) == "JOB_COMPLETE::evil.zip:4:False\n")
    );
    for message in client.kept_messages("job_status") {
        let text = message["message"].as_str().unwrap();
        assert!(!text.contains('\n'), "{text}");
    }
    call.hang_up().await;
    client.leave().await;
    lab.until_free().await;

    // Our own client: it shows them, and is not led astray.
    let mut run = lab.run(&package, &[]);
    assert_eq!(run.exit().await, 0, "{}", run.stdout());
    let said = |event: &serde_json::Value| event["text"].as_str().map(str::to_owned);
    let said: Vec<_> = run.events().iter().filter_map(said).collect();
    let shows = |wanted: &str| said.iter().any(|text| plain(text).contains(wanted));
    assert!(shows("END_OF_FILE") && shows("LOANER_PEER::evil.zip:4:False"));
    assert_eq!(files(&lab.out()).len(), 1);
    as_before(&lab).await;
}

/// Bytes that are no text come through as what stands for them; what would move the client's terminal, name its window or
/// put something on its clipboard does not reach it.
#[actix_rt::test]
async fn what_is_no_text_does_no_harm() {
    let lab = Lab::new().await;
    let script = "printf '\\377\\300\\257 \\355\\240\\200 bad\\n'; head -c 300000 /dev/urandom; echo; \
        printf '\\033]0;title\\007\\033]52;c;ZXZpbA==\\007\\033[2J\\033[H\\033[31mred\\033[0m\\233\\061A\\n'; \
        printf 'nul\\000nul\\n'; printf '\\342\\200\\256reversed\\n'; mkdir models; \
        printf x > \"$(printf 'models/\\377')\"; printf x > \"$(printf 'models/a\\nb')\"; \
        printf x > \"$(printf 'models/\\033[2J')\"; printf x > \"$(printf 'models/\\342\\200\\256gpj')\"; echo end";
    let package = package(&lab, script, "");
    let mut run = lab.run_for_people(&package);
    assert_eq!(run.exit().await, 0, "{}", run.log());
    let shown = format!("{}\n{}", run.stdout(), run.log());
    assert!(shown.contains("\u{fffd}") && shown.contains(" bad"));
    assert!(shown.contains("nulnul") && shown.contains("red"));
    for evil in [
        "\u{1b}]", "\u{7}", "\u{1b}[2J", "\u{1b}[H", "\u{9b}", "\u{0}",
    ] {
        assert!(!shown.contains(evil), "{evil:?}");
    }
    let done = shown.split("Done.").nth(1).unwrap();
    assert!(!done.contains('\u{202e}') && done.contains("gpj"), "{done}");
    as_before(&lab).await;
}

/// Directories within directories, deeper than paths reach and files can be open at a time: nothing of them is left.
#[actix_rt::test]
async fn directories_without_end_go_with_their_job() {
    let lab = Lab::new().await;
    // What a service has, unless it is told otherwise.
    let limited = std::process::Command::new("prlimit")
        .args(["--nofile=1024:1024", "--pid", &lab.worker.pid.to_string()])
        .status();
    assert!(limited.unwrap().success());
    let script = "mkdir models; echo m > models/m\nchain=$(printf 'd/%.0s' $(seq 1000))\n\
        for _ in 1 2 3 4 5; do mkdir -p \"$chain\"; cd -P \"$chain\" || exit 1; done; echo deep > file";
    let mut client = lab.peer("client").await;
    let call = client.call(&lab.worker_id).await;
    call.upload("job.zip", &support::zip(&package(&lab, script, "")))
        .await;
    let texts = call.until("JOB_").await;
    assert!(
        texts.last().unwrap().starts_with("JOB_COMPLETE"),
        "{texts:?}"
    );
    call.hang_up().await;
    as_before(&lab).await;
}
